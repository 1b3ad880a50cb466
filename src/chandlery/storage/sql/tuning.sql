-- What doctor --tune asks for.

-- name: server_settings
-- Of the settings named, those that this server knows.
SELECT name, setting, unit, context, source FROM pg_settings WHERE name = ANY(%(names)s)

-- name: count_relations
-- Tables, partitions and keys: what a backup locks at once.
SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('chandlery') AND relkind IN ('r', 'p', 'i', 'I')
