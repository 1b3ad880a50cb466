-- The third tier, and what is gone. Both are columns of what is there already: a write that makes a segment untrue makes
-- its file untrue as well, and drops both with one row; and what was dropped stays covered, so that nobody fetches it.

ALTER TABLE chandlery.sealed
    ALTER COLUMN data DROP NOT NULL,
    ADD COLUMN archive_file   text,
    ADD COLUMN archive_bytes  bigint,
    ADD COLUMN archive_sha256 text,
    ADD COLUMN archived_at    timestamptz,
    ADD CONSTRAINT sealed_is_somewhere CHECK (data IS NOT NULL OR (archive_file IS NOT NULL AND NOT rows_kept)),
    ADD CONSTRAINT sealed_archive_is_described CHECK (
        num_nulls(archive_file, archive_bytes, archive_sha256, archived_at) IN (0, 4)
    );
COMMENT ON COLUMN chandlery.sealed.data IS
    'The file; NULL if its candles are in archive_file alone.';
COMMENT ON COLUMN chandlery.sealed.archive_file IS
    'A Parquet file with the same candles outside of this database, as a path or s3://bucket/key; NULL if there is none.';
COMMENT ON COLUMN chandlery.sealed.archive_sha256 IS 'The SHA-256 of archive_file, which has archive_bytes bytes.';

ALTER TABLE chandlery.coverage ADD COLUMN retired tstzmultirange NOT NULL DEFAULT '{}';
COMMENT ON COLUMN chandlery.coverage.retired IS
    'Those parts of spans whose candles retention has dropped for good: known once, not here any more, not fetched again.';
