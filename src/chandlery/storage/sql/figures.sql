-- What the metrics ask for.

-- name: sizes
-- Bytes of rows, keys and segments, a row a timeframe; octet_length does not read the segments themselves.
SELECT asked.timeframe, coalesce(stored.rows, 0)::bigint, coalesce(stored.keys, 0)::bigint,
       coalesce(sealed.bytes, 0)::bigint, coalesce(sealed.segments, 0)
  FROM unnest(%(timeframes)s::text[], %(tables)s::text[]) AS asked (timeframe, name)
  LEFT JOIN LATERAL (
    SELECT sum(pg_table_size(relid)) AS rows, sum(pg_indexes_size(relid)) AS keys
      FROM pg_partition_tree(to_regclass(asked.name))
  ) AS stored ON true
  LEFT JOIN (
    SELECT timeframe, sum(octet_length(data)) AS bytes, count(*) AS segments FROM chandlery.sealed GROUP BY timeframe
  ) AS sealed USING (timeframe)

-- name: series_states
-- A row a series: the end of what is covered, the gaps before it, and the seconds that are covered and could be.
SELECT instrument.exchange, instrument.symbol, coverage.timeframe, upper(coverage.spans),
       greatest(span.count - 1, 0) + coalesce(coverage.begins_at < lower(coverage.spans), false)::integer,
       span.seconds, coalesce(extract(epoch FROM span.until - least(span.since, coverage.begins_at)), 0)::float8
  FROM chandlery.coverage
  JOIN chandlery.instrument ON instrument.id = coverage.instrument_id
 CROSS JOIN LATERAL (
    SELECT count(*), min(lower(one)) AS since, max(upper(one)) AS until,
           coalesce(sum(extract(epoch FROM upper(one) - lower(one))), 0)::float8 AS seconds
      FROM unnest(coverage.spans) AS one
  ) AS span
 WHERE %(symbols)s::text[] IS NULL
    OR instrument.exchange = %(exchange)s AND instrument.symbol = ANY (%(symbols)s)
       AND coverage.timeframe = ANY (%(timeframes)s)
