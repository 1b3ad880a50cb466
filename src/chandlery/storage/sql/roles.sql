-- Who may do what. Everything here may be run again at any time.

-- name: make_roles
-- Group roles, which log nobody in: people and programs are made members of one of them.
DO $roles$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY {names}::text[] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
    -- only a member of the owner can hand it what is his
    IF NOT pg_has_role({owner_name}, 'USAGE') THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', {owner_name});
    END IF;
    EXECUTE format('GRANT CONNECT, CREATE, TEMPORARY ON DATABASE %I TO %I', current_database(), {owner_name});
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), {writer_name});
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I, %I', current_database(), {reader_name}, {backup_name});
END
$roles$;

-- The schema and all that is in it belong to the owner.
ALTER SCHEMA chandlery OWNER TO {owner};
DO $roles$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT oid::regclass AS name, relkind
          FROM pg_class
         WHERE relnamespace = 'chandlery'::regnamespace AND relkind IN ('r', 'p', 'v')
           AND relowner <> {owner_name}::regrole
    LOOP
        EXECUTE format(
            'ALTER %s %s OWNER TO %I', CASE found.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, found.name, {owner_name}
        );
    END LOOP;
    FOR found IN
        SELECT oid::regprocedure AS name
          FROM pg_proc
         WHERE pronamespace = 'chandlery'::regnamespace AND proowner <> {owner_name}::regrole
    LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO %I', found.name, {owner_name});
    END LOOP;
END
$roles$;

-- What is there already, and what the owner will make: partitions and the tables of later versions.
GRANT USAGE ON SCHEMA chandlery TO {writer}, {reader}, {backup};
GRANT SELECT ON ALL TABLES IN SCHEMA chandlery TO {writer}, {reader}, {backup};
GRANT SELECT ON ALL SEQUENCES IN SCHEMA chandlery TO {backup};
GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA chandlery TO {writer};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA chandlery GRANT SELECT ON TABLES TO {writer}, {reader}, {backup};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA chandlery GRANT SELECT ON SEQUENCES TO {backup};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA chandlery GRANT INSERT, UPDATE ON TABLES TO {writer};

-- A writer makes partitions through the owner's function, and breaks the seal of a month that it changes; it seals none.
GRANT EXECUTE ON FUNCTION chandlery.make_partition(text, timestamptz) TO {writer};
GRANT DELETE ON chandlery.sealed TO {writer};
REVOKE INSERT, UPDATE ON chandlery.sealed, chandlery.schema_version, chandlery.ohlcv FROM {writer};

-- name: owner_of_tables
-- Whose the tables are, and whether that is somebody else than we; no row where there are none.
SELECT pg_get_userbyid(relowner), pg_get_userbyid(relowner) <> current_user
  FROM pg_class
 WHERE oid = to_regclass('chandlery.schema_version')
