-- Whoever writes candles needs partitions, but should neither own the tables nor be able to make others.

-- With the rights of the schema's owner, because attaching a partition takes the ownership of its parent.
CREATE FUNCTION chandlery.make_partition(timeframe text, open_time timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parent    text := chandlery.candle_table(timeframe);  -- refuses what is no timeframe
    wall      timestamp := open_time AT TIME ZONE 'UTC';
    -- one for 1m, a year's up to 30m, ten years' above: under 200 partitions for ten years of everything
    months    integer := CASE WHEN timeframe = '1m' THEN 1
                              WHEN timeframe IN ('3m', '5m', '15m', '30m') THEN 12
                              ELSE 120 END;
    first     integer;
    starts    timestamptz;
    ends      timestamptz;
    partition text;
BEGIN
    IF wall IS NULL OR wall < '1970-01-01' OR wall >= '2200-01-01' THEN
        RAISE EXCEPTION 'no candle opens at %', open_time USING ERRCODE = 'invalid_parameter_value';
    END IF;
    first := (extract(year FROM wall)::integer * 12 + extract(month FROM wall)::integer - 1) / months * months;
    starts := make_timestamptz(first / 12, first % 12 + 1, 1, 0, 0, 0, 'UTC');
    ends := make_timestamptz((first + months) / 12, (first + months) % 12 + 1, 1, 0, 0, 0, 'UTC');
    partition := parent || to_char(starts AT TIME ZONE 'UTC', CASE months WHEN 1 THEN '"_"YYYY"_"MM' ELSE '"_"YYYY' END);

    PERFORM pg_advisory_xact_lock(123563834371699);  -- "partns": one maker of partitions at a time
    IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = parent::regclass AND inhrelid = to_regclass(partition)) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition, parent);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', parent, partition, starts, ends);
    -- Somebody has dropped the partition that was here: what was sealed of it has no rows any more.
    UPDATE chandlery.sealed SET rows_kept = false
     WHERE sealed.timeframe = $1 AND sealed.starts_at >= starts AND sealed.starts_at < ends;
    IF FOUND THEN
        PERFORM chandlery.guard_sealed(partition::regclass, timeframe, starts, ends);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION chandlery.make_partition(text, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION chandlery.make_partition(text, timestamptz) IS
    'Make the partition for candles of a timeframe that open at open_time; nothing happens if it is there.';
