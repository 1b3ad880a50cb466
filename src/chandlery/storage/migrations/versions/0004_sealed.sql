-- Sealed months: what will hardly change any more is kept as one Parquet file a month of a series.
-- A segment is always true: every write to its rows, whoever makes it, drops it in the same transaction.

CREATE TABLE chandlery.sealed (
    instrument_id   integer     NOT NULL REFERENCES chandlery.instrument,
    timeframe       text        NOT NULL,
    starts_at       timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL,
    first_open_time timestamptz NOT NULL,
    last_open_time  timestamptz NOT NULL,
    sealed_at       timestamptz NOT NULL DEFAULT now(),
    candles         integer     NOT NULL,
    checksum        bigint      NOT NULL,
    bounds          integer[]   NOT NULL,
    checksums       bigint[]    NOT NULL,
    rows_kept       boolean     NOT NULL DEFAULT true,
    data            bytea       NOT NULL,
    PRIMARY KEY (instrument_id, timeframe, starts_at)
);
-- it is compressed already
ALTER TABLE chandlery.sealed ALTER COLUMN data SET STORAGE EXTERNAL;
COMMENT ON TABLE chandlery.sealed IS
    'Closed months of a series (years from 1h on, decades from 1d on), each as one Parquet file with all candles of it.';
COMMENT ON COLUMN chandlery.sealed.rows_kept IS
    'Whether the same candles stand as rows in the table of the timeframe too. Where not, chandlery unseal brings them back.';
COMMENT ON COLUMN chandlery.sealed.checksum IS 'CRC-32 of data.';
COMMENT ON COLUMN chandlery.sealed.bounds IS
    'The bytes at which the columns begin (open_time, open, high, low, close, base_volume, quote_volume), then the footer, '
    'and the length; so that some columns can be read without the others.';
COMMENT ON COLUMN chandlery.sealed.checksums IS 'CRC-32 of each piece between two bounds.';

CREATE FUNCTION chandlery.sealed_from(open_time timestamptz, timeframe text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_trunc(
    CASE WHEN timeframe IN ('1m', '3m', '5m', '15m', '30m') THEN 'month'
         WHEN timeframe IN ('1h', '2h', '4h', '6h', '12h') THEN 'year'
         ELSE 'decade'
    END, open_time AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
COMMENT ON FUNCTION chandlery.sealed_from(timestamptz, text) IS
    'Where the span that is sealed as one begins: the month, year or decade that holds open_time.';

-- With the rights of the schema's owner: whoever may write candles need not know of segments.
CREATE FUNCTION chandlery.drop_segment(instrument_id integer, timeframe text, open_time timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    begins timestamptz := chandlery.sealed_from(open_time, timeframe);
    kept   boolean;
BEGIN
    -- Whoever seals this series holds this lock alone while he reads the rows. So he has ended, and what he sealed is
    -- seen below, or he has not begun, and will see what is written here.
    PERFORM pg_advisory_xact_lock_shared(
        (3::bigint << 48) | (instrument_id::bigint << 8) | (array_position(
            ARRAY['1m', '3m', '5m', '15m', '30m', '1h', '2h', '4h', '6h', '12h', '1d', '1w', '1M'], timeframe) - 1));
    -- A transaction that sees the past would not see it: it meets the key instead, and fails to be serialized.
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        INSERT INTO chandlery.sealed
        VALUES (instrument_id, timeframe, begins, begins, begins, begins, now(), 0, 0, '{}', '{}', true, '')
            ON CONFLICT DO NOTHING;
    END IF;
    DELETE FROM chandlery.sealed
     WHERE sealed.instrument_id = $1 AND sealed.timeframe = $2 AND sealed.starts_at = begins
    RETURNING rows_kept INTO kept;
    IF NOT kept THEN
        RAISE EXCEPTION 'the candles from % of instrument %, %, are sealed and have no rows',
              to_char(begins AT TIME ZONE 'UTC', 'YYYY-MM-DD'), instrument_id, timeframe
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Bring the rows back first: chandlery unseal SYMBOL --timeframe ' || timeframe;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION chandlery.drop_segment(integer, text, timestamptz) FROM PUBLIC;

-- The triggers stand on partitions that hold sealed candles, and on no others.
CREATE FUNCTION chandlery.sealed_row_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM chandlery.drop_segment(OLD.instrument_id, OLD.timeframe, OLD.open_time);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM chandlery.drop_segment(NEW.instrument_id, NEW.timeframe, NEW.open_time);
    END IF;
    RETURN NULL;
END
$$;

-- Its arguments: the timeframe, and the first and the last moment of the partition.
CREATE FUNCTION chandlery.sealed_rows_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    without_rows bigint;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION '% holds sealed candles and can be truncated by a READ COMMITTED transaction only', TG_TABLE_NAME
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    WITH dropped AS (
        DELETE FROM chandlery.sealed
         WHERE sealed.timeframe = TG_ARGV[0]
           AND sealed.starts_at >= TG_ARGV[1]::timestamptz AND sealed.starts_at < TG_ARGV[2]::timestamptz
        RETURNING rows_kept
    )
    SELECT count(*) FILTER (WHERE NOT rows_kept) INTO without_rows FROM dropped;
    IF without_rows > 0 THEN
        RAISE EXCEPTION '% sealed spans of % have no rows that could be truncated', without_rows, TG_TABLE_NAME
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Bring the rows back first: chandlery unseal --timeframe ' || TG_ARGV[0];
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION chandlery.guard_sealed(partition regclass, timeframe text, starts timestamptz, ends timestamptz)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = partition AND tgname = 'sealed_row_written') THEN
        RETURN;
    END IF;
    -- it waits for all who write there, and so they are seen by whoever seals next
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', partition);
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = partition AND tgname = 'sealed_row_written') THEN
        RETURN;  -- somebody else was here while we waited
    END IF;
    EXECUTE format(
        'CREATE TRIGGER sealed_row_written AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW'
        ' WHEN (current_setting(''chandlery.minds_segments'', true) IS DISTINCT FROM ''on'')'
        ' EXECUTE FUNCTION chandlery.sealed_row_written()', partition);
    EXECUTE format(
        'CREATE TRIGGER sealed_rows_truncated AFTER TRUNCATE ON %s FOR EACH STATEMENT'
        ' WHEN (current_setting(''chandlery.minds_segments'', true) IS DISTINCT FROM ''on'')'
        ' EXECUTE FUNCTION chandlery.sealed_rows_truncated(%L, %L, %L)', partition, timeframe, starts, ends);
END
$$;
COMMENT ON FUNCTION chandlery.guard_sealed(regclass, text, timestamptz, timestamptz) IS
    'Before the first candle of a partition is sealed: from now on a write to it drops the segment it changes.';

COMMENT ON VIEW chandlery.ohlcv IS
    'Candles for people: timestamp is the open time (UTC), volume is in the base currency for every kind of instrument. '
    'It shows rows. Months that chandlery seal --drop-rows keeps without rows are not in it: SELECT FROM '
    'chandlery.sealed WHERE NOT rows_kept lists them, chandlery show and get_ohlcv_data read them, chandlery unseal '
    'brings their rows back.';
