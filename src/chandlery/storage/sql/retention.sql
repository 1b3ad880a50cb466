-- The queries of archive and retention. {table} is the table of one timeframe, such as chandlery.candle_1m.

-- name: kept_sealed
-- What is sealed of a series, and where its candles are.
SELECT starts_at, ends_at, sealed_at, candles, rows_kept, coalesce(octet_length(data), 0),
       archive_file, archive_bytes, archive_sha256
  FROM chandlery.sealed
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s
 ORDER BY starts_at

-- name: kept_rows
-- How many rows there are before an end, by the spans that are sealed as one.
SELECT chandlery.sealed_from(open_time, %(timeframe)s) AS unit, count(*)
  FROM {table}
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s AND open_time < %(end)s
 GROUP BY unit
 ORDER BY unit

-- name: register_archive
-- Only while the segment is the one that was written into the file.
UPDATE chandlery.sealed
   SET archive_file = %(file)s, archive_bytes = %(bytes)s, archive_sha256 = %(sha256)s, archived_at = now()
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s AND starts_at = %(start)s
   AND sealed_at = %(sealed_at)s

-- name: leave_to_archive
UPDATE chandlery.sealed SET data = NULL
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s AND starts_at = %(start)s
   AND sealed_at = %(sealed_at)s AND archive_sha256 = %(sha256)s AND archive_file = %(file)s AND NOT rows_kept

-- name: retire
-- Known once, not here any more: what the exchange was never asked for is not part of it. Nor is it made again when a
-- finer candle changes.
UPDATE chandlery.coverage
   SET retired = retired + (spans * %(bars)s::tstzmultirange), derived = derived - %(bars)s::tstzmultirange
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s

-- name: read_held
SELECT spans - retired FROM chandlery.coverage WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s

-- name: read_retired
-- Of several series what was dropped of [start, end), each with its number in the arrays, from 1.
SELECT wanted.number, retired * tstzmultirange(tstzrange(%(start)s, %(end)s))
  FROM unnest(%(instruments)s::integer[], %(timeframes)s::text[]) WITH ORDINALITY
           AS wanted (instrument_id, timeframe, number)
  JOIN chandlery.coverage USING (instrument_id, timeframe)
 WHERE retired && tstzrange(%(start)s, %(end)s)
 ORDER BY wanted.number

-- name: partitions_there
SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = %(table)s::regclass
