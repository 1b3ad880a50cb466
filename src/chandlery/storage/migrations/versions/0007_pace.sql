-- An exchange counts the requests of an address, whichever program they come from. So programs behind one address take the
-- times at which they ask from one row.

CREATE TABLE chandlery.pace (
    host        text        NOT NULL,
    address     text        NOT NULL,
    endpoint    text        NOT NULL,
    taken_until timestamptz NOT NULL,
    PRIMARY KEY (host, address, endpoint)
) WITH (fillfactor = 20);  -- a few rows, each updated about once a second: room for new versions beside the old ones
COMMENT ON TABLE chandlery.pace IS
    'Of each endpoint of an exchange''s host: until when collectors behind one address have taken the times to ask.';
COMMENT ON COLUMN chandlery.pace.address IS
    'What the collectors behind one address call it: the setting data_collection.address_name, or a machine''s name.';

COMMENT ON COLUMN chandlery.coverage.derived IS
    'Where candles were made from a finer timeframe of ours, not sent by the exchange; what is not in spans is out of date.';
