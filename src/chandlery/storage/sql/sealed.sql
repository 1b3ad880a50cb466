-- The queries of sealed months. {table} is the table of one timeframe, such as chandlery.candle_1m.

-- name: guard_partition
SELECT chandlery.guard_sealed(%(partition)s::regclass, %(timeframe)s, %(start)s, %(end)s)

-- name: let_readers_end
-- A dropped or truncated table looks empty to an older snapshot, which may know nothing yet of the segments that hold the
-- same. Every reader's snapshot begins with a look at what is sealed, and that lock is his until he ends. Whoever comes
-- later sees the segments, so nobody waits in a queue behind this, as he would behind a lock.
DO $$
DECLARE
    longest interval := nullif(current_setting('lock_timeout'), '0')::interval;
    readers text[] := ARRAY(
        SELECT virtualtransaction FROM pg_locks
         WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND relation = 'chandlery.sealed'::regclass AND pid <> pg_backend_pid());
BEGIN
    WHILE EXISTS (SELECT FROM pg_locks WHERE virtualtransaction = ANY (readers)) LOOP
        IF clock_timestamp() > statement_timestamp() + longest THEN
            RAISE EXCEPTION 'somebody still reads what was there before the space is given back'
                USING ERRCODE = 'lock_not_available';
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
END
$$

-- name: sealed_spans
-- What is sealed of a series in [start, end).
SELECT starts_at, ends_at, rows_kept
  FROM chandlery.sealed
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s
   AND starts_at < %(end)s AND ends_at > %(start)s
 ORDER BY starts_at

-- name: sealed_of_many
-- The same of many series at once, each with its number in the arrays, from 1.
SELECT wanted.number, starts_at, ends_at
  FROM unnest(%(instruments)s::integer[], %(timeframes)s::text[]) WITH ORDINALITY
           AS wanted (instrument_id, timeframe, number)
  JOIN chandlery.sealed USING (instrument_id, timeframe)
 WHERE starts_at < %(end)s AND ends_at > %(start)s

-- name: read_segment
-- Times in milliseconds, as the candles in it have them.
SELECT candles, (extract(epoch FROM first_open_time) * 1000)::bigint AS first_ms,
       (extract(epoch FROM last_open_time) * 1000)::bigint AS last_ms, bounds, checksums, checksum, data,
       data IS NULL AS archived, archive_file, archive_bytes, archive_sha256
  FROM chandlery.sealed
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s AND starts_at = %(start)s

-- name: add_segment
INSERT INTO chandlery.sealed (
    instrument_id, timeframe, starts_at, ends_at, first_open_time, last_open_time, candles, checksum,
    bounds, checksums, data
) VALUES (
    %(instrument_id)s, %(timeframe)s, %(start)s, %(end)s, %(first)s, %(last)s, %(candles)s, %(checksum)s,
    %(bounds)s, %(checksums)s, %(data)s
)

-- name: drop_segments
DELETE FROM chandlery.sealed
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s AND starts_at = ANY (%(starts)s)

-- name: is_row_from
-- Whether any candle of a series stands as a row from the end of a span on.
SELECT
  FROM {table}
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s AND open_time >= %(end)s
 LIMIT 1

-- name: drop_rows
DELETE FROM {table}
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s
   AND open_time >= %(start)s AND open_time < %(end)s

-- name: rows_are_dropped
UPDATE chandlery.sealed SET rows_kept = false
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s AND starts_at = %(start)s

-- name: forget_coverage
UPDATE chandlery.coverage
   SET spans = spans - %(bars)s::tstzmultirange, derived = derived - %(bars)s::tstzmultirange,
       retired = retired - %(bars)s::tstzmultirange
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s

-- name: segments
-- For the Arrow reader: what is known of the segments of several series in [start, end), series by series, in order.
-- Times in milliseconds: Python takes longer to take thirty rows of times apart than the server does for all of this.
SELECT wanted.number, instrument_id, rows_kept, candles, bounds, checksums, checksum,
       (extract(epoch FROM starts_at) * 1000)::bigint AS start_ms,
       (extract(epoch FROM ends_at) * 1000)::bigint AS end_ms,
       (extract(epoch FROM first_open_time) * 1000)::bigint AS first_ms,
       (extract(epoch FROM last_open_time) * 1000)::bigint AS last_ms,
       data IS NULL AS archived, archive_file, archive_bytes, archive_sha256
  FROM unnest({instruments}::integer[], {timeframes}::text[]) WITH ORDINALITY
           AS wanted (instrument_id, timeframe, number)
  JOIN chandlery.sealed USING (instrument_id, timeframe)
 WHERE starts_at < {end} AND ends_at > {start}
 ORDER BY wanted.number, starts_at

-- name: segment_bytes
-- Slices of segments as they are listed, {numbers} being their places in the first three lists. Nothing else leaves the
-- disk, and they are cut out after the sorting.
SELECT substring(data FROM first_byte FOR length)
  FROM (SELECT data, first_byte, length
          FROM unnest({instruments}::integer[], {timeframes}::text[], {starts}::timestamptz[]) WITH ORDINALITY
                   AS wanted (instrument_id, timeframe, starts_at, number)
          JOIN chandlery.sealed USING (instrument_id, timeframe, starts_at)
          JOIN unnest({numbers}::integer[], {first_bytes}::integer[], {lengths}::integer[]) WITH ORDINALITY
                   AS slice (number, first_byte, length, place) USING (number)
         ORDER BY place) AS in_order
