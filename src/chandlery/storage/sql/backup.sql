-- The queries of backups. {table} is the table of one timeframe, or any table of the schema.

-- name: schema_tables
-- Every table of the schema that is not a partition of another.
SELECT relname
  FROM pg_class
 WHERE relnamespace = to_regnamespace('chandlery') AND relkind IN ('r', 'p') AND NOT relispartition
 ORDER BY relname

-- name: plain_tables
-- The tables beside the candles, with their columns in order.
SELECT relname, array_agg(attname::text ORDER BY attnum), array_agg(attname::text) FILTER (WHERE attidentity <> '')
  FROM pg_class
  JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
 WHERE relnamespace = to_regnamespace('chandlery') AND relkind = 'r' AND NOT relispartition
 GROUP BY relname
 ORDER BY relname

-- name: series_with_candles
-- Every series of which a candle is stored, whatever the ledger says. The LIMIT keeps each look a look into the key.
SELECT instrument.id, instrument.exchange, instrument.symbol, bar.timeframe
  FROM chandlery.instrument
 CROSS JOIN unnest(%(timeframes)s::text[]) AS bar (timeframe)
 CROSS JOIN LATERAL (
     SELECT FROM chandlery.candle
      WHERE candle.instrument_id = instrument.id AND candle.timeframe = bar.timeframe
      LIMIT 1
 ) AS stored

-- name: sealed_series
SELECT DISTINCT instrument.id, instrument.exchange, instrument.symbol, sealed.timeframe
  FROM chandlery.sealed
  JOIN chandlery.instrument ON instrument.id = sealed.instrument_id

-- name: covered_series
SELECT instrument.id, instrument.exchange, instrument.symbol, coverage.timeframe, coverage.spans, coverage.derived,
       coverage.begins_at
  FROM chandlery.coverage
  JOIN chandlery.instrument ON instrument.id = coverage.instrument_id

-- name: sealed_units
-- What is sealed of a series; of what is in the archive alone the SHA-256 of the file there, NULL of all else.
SELECT starts_at, ends_at, rows_kept, candles, first_open_time, last_open_time,
       CASE WHEN data IS NULL THEN archive_sha256 END
  FROM chandlery.sealed
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s

-- name: unit_fingerprints
-- The rows of a series by the spans that are sealed as one: how many, the first, the last, and the SHA-256 of their
-- binary values in order of time.
SELECT unit, count(*), min(open_time), max(open_time),
       encode(sha256(string_agg(
           timestamptz_send(open_time) || float8send(open) || float8send(high) || float8send(low)
           || float8send(close) || float8send(base_volume) || float8send(quote_volume), '' ORDER BY open_time)), 'hex')
  FROM (
    SELECT chandlery.sealed_from(open_time, %(timeframe)s) AS unit, candle.*
      FROM {table} AS candle
     WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s
  ) AS stored
 GROUP BY unit
 ORDER BY unit

-- name: table_fingerprint
-- How many rows, and the SHA-256 of the sorted SHA-256 of each row's text: the same in whatever order they stand.
SELECT count(*), encode(sha256(coalesce(string_agg(hash, '' ORDER BY hash), '')), 'hex')
  FROM (SELECT sha256(convert_to(ROW({columns})::text, 'UTF8')) AS hash FROM {table}) AS hashed

-- name: rows_as_json
SELECT row_to_json(picked)::text FROM (SELECT {columns} FROM {table}) AS picked

-- name: load_json
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns} FROM json_populate_recordset(NULL::{table}, %(rows)s::json)

-- name: continue_numbering
SELECT setval(pg_get_serial_sequence(%(table)s, %(column)s), max({column})) FROM {table} HAVING max({column}) IS NOT NULL

-- name: others_that_use_the_schema
-- Views outside of the schema that would go with it.
SELECT DISTINCT view.oid::regclass::text
  FROM pg_depend
  JOIN pg_rewrite ON pg_depend.classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = pg_depend.objid
  JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class
  JOIN pg_class AS used ON pg_depend.refclassid = 'pg_class'::regclass AND used.oid = pg_depend.refobjid
 WHERE used.relnamespace = to_regnamespace('chandlery') AND view.relnamespace <> used.relnamespace

-- name: close_definer_functions
-- What runs with the rights of the schema's owner is not for everybody. A restored schema has no grants to others.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT oid FROM pg_proc WHERE pronamespace = to_regnamespace('chandlery') AND prosecdef
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$$
