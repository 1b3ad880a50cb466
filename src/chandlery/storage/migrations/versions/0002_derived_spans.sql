-- Candles can be rolled up from a finer timeframe instead of being fetched; the ledger says which.

ALTER TABLE chandlery.coverage ADD COLUMN derived tstzmultirange NOT NULL DEFAULT '{}';
COMMENT ON COLUMN chandlery.coverage.derived IS
    'The part of spans whose candles were made from a finer timeframe of ours, not sent by the exchange.';
