-- The first schema: instruments, candles, the coverage ledger, and what is kept beside them.

CREATE TABLE chandlery.instrument (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange       text NOT NULL,
    symbol         text NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('spot', 'swap', 'futures')),
    base           text NOT NULL,
    quote          text NOT NULL,
    settle         text NOT NULL,
    tick_size      text NOT NULL,
    lot_size       text NOT NULL,
    contract_value double precision,
    listed_at      timestamptz,
    expires_at     timestamptz,
    state          text NOT NULL,
    UNIQUE (exchange, symbol)
);
COMMENT ON TABLE chandlery.instrument IS
    'Everything that has ever been seen on an exchange; kept for ever, also after delisting.';
COMMENT ON COLUMN chandlery.instrument.tick_size IS
    'The smallest price step, as the exchange''s own decimal text: it goes down to 1e-12.';

-- The column order leaves no padding: eight-byte columns first, the timeframe''s short text last.
CREATE TABLE chandlery.candle (
    open_time     timestamptz      NOT NULL,
    open          double precision NOT NULL,
    high          double precision NOT NULL,
    low           double precision NOT NULL,
    close         double precision NOT NULL,
    base_volume   double precision NOT NULL,
    quote_volume  double precision NOT NULL,
    instrument_id integer          NOT NULL,
    timeframe     text             NOT NULL,
    PRIMARY KEY (instrument_id, timeframe, open_time),
    -- NaN is greater than every number in PostgreSQL, so "> 0" alone would let it in
    CONSTRAINT candle_prices CHECK (
        open > 0 AND high > 0 AND low > 0 AND close > 0
        AND open < 'Infinity' AND high < 'Infinity' AND low < 'Infinity' AND close < 'Infinity'
    ),
    CONSTRAINT candle_range CHECK (low <= least(open, close) AND high >= greatest(open, close)),
    CONSTRAINT candle_volumes CHECK (
        base_volume >= 0 AND base_volume < 'Infinity' AND quote_volume >= 0 AND quote_volume <> 'Infinity'
    )
) PARTITION BY LIST (timeframe);
COMMENT ON TABLE chandlery.candle IS
    'Confirmed candles. For people, read the view ohlcv; programs address the table of one timeframe.';
COMMENT ON COLUMN chandlery.candle.quote_volume IS 'Turnover in the quote currency; NaN where the source did not tell it.';

-- One table a timeframe; its partitions by time are made when the first candle needs them.
-- The month is "1mo" in names, because PostgreSQL and many file systems fold 1M and 1m together.
DO $$
DECLARE
    timeframe text;
BEGIN
    FOREACH timeframe IN ARRAY
        ARRAY['1m', '3m', '5m', '15m', '30m', '1h', '2h', '4h', '6h', '12h', '1d', '1w', '1M']
    LOOP
        EXECUTE format(
            'CREATE TABLE chandlery.%I PARTITION OF chandlery.candle FOR VALUES IN (%L) PARTITION BY RANGE (open_time)',
            'candle_' || CASE timeframe WHEN '1M' THEN '1mo' ELSE timeframe END, timeframe
        );
    END LOOP;
END
$$;

CREATE TABLE chandlery.coverage (
    instrument_id integer       NOT NULL REFERENCES chandlery.instrument,
    timeframe     text          NOT NULL,
    spans         tstzmultirange NOT NULL DEFAULT '{}',
    begins_at     timestamptz,
    updated_at    timestamptz   NOT NULL DEFAULT now(),
    last_error    jsonb,
    PRIMARY KEY (instrument_id, timeframe)
);
COMMENT ON TABLE chandlery.coverage IS
    'The ledger: for each series the spans that were asked for, answered and committed. missing = wanted - covered.';
COMMENT ON COLUMN chandlery.coverage.begins_at IS 'Proved start of the exchange''s history, once it was probed.';
COMMENT ON COLUMN chandlery.coverage.last_error IS 'What last went wrong with this series; NULL since it last went well.';

CREATE TABLE chandlery.revision (
    open_time        timestamptz      NOT NULL,
    old_open         double precision NOT NULL,
    old_high         double precision NOT NULL,
    old_low          double precision NOT NULL,
    old_close        double precision NOT NULL,
    old_base_volume  double precision NOT NULL,
    old_quote_volume double precision NOT NULL,
    new_open         double precision NOT NULL,
    new_high         double precision NOT NULL,
    new_low          double precision NOT NULL,
    new_close        double precision NOT NULL,
    new_base_volume  double precision NOT NULL,
    new_quote_volume double precision NOT NULL,
    instrument_id    integer          NOT NULL,
    timeframe        text             NOT NULL,
    seen_at          timestamptz      NOT NULL DEFAULT now(),
    replaced         boolean          NOT NULL DEFAULT true,
    PRIMARY KEY (instrument_id, timeframe, open_time, seen_at)
);
COMMENT ON TABLE chandlery.revision IS
    'Confirmed candles that came again with other values: both versions, and whether the new one took the place.';

CREATE TABLE chandlery.rejected (
    exchange      text        NOT NULL,
    symbol        text        NOT NULL,
    timeframe     text        NOT NULL,
    open_time     timestamptz,
    reason        text        NOT NULL,
    raw           text        NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    times_seen    integer     NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX rejected_once ON chandlery.rejected (exchange, symbol, timeframe, md5(reason || raw));
COMMENT ON TABLE chandlery.rejected IS 'Rows that broke a rule: never stored as candles, never dropped.';

CREATE TABLE chandlery.run (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    command      text        NOT NULL,
    pages        bigint      NOT NULL DEFAULT 0,
    inserted     bigint      NOT NULL DEFAULT 0,
    unchanged    bigint      NOT NULL DEFAULT 0,
    revised      bigint      NOT NULL DEFAULT 0,
    rejected     bigint      NOT NULL DEFAULT 0,
    outcome      text
);
COMMENT ON TABLE chandlery.run IS 'What each collection did; outcome is NULL while it runs, or if it was killed.';

CREATE VIEW chandlery.ohlcv AS
SELECT instrument.exchange,
       instrument.symbol,
       candle.timeframe,
       candle.open_time                    AS "timestamp",
       candle.open,
       candle.high,
       candle.low,
       candle.close,
       candle.base_volume                  AS volume,
       nullif(candle.quote_volume, 'NaN')  AS quote_volume
  FROM chandlery.candle
  JOIN chandlery.instrument ON instrument.id = candle.instrument_id;
COMMENT ON VIEW chandlery.ohlcv IS
    'Candles for people: timestamp is the open time (UTC), volume is in the base currency for every kind of instrument.';
