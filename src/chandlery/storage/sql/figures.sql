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
