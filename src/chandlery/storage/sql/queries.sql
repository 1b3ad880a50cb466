-- The queries of reader, writer and ledger. {table} is the table of one timeframe, such as chandlery.candle_1m.

-- name: stored_candles
-- The candles of a series in [start, end), oldest first, as one value: a COPY of them would be a message a row.
SELECT string_agg(
           timestamptz_send(open_time) || float8send(open) || float8send(high) || float8send(low)
           || float8send(close) || float8send(base_volume) || float8send(quote_volume), '')
  FROM (
    SELECT open_time, open, high, low, close, base_volume, quote_volume
      FROM {table}
     WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s
       AND open_time >= %(start)s AND open_time < %(end)s
     ORDER BY open_time
  ) AS stored

-- name: instruments_with_bars
-- Which instruments have a candle stored for one of these bars, or may have it in a sealed span without rows.
SELECT candle.instrument_id
  FROM unnest(%(instruments)s::integer[], %(open_times)s::timestamptz[]) AS bar (instrument_id, open_time)
  JOIN {table} AS candle ON candle.instrument_id = bar.instrument_id AND candle.open_time = bar.open_time
 WHERE candle.timeframe = %(timeframe)s
   AND candle.open_time >= %(start)s AND candle.open_time <= %(end)s
 UNION
SELECT instrument_id
  FROM chandlery.sealed
 WHERE instrument_id = ANY (%(instruments)s) AND timeframe = %(timeframe)s
   AND starts_at <= %(end)s AND ends_at > %(start)s AND NOT rows_kept

-- name: insert_candles
-- Straight into the table: the fastest way in, for rows that are known to be absent.
COPY {table} (open_time, open, high, low, close, base_volume, quote_volume, instrument_id, timeframe)
FROM STDIN (FORMAT binary)

-- name: make_staging
CREATE TEMPORARY TABLE candle_staging (
    open_time timestamptz, open float8, high float8, low float8, close float8, base_volume float8,
    quote_volume float8, instrument_id integer, timeframe text
) ON COMMIT DROP

-- name: insert_staged
-- Only when somebody outside writes beside us: what he stored first stays.
INSERT INTO {table} (open_time, open, high, low, close, base_volume, quote_volume, instrument_id, timeframe)
SELECT open_time, open, high, low, close, base_volume, quote_volume, instrument_id, timeframe
  FROM candle_staging
 ORDER BY open_time
    ON CONFLICT DO NOTHING

-- name: insert_revisions
COPY chandlery.revision (
    open_time, old_open, old_high, old_low, old_close, old_base_volume, old_quote_volume,
    new_open, new_high, new_low, new_close, new_base_volume, new_quote_volume, replaced, instrument_id, timeframe
) FROM STDIN (FORMAT binary)

-- name: apply_revisions
-- Put those new values of this transaction's revisions in place that replace others.
UPDATE {table} AS candle
   SET open = revision.new_open, high = revision.new_high, low = revision.new_low, close = revision.new_close,
       base_volume = revision.new_base_volume, quote_volume = revision.new_quote_volume
  FROM chandlery.revision
 WHERE revision.instrument_id = %(instrument_id)s AND revision.timeframe = %(timeframe)s
   AND revision.seen_at = now() AND revision.replaced
   AND candle.instrument_id = %(instrument_id)s AND candle.timeframe = %(timeframe)s
   AND candle.open_time = revision.open_time
   AND candle.open_time >= %(start)s AND candle.open_time < %(end)s

-- name: insert_rejected
-- The same row with the same reason is kept once and counted.
INSERT INTO chandlery.rejected (exchange, symbol, timeframe, open_time, reason, raw, times_seen)
SELECT %(exchange)s, %(symbol)s, %(timeframe)s, min(open_time), reason, raw, count(*)
  FROM unnest(%(open_time)s::timestamptz[], %(reason)s::text[], %(raw)s::text[]) AS broken (open_time, reason, raw)
 GROUP BY reason, raw
    ON CONFLICT (exchange, symbol, timeframe, md5(reason || raw))
    DO UPDATE SET last_seen_at = now(), times_seen = rejected.times_seen + excluded.times_seen

-- name: find_instrument
SELECT id FROM chandlery.instrument WHERE exchange = %(exchange)s AND symbol = %(symbol)s

-- name: add_instrument
INSERT INTO chandlery.instrument (
    exchange, symbol, kind, base, quote, settle, tick_size, lot_size, contract_value, listed_at, expires_at, state
) VALUES (
    %(exchange)s, %(symbol)s, %(kind)s, %(base)s, %(quote)s, %(settle)s, %(tick_size)s, %(lot_size)s,
    %(contract_value)s, %(listed_at)s, %(expires_at)s, %(state)s
) ON CONFLICT (exchange, symbol) DO NOTHING

-- name: refresh_instruments
-- What the exchange says now replaces what it said before; instruments that it no longer lists stay as they were.
INSERT INTO chandlery.instrument (
    exchange, symbol, kind, base, quote, settle, tick_size, lot_size, contract_value, listed_at, expires_at, state
) VALUES (
    %(exchange)s, %(symbol)s, %(kind)s, %(base)s, %(quote)s, %(settle)s, %(tick_size)s, %(lot_size)s,
    %(contract_value)s, %(listed_at)s, %(expires_at)s, %(state)s
) ON CONFLICT (exchange, symbol) DO UPDATE
   SET kind = excluded.kind, base = excluded.base, quote = excluded.quote, settle = excluded.settle,
       tick_size = excluded.tick_size, lot_size = excluded.lot_size, contract_value = excluded.contract_value,
       listed_at = excluded.listed_at, expires_at = excluded.expires_at, state = excluded.state
 WHERE (instrument.kind, instrument.base, instrument.quote, instrument.settle, instrument.tick_size,
        instrument.lot_size, instrument.contract_value, instrument.listed_at, instrument.expires_at, instrument.state)
       IS DISTINCT FROM
       (excluded.kind, excluded.base, excluded.quote, excluded.settle, excluded.tick_size,
        excluded.lot_size, excluded.contract_value, excluded.listed_at, excluded.expires_at, excluded.state)

-- name: exchanges_with_symbols
-- A series that was only asked for in vain stands in the ledger too, with nothing covered.
SELECT instrument.symbol, array_agg(instrument.exchange ORDER BY instrument.exchange <> 'okx', instrument.exchange)
  FROM chandlery.instrument
 WHERE symbol = ANY (%(symbols)s) AND exchange = coalesce(%(exchange)s, exchange)
   AND EXISTS (SELECT FROM chandlery.coverage WHERE coverage.instrument_id = instrument.id AND NOT isempty(spans))
 GROUP BY instrument.symbol

-- name: read_coverage
SELECT spans FROM chandlery.coverage WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s

-- name: read_derived
-- Stale bars too, which are not known any more.
SELECT derived FROM chandlery.coverage WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s

-- name: extend_coverage
-- What is delivered now is derived or not as this delivery says, whatever was there before.
INSERT INTO chandlery.coverage AS ledger (instrument_id, timeframe, spans, derived)
VALUES (%(instrument_id)s, %(timeframe)s, %(spans)s, %(derived)s)
    ON CONFLICT (instrument_id, timeframe) DO UPDATE
   SET spans = ledger.spans + excluded.spans, derived = ledger.derived - excluded.spans + excluded.derived,
       retired = ledger.retired - excluded.spans, updated_at = now(), last_error = NULL

-- name: extend_coverages
-- The same for many series in one statement.
INSERT INTO chandlery.coverage AS ledger (instrument_id, timeframe, spans)
SELECT *
  FROM unnest(%(instruments)s::integer[], %(timeframes)s::text[], %(spans)s::tstzmultirange[])
    ON CONFLICT (instrument_id, timeframe) DO UPDATE
   SET spans = ledger.spans + excluded.spans, derived = ledger.derived - excluded.spans,
       retired = ledger.retired - excluded.spans, updated_at = now(), last_error = NULL

-- name: made_of
-- Which coarser series have derived bars that contain a part of these known spans of a finer one.
SELECT coarse.instrument_id, instrument.exchange, instrument.symbol, coarse.timeframe, changed.spans * fine.spans
  FROM unnest(%(instruments)s::integer[], %(spans)s::tstzmultirange[]) AS changed (instrument_id, spans)
  JOIN chandlery.coverage AS fine ON fine.instrument_id = changed.instrument_id AND fine.timeframe = %(timeframe)s
  JOIN chandlery.coverage AS coarse ON coarse.instrument_id = changed.instrument_id
   AND coarse.timeframe = ANY (%(coarser)s::text[])
  JOIN chandlery.instrument ON instrument.id = coarse.instrument_id
 WHERE coarse.derived && (changed.spans * fine.spans)

-- name: uncover_derived
-- Only what was derived is made again; what the exchange sent stays known. The mark stays too: the old candle is still
-- stored, and is one of ours.
UPDATE chandlery.coverage SET spans = spans - (derived * %(bars)s::tstzmultirange)
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s

-- name: read_beginning
SELECT begins_at FROM chandlery.coverage WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s

-- name: remember_beginning
INSERT INTO chandlery.coverage (instrument_id, timeframe, begins_at)
VALUES (%(instrument_id)s, %(timeframe)s, %(begins_at)s)
    ON CONFLICT (instrument_id, timeframe) DO UPDATE SET begins_at = excluded.begins_at

-- name: remember_error
INSERT INTO chandlery.coverage (instrument_id, timeframe, last_error)
VALUES (%(instrument_id)s, %(timeframe)s, %(error)s)
    ON CONFLICT (instrument_id, timeframe) DO UPDATE SET last_error = excluded.last_error

-- name: all_series
-- Every series with its ledger; only what has been asked for stands here, so it is small.
SELECT instrument.exchange, instrument.symbol, coverage.timeframe, instrument.id, coverage.spans,
       coverage.begins_at, coverage.updated_at, coverage.last_error, coverage.derived * coverage.spans, coverage.retired
  FROM chandlery.coverage
  JOIN chandlery.instrument ON instrument.id = coverage.instrument_id
 ORDER BY instrument.exchange, instrument.symbol, coverage.timeframe

-- name: series_rows
-- First and last open time, candles, those of them that are rows; sealed spans, those of them without rows, their bytes.
SELECT least(stored.first, sealed.first), greatest(stored.last, sealed.last), stored.rows + sealed.candles_without_rows,
       stored.rows, sealed.spans, sealed.spans_without_rows, sealed.spans_archived, sealed.bytes
  FROM (
    SELECT min(open_time) AS first, max(open_time) AS last, count(*) AS rows
      FROM {table}
     WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s
  ) AS stored, (
    SELECT min(first_open_time) AS first, max(last_open_time) AS last, count(*) AS spans,
           count(*) FILTER (WHERE NOT rows_kept) AS spans_without_rows,
           count(*) FILTER (WHERE data IS NULL) AS spans_archived,
           coalesce(sum(candles) FILTER (WHERE NOT rows_kept), 0)::bigint AS candles_without_rows,
           coalesce(sum(octet_length(data)), 0)::bigint AS bytes
      FROM chandlery.sealed
     WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s
  ) AS sealed

-- name: series_extent
-- First and last open time of one series: two look-ups in each key.
SELECT least(min(open_time), (
           SELECT min(first_open_time) FROM chandlery.sealed
            WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s)),
       greatest(max(open_time), (
           SELECT max(last_open_time) FROM chandlery.sealed
            WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s))
  FROM {table}
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s

-- name: latest_open_time
SELECT "timestamp" FROM chandlery.latest(%(timeframe)s, ARRAY[%(symbol)s], %(exchange)s)

-- name: latest_candles
SELECT * FROM chandlery.latest({timeframe}, {symbols}, {exchange})

-- name: read_candles
-- For the Arrow reader: the candles of one series, oldest first. The limit is none, but the planner cannot know: it
-- expects that a tenth is wanted, and so walks the key, which sends the first rows at once and needs no sort.
SELECT {columns}
  FROM {table}
 WHERE instrument_id = {instrument_id} AND timeframe = {timeframe}
   AND open_time >= {start} AND open_time < {end}
 ORDER BY open_time
 LIMIT (SELECT NULL::bigint)

-- name: revisions_in
-- How many revisions a series has in [start, end), and where the first and the last are.
SELECT count(*), min(open_time), max(open_time)
  FROM chandlery.revision
 WHERE instrument_id = %(instrument_id)s AND timeframe = %(timeframe)s
   AND open_time >= %(start)s AND open_time < %(end)s

-- name: rejected_in
-- The same of rejected rows; those whose time could not be read belong to no span.
SELECT count(*), min(open_time), max(open_time)
  FROM chandlery.rejected
 WHERE exchange = %(exchange)s AND symbol = %(symbol)s AND timeframe = %(timeframe)s
   AND open_time >= %(start)s AND open_time < %(end)s

-- name: announce
SELECT pg_notify(%(channel)s, payload) FROM unnest(%(payloads)s::text[]) AS payload

-- name: make_partition
SELECT chandlery.make_partition(%(timeframe)s, %(open_time)s)

-- name: take_slots
-- In how many seconds the first of the slots is. What is taken minutes ahead was taken before the clock was set back.
INSERT INTO chandlery.pace AS pace (host, address, endpoint, taken_until)
VALUES (%(host)s, %(address)s, %(endpoint)s, clock_timestamp() + %(length)s)
    ON CONFLICT (host, address, endpoint) DO UPDATE
   SET taken_until = %(length)s + CASE
           WHEN pace.taken_until BETWEEN clock_timestamp() AND clock_timestamp() + interval '5 minutes'
           THEN pace.taken_until ELSE clock_timestamp() END
RETURNING extract(epoch FROM taken_until - %(length)s - clock_timestamp())

-- name: start_run
INSERT INTO chandlery.run (command) VALUES (%(command)s) RETURNING id

-- name: finish_run
UPDATE chandlery.run
   SET finished_at = now(), pages = %(pages)s, inserted = %(inserted)s, unchanged = %(unchanged)s,
       revised = %(revised)s, rejected = %(rejected)s, outcome = %(outcome)s
 WHERE id = %(id)s

-- name: newest_runs
SELECT started_at, finished_at, command, pages, inserted, unchanged, revised, rejected, outcome
  FROM chandlery.run
 ORDER BY id DESC
 LIMIT %(count)s
