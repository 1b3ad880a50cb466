-- Queries across timeframes and instruments, for people's SQL and for our own.
-- All are STABLE or IMMUTABLE, run with the rights of whoever calls them, and need SELECT on the tables alone.

CREATE FUNCTION chandlery.close_time(open_time timestamptz, timeframe text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE  -- not STRICT, which would keep it from being inlined
-- reckoned as UTC wall time, so that neither the session's zone nor its daylight saving moves a day or a month
RETURN (open_time AT TIME ZONE 'UTC' + CASE timeframe
           WHEN '1m' THEN interval '1 minute'   WHEN '3m' THEN interval '3 minutes'
           WHEN '5m' THEN interval '5 minutes'  WHEN '15m' THEN interval '15 minutes'
           WHEN '30m' THEN interval '30 minutes' WHEN '1h' THEN interval '1 hour'
           WHEN '2h' THEN interval '2 hours'    WHEN '4h' THEN interval '4 hours'
           WHEN '6h' THEN interval '6 hours'    WHEN '12h' THEN interval '12 hours'
           WHEN '1d' THEN interval '1 day'      WHEN '1w' THEN interval '7 days'
           WHEN '1M' THEN interval '1 month'
       END) AT TIME ZONE 'UTC';
COMMENT ON FUNCTION chandlery.close_time(timestamptz, text) IS
    'When the candle that opens at open_time closes, which is when the next one opens; NULL for an unknown timeframe.';

CREATE FUNCTION chandlery.candle_table(timeframe text) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF chandlery.close_time('epoch', timeframe) IS NULL THEN
        RAISE EXCEPTION '% is not a timeframe', coalesce(quote_literal(timeframe), 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The timeframes are 1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 12h, 1d, 1w and 1M.';
    END IF;
    RETURN format('chandlery.%I', 'candle_' || CASE timeframe WHEN '1M' THEN '1mo' ELSE timeframe END);
END
$$;
COMMENT ON FUNCTION chandlery.candle_table(text) IS 'The table of one timeframe; 1M has candle_1mo.';

CREATE FUNCTION chandlery.instrument_id(symbol text, exchange text DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found integer[];
BEGIN
    -- okx first; of other exchanges there may be only one
    SELECT array_agg(instrument.id ORDER BY instrument.exchange <> 'okx', instrument.exchange) INTO found
      FROM chandlery.instrument
     WHERE instrument.symbol = $1 AND instrument.exchange = coalesce($2, instrument.exchange)
       -- a series that was only asked for in vain stands in the ledger too, with nothing covered
       AND EXISTS (
           SELECT FROM chandlery.coverage WHERE coverage.instrument_id = instrument.id AND NOT isempty(spans));
    IF found IS NULL THEN
        RAISE EXCEPTION 'no candles of % are stored', coalesce($1, 'NULL') USING ERRCODE = 'no_data_found';
    ELSIF cardinality(found) > 1
        AND NOT EXISTS (SELECT FROM chandlery.instrument WHERE id = found[1] AND instrument.exchange = 'okx') THEN
        RAISE EXCEPTION '% is stored for several exchanges', $1
            USING ERRCODE = 'ambiguous_parameter', HINT = 'Name one with exchange => ''...''.';
    END IF;
    RETURN found[1];
END
$$;
COMMENT ON FUNCTION chandlery.instrument_id(text, text) IS
    'The number of an instrument of which candles are stored; without an exchange okx is meant, else the only other one.';

CREATE FUNCTION chandlery.aligned(
    symbol text, fine text, coarse text, start timestamptz, "end" timestamptz, exchange text DEFAULT NULL
) RETURNS TABLE (
    "timestamp" timestamptz, open float8, high float8, low float8, close float8, volume float8, quote_volume float8,
    coarse_timestamp timestamptz, coarse_open float8, coarse_high float8, coarse_low float8, coarse_close float8,
    coarse_volume float8, coarse_quote_volume float8
)
LANGUAGE plpgsql STABLE ROWS 100000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    instrument_id integer := chandlery.instrument_id(symbol, exchange);
    -- as long as a coarse candle can be (January has 31 days), reckoned in UTC like every bar
    longest interval := (chandlery.close_time('2000-01-01Z', coarse) AT TIME ZONE 'UTC') - timestamp '2000-01-01';
    since timestamptz := ((start AT TIME ZONE 'UTC') - longest) AT TIME ZONE 'UTC';
BEGIN
    -- Each coarse candle is the last closed one from its close until the next one's. The fine candles of that time are
    -- one range of the key, so every row of both is read once, in order. What is executed has its parameters' values
    -- at hand when it is planned, and therefore leaves out the partitions that cannot hold anything.
    RETURN QUERY EXECUTE format(
        $query$
        WITH closed AS (
            (SELECT candle.*, chandlery.close_time(open_time, $3) AS closes
               FROM %2$s AS candle
              WHERE instrument_id = $1 AND timeframe = $3
                AND open_time < $4 AND chandlery.close_time(open_time, $3) <= $4
              ORDER BY open_time DESC LIMIT 1)
            UNION ALL
            SELECT candle.*, chandlery.close_time(open_time, $3)
              FROM %2$s AS candle
             WHERE instrument_id = $1 AND timeframe = $3 AND open_time >= $6 AND open_time < $5
               AND chandlery.close_time(open_time, $3) > $4 AND chandlery.close_time(open_time, $3) < $5
            UNION ALL
            SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '-infinity'  -- before the first close
        ), known AS (
            SELECT closed.*, lead(closes, 1, 'infinity') OVER (ORDER BY closes) AS until FROM closed
        )
        SELECT fine.open_time, fine.open, fine.high, fine.low, fine.close, fine.base_volume,
               nullif(fine.quote_volume, 'NaN'),
               known.open_time, known.open, known.high, known.low, known.close, known.base_volume,
               nullif(known.quote_volume, 'NaN')
          FROM known
         CROSS JOIN LATERAL (
             SELECT *
               FROM %1$s AS candle
              WHERE instrument_id = $1 AND timeframe = $2 AND open_time >= $4 AND open_time < $5
                AND open_time >= known.closes AND open_time < known.until
              ORDER BY open_time
              LIMIT (SELECT NULL::bigint)  -- all, but the planner cannot know that, and so uses the key
         ) AS fine
         ORDER BY known.closes, fine.open_time
        $query$,
        chandlery.candle_table(fine), chandlery.candle_table(coarse)
    ) USING instrument_id, fine, coarse, start, "end", since;
END
$$;
COMMENT ON FUNCTION chandlery.aligned(text, text, text, timestamptz, timestamptz, text) IS
    'The fine candles that open in [start, end), each with the last coarse candle that had closed when it opened: '
    'nothing that was not known at the fine candle''s open time. The coarse columns are NULL before the first close.';

CREATE FUNCTION chandlery.latest(timeframe text, symbols text[] DEFAULT NULL, exchange text DEFAULT NULL)
RETURNS SETOF chandlery.ohlcv
LANGUAGE plpgsql STABLE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted   integer[];
    found    integer[];
    candles  chandlery.ohlcv[];
    result   chandlery.ohlcv[] := '{}';
    newer    timestamptz := 'infinity';
    older    timestamptz;
    earliest timestamptz;
    reach    interval := interval '40 days';  -- more than the longest candle
BEGIN
    SELECT array_agg(instrument.id), max(upper(spans)) - reach, min(lower(spans)) INTO wanted, older, earliest
      FROM chandlery.coverage JOIN chandlery.instrument ON instrument.id = coverage.instrument_id
     WHERE coverage.timeframe = $1 AND instrument.symbol = ANY (coalesce($2, ARRAY[instrument.symbol]))
       AND instrument.exchange = coalesce($3, instrument.exchange);
    -- Almost all series have a candle in the newest partition or two; planning for all partitions would cost more than
    -- finding them. So look back a little, and for those not found four times as far, each time where nobody looked.
    WHILE cardinality(wanted) > 0 LOOP
        EXECUTE format(
            $query$
            SELECT array_agg(id),
                   array_agg(ROW(instrument.exchange, instrument.symbol, $1, candle.open_time, candle.open, candle.high,
                                 candle.low, candle.close, candle.base_volume, nullif(candle.quote_volume, 'NaN')
                             )::chandlery.ohlcv)
              FROM chandlery.instrument
             CROSS JOIN LATERAL (
                 SELECT *
                   FROM %s AS newest
                  WHERE newest.instrument_id = instrument.id AND newest.timeframe = $1
                    AND newest.open_time >= $3 AND newest.open_time < $4
                  ORDER BY newest.open_time DESC LIMIT 1
             ) AS candle
             WHERE instrument.id = ANY ($2)
            $query$,
            chandlery.candle_table($1)
        ) INTO found, candles USING $1, wanted, coalesce(older, '-infinity'), newer;
        result := result || candles;
        EXIT WHEN older IS NULL;
        wanted := ARRAY(SELECT unnest(wanted) EXCEPT SELECT unnest(found));
        newer := older;
        reach := reach * 4;
        older := CASE WHEN newer > earliest THEN newer - reach END;
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(result) AS candle ORDER BY candle.exchange, candle.symbol;
END
$$;
COMMENT ON FUNCTION chandlery.latest(text, text[], text) IS
    'The newest candle of every series of a timeframe, or of those of some symbols, as rows of the view ohlcv.';
