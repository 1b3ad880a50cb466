"""One read gives every stored candle once and in order, however much is sealed, and whatever happens meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from candles import START, candles, changed, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.errors import DamagedDataError, DataValidationError
from chandlery.services.seal import Sealer
from chandlery.storage import assembly
from chandlery.storage.arrow_link import ArrowLink
from chandlery.storage.delivery import Delivery
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import identical

DAY = 86_400_000
EVER = Span(0, 4_102_444_800_000)
FIRST = START + 300 * DAY
"""2024-10-27 UTC."""
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
Model = dict[int, tuple[float, ...]]


def save(storage: PostgreSQLStorage, batch: CandleBatch) -> None:
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])


def within(batch: CandleBatch, span: Span) -> CandleBatch:
    return batch.take((batch.open_time >= span.start) & (batch.open_time < span.end))


@pytest.fixture(scope="module")
def sources() -> list[CandleBatch]:
    """Half hours of three series from the end of October to the beginning of February, with holes in the second."""
    whole = [candles(series(symbol, "30m"), 100 * 48, start=FIRST, seed=n) for n, symbol in enumerate(SYMBOLS)]
    return [whole[0], whole[1].take(np.arange(100 * 48) % 11 != 3), whole[2]]


@pytest.fixture
def mixed(storage: PostgreSQLStorage, sources: list[CandleBatch]) -> PostgreSQLStorage:
    """Of the first two series November is sealed without rows, and December with rows; the third is all rows."""
    for batch in sources:
        storage.writer.write([Delivery(batch=batch, covered=candles(batch.series, 4_800, start=FIRST).runs())])
    sealer = Sealer(storage)
    for entry in sealer.entries(SYMBOLS[:2]):
        sealer.seal(entry, before=START + 335 * DAY)
        sealer.drop_rows(entry)
        sealer.seal(entry, before=START + 366 * DAY)
    return storage


SPANS = {
    "ever": EVER,
    "one sealed month": Span(START + 305 * DAY, START + 335 * DAY),
    "from within one to within another": Span(START + 310 * DAY + 1, START + 350 * DAY + 1),
    "within one": Span(START + 310 * DAY, START + 310 * DAY + 5 * 1_800_000),
    "no candle": Span(START + 310 * DAY + 1, START + 310 * DAY + 2),
    "before all": Span(0, START),
    "rows alone": Span(START + 380 * DAY, EVER.end),
}


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_every_candle_of_both_tiers_is_read_once_and_in_order(
    mixed: PostgreSQLStorage, sources: list[CandleBatch], span: Span
) -> None:
    wanted = [batch.series for batch in reversed(sources)]
    table = mixed.reader.read([*wanted, series("XRP-USDT", "30m")], span)
    for number, batch in enumerate(reversed(sources)):
        assert identical(table.batch(number), within(batch, span))
    assert len(table.batch(3)) == 0


@pytest.mark.parametrize("values", [1, 15_000])
def test_segments_are_read_alone_or_a_few_together(
    mixed: PostgreSQLStorage,
    sources: list[CandleBatch],
    values: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(assembly, "_VALUES_AT_ONCE", values)
    for span in SPANS.values():
        table = mixed.reader.read([batch.series for batch in sources], span)
        assert all(identical(table.batch(number), within(batch, span)) for number, batch in enumerate(sources))
    assert not caplog.records, "none had to be read again"


def test_a_short_read_of_many_segments_is_several_jobs(
    mixed: PostgreSQLStorage, sources: list[CandleBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is what is decoded, which is more than is wanted."""
    monkeypatch.setattr(assembly, "_VALUES_AT_ONCE", 5_000)
    lots = []
    read_together = assembly.read_together
    monkeypatch.setattr(assembly, "read_together", lambda shares: lots.append(len(shares)) or read_together(shares))
    mixed.reader.read([batch.series for batch in sources], SPANS["within one"])
    assert lots == [1, 1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds a program to one processor")
def test_every_segment_is_decoded_where_there_is_one_processor(
    mixed: PostgreSQLStorage, sources: list[CandleBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "_VALUES_AT_ONCE", 1)
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    try:
        table = mixed.reader.read([batch.series for batch in sources], EVER)
    finally:
        os.sched_setaffinity(0, processors)
    assert all(identical(table.batch(number), batch) for number, batch in enumerate(sources))


@pytest.mark.parametrize("columns", [("close",), ("open_time", "base_volume"), ("quote_volume", "low", "open_time")])
def test_columns_can_be_chosen(mixed: PostgreSQLStorage, sources: list[CandleBatch], columns: tuple[str, ...]) -> None:
    span = SPANS["from within one to within another"]
    table = mixed.reader.read([sources[1].series], span, columns).rows
    assert tuple(table.column_names) == columns
    values = {name: table[name].to_numpy() for name in columns}
    for name, column in values.items():
        expected = getattr(within(sources[1], span), name)
        got = column.astype("M8[ms]").astype("int64") if name == "open_time" else column
        assert np.array_equal(got, expected)


@pytest.mark.parametrize(
    ("symbol", "columns"),
    [
        ("ETH-USDT", ["close"]),
        ("ETH-USDT", ["quote_volume", "timestamp"]),
        (["SOL-USDT", "ETH-USDT"], ["timestamp", "symbol", "volume"]),
        (["SOL-USDT", "ETH-USDT"], ["timeframe"]),
    ],
)
def test_a_frame_of_some_columns_is_that_part_of_the_whole(
    mixed: PostgreSQLStorage, symbol: str | list[str], columns: list[str]
) -> None:
    bounds = ("30m", "2024-11-05", "2024-12-24")
    some = mixed.get_ohlcv_data(symbol, *bounds, columns=columns)
    assert some.equals(mixed.get_ohlcv_data(symbol, *bounds)[columns])


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_frame_is_its_holders_to_change(mixed: PostgreSQLStorage, symbol: str) -> None:
    """Whether it came from segments, from rows, or from both."""
    for bounds in (("2024-11-05", "2024-11-06"), ("2024-10-30", "2025-01-20")):
        frame = mixed.get_ohlcv_data(symbol, "30m", *bounds)
        before = frame.copy()
        frame.loc[3, ["close", "quote_volume"]] = 1.0
        frame.loc[frame["close"] > 1.0, "timestamp"] = frame["timestamp"].iloc[0]
        assert frame["close"].iloc[3] == 1.0
        assert frame["timestamp"].nunique() == 2
        assert mixed.get_ohlcv_data(symbol, "30m", *bounds).equals(before)


@pytest.mark.parametrize(
    ("columns", "told"), [(["close", "vwap"], "'vwap'"), (["symbol"], "'symbol'"), ([], "no column")]
)
def test_a_column_that_no_frame_has_is_refused(mixed: PostgreSQLStorage, columns: list[str], told: str) -> None:
    with pytest.raises(DataValidationError, match=told):
        mixed.get_ohlcv_data("BTC-USDT", "30m", columns=columns)


def test_frames_are_the_same_sealed_and_not(mixed: PostgreSQLStorage) -> None:
    def frames() -> list[Any]:
        many = mixed.get_ohlcv_data(list(SYMBOLS), "30m")
        return [many, mixed.get_ohlcv_data("ETH-USDT", "30m", "2024-11-05", "2024-12-24")]

    before = frames()
    sealer = Sealer(mixed)
    for entry in sealer.entries():
        sealer.unseal(entry, EVER)
    for left, right in zip(before, frames(), strict=True):
        assert left.equals(right)
        assert list(left.dtypes) == list(right.dtypes)


def test_all_statements_of_a_read_see_the_same_moment(storage: PostgreSQLStorage) -> None:
    link, level = ArrowLink(storage.database), "SELECT current_setting('transaction_isolation') AS level"
    shown = link.in_snapshot(lambda statements: statements.table(level))
    assert shown["level"].to_pylist() == ["repeatable read"]
    with pytest.raises(ZeroDivisionError):
        link.in_snapshot(lambda _: 1 // 0)
    after = link.fetch(level)
    assert after["level"].to_pylist() == ["read committed"], "nothing of it is left"
    link.close()


def test_a_try_that_was_left_alone_writes_into_memory_of_its_own(
    mixed: PostgreSQLStorage, sources: list[CandleBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that is tried again must not meet the late end of the try before."""
    tries: list[Any] = []
    in_snapshot = ArrowLink.in_snapshot

    def twice(link: ArrowLink, work: Callable[[Any], Any]) -> Any:
        tries[:] = [in_snapshot(link, work), in_snapshot(link, work)]
        return tries[-1]

    monkeypatch.setattr(ArrowLink, "in_snapshot", twice)
    table = mixed.reader.read([batch.series for batch in sources], EVER)
    late = tries[0].finish()
    for name in table.rows.column_names:
        ours, other = (one.rows[name].chunk(0).buffers()[1].address for one in (table, late))
        assert ours != other, name
    assert all(identical(table.batch(number), batch) for number, batch in enumerate(sources))


def spoil(storage: PostgreSQLStorage, *, rows_kept: bool) -> None:
    storage.database.transact(
        lambda c: c.execute(
            "UPDATE chandlery.sealed SET data = set_bit(data, 8000, 1 - get_bit(data, 8000)) WHERE rows_kept = %s",
            [rows_kept],
        )
    )


def test_all_damage_is_found_in_one_go_and_a_frame_is_as_it_was(
    mixed: PostgreSQLStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are damaged, the rest is read twice; and the times of what is whole are scaled once."""
    before = mixed.get_ohlcv_data(list(SYMBOLS), "30m")
    spoil(mixed, rows_kept=True)
    asked = []
    in_snapshot = ArrowLink.in_snapshot
    monkeypatch.setattr(ArrowLink, "in_snapshot", lambda link, work: asked.append(1) or in_snapshot(link, work))
    assert mixed.get_ohlcv_data(list(SYMBOLS), "30m").equals(before)
    assert len(asked) == 2


def test_who_may_only_read_does_not_wait_for_a_note_of_the_damage(
    mixed: PostgreSQLStorage, sources: list[CandleBatch]
) -> None:
    """A standby refuses every note, and what is refused for good must not look like an outage."""
    spoil(mixed, rows_kept=True)
    options = "-c default_transaction_read_only=on"
    with PostgreSQLStorage(make_conninfo(mixed.database.conninfo, options=options)) as reading:
        setbacks: list[Any] = []
        reading.database.persistence.on_setback = setbacks.append
        table = reading.reader.read([batch.series for batch in sources], EVER)
    assert all(identical(table.batch(number), batch) for number, batch in enumerate(sources))
    assert not setbacks


def test_of_a_damaged_segment_the_rows_are_read_and_it_is_told(
    mixed: PostgreSQLStorage, sources: list[CandleBatch], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(mixed, rows_kept=True)
    table = mixed.reader.read([batch.series for batch in sources], EVER)
    assert all(identical(table.batch(number), batch) for number, batch in enumerate(sources))
    assert sum("are damaged" in record.getMessage() for record in caplog.records) == 2
    errors = [entry.last_error for entry in mixed.ledger.entries()]
    assert sum(error is not None and "chandlery seal" in error["message"] for error in errors) == 2


def test_of_a_damaged_segment_without_rows_nothing_is_read(
    mixed: PostgreSQLStorage, sources: list[CandleBatch]
) -> None:
    spoil(mixed, rows_kept=False)
    with pytest.raises(DamagedDataError, match=r"BTC-USDT 30m from 2024-11-01 .*chandlery seal BTC-USDT"):
        mixed.get_candles("BTC-USDT", "30m")
    span = Span(START + 335 * DAY, EVER.end)
    assert identical(mixed.reader.candles(sources[0].series, span), within(sources[0], span))


def test_reading_never_loses_or_doubles_a_candle_while_all_is_sealed_and_unsealed(
    mixed: PostgreSQLStorage, sources: list[CandleBatch]
) -> None:
    done = threading.Event()

    def turn_everything_over() -> None:
        try:
            with PostgreSQLStorage(mixed.database.conninfo) as storage:
                sealer = Sealer(storage)
                for _ in range(3):
                    for entry in sealer.entries():
                        sealer.unseal(entry, EVER)
                        sealer.seal(entry, before=EVER.end)
                        sealer.drop_rows(entry)
        finally:
            done.set()

    turning = threading.Thread(target=turn_everything_over)
    turning.start()
    reads = 0
    while not done.is_set() or not reads:
        table = mixed.reader.read([batch.series for batch in sources], EVER)
        assert all(identical(table.batch(number), batch) for number, batch in enumerate(sources))
        reads += 1
    turning.join()


def test_writers_and_sealers_side_by_side_leave_what_was_written(storage: PostgreSQLStorage) -> None:
    """Three writers of overlapping pieces, one who writes by hand, and two sealers who drop rows."""
    of = series(interval="12h")
    source = candles(of, 3 * 730, start=FIRST)
    save(storage, source.take(slice(0, 1_500)))
    written = threading.Event()

    def write(seed: int) -> None:
        for start in np.random.default_rng(seed).integers(0, len(source), 12).tolist():
            save(storage, source.take(slice(start, start + 400)))

    def seal() -> None:
        sealer = Sealer(storage)
        while not written.is_set():
            for entry in sealer.entries():
                sealer.seal(entry, before=EVER.end)
                sealer.drop_rows(entry)

    with ThreadPoolExecutor(6) as threads:
        writers = [threads.submit(write, seed) for seed in range(3)]
        writers.append(threads.submit(write_by_hand, storage.database.conninfo))
        sealers = [threads.submit(seal) for _ in range(2)]
        try:
            for writer in writers:
                writer.result()
        finally:
            written.set()
        for sealer in sealers:
            sealer.result()
    save(storage, source)
    assert identical(storage.reader.candles(of, EVER), source)


def write_by_hand(conninfo: str) -> None:
    """Touch candles that are sealed or not, in one statement each, and change nothing."""
    with psycopg.connect(conninfo) as connection:
        for day in range(1, 29):
            statement = "UPDATE chandlery.candle SET high = high WHERE open_time = %s"
            try:
                connection.execute(statement, [f"2025-01-{day:02d}Z"])
                connection.commit()
            except (errors.ObjectNotInPrerequisiteState, errors.DeadlockDetected):
                connection.rollback()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_done_reads_equal_a_plain_dictionary(storage: PostgreSQLStorage, seed: int) -> None:
    """Writes, seals, dropped rows, unseals and SQL by hand at random; after each, two reads."""
    rng = np.random.default_rng(seed)
    of = series(interval="12h")
    source = candles(of, 3 * 730, start=FIRST, seed=seed)
    doing = Doing(storage, source, rng)
    for _ in range(40):
        done = str(rng.choice(["save", "seal", "drop_rows", "unseal", "by_hand"], p=[0.3, 0.2, 0.2, 0.1, 0.2]))
        getattr(doing, done)()
        start = int(rng.integers(0, len(source)))
        some = Span(int(source.open_time[start]) - 1, int(source.open_time[start]) + 500 * DAY)
        for span in (EVER, some):
            assert contents(storage.reader.candles(of, span)) == {
                time: values for time, values in sorted(doing.model.items()) if time in span
            }, done


def contents(batch: CandleBatch) -> Model:
    columns = [column.tolist() for column in batch.columns().values()]
    return {time: tuple(values) for time, *values in zip(*columns, strict=True)}


class Doing:
    """What people do to one series, and what must be there afterwards."""

    def __init__(self, storage: PostgreSQLStorage, source: CandleBatch, rng: np.random.Generator) -> None:
        self.storage, self.source, self.rng = storage, source, rng
        self.sealer = Sealer(storage)
        self.model: Model = {}

    def save(self) -> None:
        start = int(self.rng.integers(0, len(self.source)))
        piece = self.source.take(slice(start, start + int(self.rng.integers(1, 1_200))))
        if self.rng.random() < 0.3:
            piece = changed(piece, slice(0, 3))
        save(self.storage, piece)
        self.model |= contents(piece)

    def seal(self) -> None:
        before = int(self.rng.choice(self.source.open_time)) + 500 * DAY
        for entry in self.sealer.entries():
            self.sealer.seal(entry, before=before)

    def drop_rows(self) -> None:
        for entry in self.sealer.entries():
            self.sealer.drop_rows(entry)

    def unseal(self) -> None:
        start = int(self.rng.choice(self.source.open_time))
        for entry in self.sealer.entries():
            self.sealer.unseal(entry, Span(start, start + 200 * DAY))

    def by_hand(self) -> None:
        if not self.model:
            return
        time = int(self.rng.choice(list(self.model)))
        values = self.model[time]
        with psycopg.connect(self.storage.database.conninfo) as connection:
            try:
                if self.rng.random() < 0.3:
                    statement = "DELETE FROM chandlery.candle WHERE open_time = to_timestamp(%s)"
                    gone = connection.execute(statement, [time / 1000]).rowcount
                    if gone:
                        del self.model[time]
                else:
                    statement = "UPDATE chandlery.candle SET base_volume = 7 WHERE open_time = to_timestamp(%s)"
                    if connection.execute(statement, [time / 1000]).rowcount:
                        self.model[time] = (*values[:4], 7.0, values[5])
            except errors.ObjectNotInPrerequisiteState:
                connection.rollback()


def test_series_of_different_timeframes_are_read_in_one_call(mixed: PostgreSQLStorage) -> None:
    days: Series = series(interval="1d")
    save(mixed, candles(days, 5, start=FIRST))
    table = mixed.reader.read([series("BTC-USDT", "30m"), days], EVER)
    assert np.diff(table.edges).tolist() == [4_800, 5]
