"""A segment gives back every double to the last bit, and never gives back anything else."""

from __future__ import annotations

import dataclasses
import functools
import io
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal.isal_zlib import crc32

from candles import candles, series
from chandlery.domain.candle import COLUMNS, VALUE_COLUMNS, CandleBatch
from chandlery.domain.span import Span
from chandlery.errors import DamagedDataError
from chandlery.storage import segment_files
from chandlery.storage.segment_files import encode
from chandlery.storage.segment_reading import POWERS, Share, bounds_in, decode, read_together
from chandlery.storage.segments import Segment
from chandlery.storage.tiers import with_bytes
from real_candles import FOLDER, absence

EVER = Span(0, 4_102_444_800_000)


def holding(values: Any, **others: Any) -> CandleBatch:
    """A batch with these doubles as every value, whether they make a candle or not."""
    column = np.asarray(values, dtype=np.float64)
    opens = candles(series(), len(column)).open_time
    return CandleBatch.of(series(), {"open_time": opens, **dict.fromkeys(VALUE_COLUMNS, column), **others})


def assert_comes_back(batch: CandleBatch) -> Segment:
    segment = encode(batch)
    for name, column in decode(segment).items():
        assert np.array_equal(column.view(np.int64), getattr(batch, name).view(np.int64)), name
    return segment


def kind_of(segment: Segment, column: str) -> pa.DataType:
    return pa_parquet.read_schema(io.BytesIO(segment.file)).field(column).type


any_bits = st.integers(-(2**63), 2**63 - 1).map(lambda bits: np.int64(bits).view(np.float64))
decimals = st.builds(lambda number, scale: number / 10.0**scale, st.integers(-(10**18), 10**18), st.integers(0, 18))


@settings(max_examples=150)
@given(st.lists(st.one_of(any_bits, decimals, st.floats()), min_size=1, max_size=40))
def test_any_doubles_come_back(values: list[float]) -> None:
    assert_comes_back(holding(values))


@settings(max_examples=100)
@given(
    st.integers(0, 12),
    st.lists(st.one_of(st.none(), st.integers(0, 10**15 - 1)), min_size=1, max_size=200),
)
def test_decimals_of_fifteen_digits_are_kept_as_decimals(scale: int, numbers: list[int | None]) -> None:
    """Also where some or all are not known."""
    batch = holding([np.nan if number is None else number / 10.0**scale for number in numbers])
    assert pa.types.is_decimal(kind_of(assert_comes_back(batch), "close"))


@pytest.mark.parametrize("value", [-0.0, 5e-324, 1.7976931348623157e308, np.inf, -np.inf, 1e-19, 1e18])
def test_what_no_scale_holds_is_kept_as_a_double(value: float) -> None:
    assert kind_of(assert_comes_back(holding([1.5, value, 2.5])), "close") == pa.float64()


@pytest.mark.parametrize("value", [1e-12, 0.1, 123456.789012, 1e17, 0.0, 67_342.1])
def test_what_an_exchange_sends_is_kept_as_a_decimal(value: float) -> None:
    assert pa.types.is_decimal(kind_of(assert_comes_back(holding([value])), "close"))


def test_a_nan_of_another_making_comes_back_with_its_bits() -> None:
    strange = np.array([0x7FF8_0000_0000_0001, 0xFFF8_0000_0000_0000], dtype=np.uint64).view(np.float64)
    assert_comes_back(holding(strange))


@pytest.mark.parametrize("interval", ["1m", "30m", "1h", "1d", "1w", "1M"])
@pytest.mark.parametrize("hole", [False, True])
def test_times_come_back_with_and_without_holes(interval: str, hole: bool) -> None:
    batch = candles(series(interval=interval), 100)
    if hole:
        batch = batch.take(np.array([0, 1, 5, 6, 99]))
    segment = assert_comes_back(batch)
    assert segment.unbroken == (not hole and interval != "1M")
    assert (segment.rows, segment.first, segment.last) == (len(batch), batch.open_time[0], batch.open_time[-1])


def test_columns_can_be_chosen_and_are_decoded_into_given_memory() -> None:
    batch = candles(series(), 500)
    segment = encode(batch)
    assert list(decode(segment, ["close"])) == ["close"]
    memory = np.zeros((2, 700))
    targets = {"low": memory[0, 100:600], "high": memory[1, 100:600]}
    assert read_together([Share(segment, targets, EVER)]) == [500]
    assert np.array_equal(memory[0, 100:600], batch.low)
    assert np.array_equal(memory[1, 100:600], batch.high)
    assert not memory[:, :100].any()
    assert not memory[:, 600:].any()


def test_any_tool_that_reads_parquet_reads_a_segment() -> None:
    batch = candles(series(), 50)
    table = pa_parquet.read_table(io.BytesIO(encode(batch).file), page_checksum_verification=True)
    assert table.column_names == list(COLUMNS)
    assert table.schema.field("open_time").type == pa.timestamp("ms", "UTC")
    assert [float(value) for value in table["close"].to_pylist()] == batch.close.tolist()


def test_a_month_of_minutes_takes_less_than_twelve_bytes_a_candle() -> None:
    batch = candles(series(), 44_640)
    rounded = {name: np.round(getattr(batch, name), 2) for name in ("high", "low", "quote_volume")}
    batch = CandleBatch.of(series(), {**batch.columns(), **rounded})
    assert len(encode(batch).file) < 12 * len(batch)


@pytest.mark.parametrize(
    ("name", "interval"), [("okx_BTC-USDT-SWAP_1m_2026-01", "1m"), ("okx_DOGE-USDT-SWAP_5m_2022", "5m")]
)
def test_real_candles_take_less_than_twelve_bytes_each(name: str, interval: str) -> None:
    path = FOLDER / f"{name}.parquet"
    if not path.exists():
        pytest.skip(absence(path.name))
    table = pa_parquet.read_table(path)
    columns = {column.replace("open_time_ms", "open_time"): table[column].to_numpy() for column in table.column_names}
    batch = CandleBatch.of(series(interval=interval), {"quote_volume": np.full(len(table), np.nan), **columns})
    segment = assert_comes_back(batch)
    assert len(segment.file) < 12 * len(batch)
    assert all(pa.types.is_decimal(kind_of(segment, column)) for column in VALUE_COLUMNS)


def test_ten_thousand_flipped_bits_are_all_noticed() -> None:
    segment = encode(candles(series(), 300))
    chance = random.Random(7)
    for _ in range(10_000):
        data = bytearray(segment.file)
        bit = chance.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedDataError, match="checksum"):
            decode(dataclasses.replace(segment, runs=[(segment.all_pieces, bytes(data))]))


@pytest.mark.parametrize(
    "change", [{"rows": 299}, {"checksum": 1}, {"runs": [(range(8), b"")]}, {"runs": [(range(8), b"PAR1")]}]
)
def test_a_segment_that_is_not_as_described_is_refused(change: dict[str, Any]) -> None:
    segment = encode(candles(series(), 300))
    with pytest.raises(DamagedDataError):
        decode(dataclasses.replace(segment, **change), ["close"])


def test_pieces_that_are_not_where_the_footer_says_are_refused() -> None:
    """The bounds stand in the database, and no checksum of the file proves them."""
    segment = encode(candles(series(), 300))
    moved = (segment.bounds[0], *(bound + 1 for bound in segment.bounds[1:-2]), *segment.bounds[-2:])
    for bounds in (moved, segment.bounds[:-2]):
        with pytest.raises(DamagedDataError):
            decode(dataclasses.replace(segment, bounds=bounds))


def test_a_file_of_other_columns_is_refused() -> None:
    segment = encode(candles(series(), 300))
    table = pa_parquet.read_table(io.BytesIO(segment.file)).rename_columns([*COLUMNS[:-1], "turnover"])
    file = io.BytesIO()
    pa_parquet.write_table(table, file, compression="none", use_dictionary=False)
    data = file.getvalue()
    bounds = (*bounds_in(pa_parquet.read_metadata(file)), len(data))
    described = dataclasses.replace(segment, bounds=bounds, checksum=crc32(data))
    with pytest.raises(DamagedDataError, match="turnover"):
        decode(with_bytes(described, [(segment.all_pieces, data)]))


def test_pieces_alone_are_no_file() -> None:
    with pytest.raises(ValueError, match="alone are no file"):
        pieces(encode(candles(series(), 300)), ["open_time"], EVER).file  # noqa: B018


def test_powers_of_ten_are_the_nearest_doubles() -> None:
    assert [int(power) for power in POWERS] == [10**scale for scale in range(19)]


def test_some_columns_are_read_from_their_pieces_alone() -> None:
    batch = candles(series(), 500).take(np.arange(500) != 7)
    whole = encode(batch)
    assert whole.bounds[0] == 0
    assert whole.bounds[-1] == len(whole.file)
    some = pieces(whole, ["close", "open_time"], EVER)
    for name, column in decode(some, ["close", "open_time"]).items():
        assert np.array_equal(column, getattr(batch, name))


@settings(max_examples=150)
@given(
    st.data(),
    st.sampled_from([20_000, 14_880, 7_441, 50]),
    st.booleans(),
    st.sets(st.sampled_from(COLUMNS), min_size=1).map(sorted),
)
def test_any_span_is_read_from_the_pieces_that_it_touches(
    data: st.DataObject, count: int, hole: bool, columns: list[str]
) -> None:
    batch, segment = sealed(count, hole)
    first, last = int(batch.open_time[0]), int(batch.open_time[-1])
    start, end = sorted(data.draw(st.tuples(*[st.integers(first - 90_000, last + 90_000)] * 2)))
    span = Span(start, end + 1)
    expected = batch.take((batch.open_time >= span.start) & (batch.open_time < span.end))
    room = segment.most_rows_in(span)
    assert room == len(expected) or hole
    targets = {name: np.empty(room, getattr(batch, name).dtype) for name in columns}
    assert read_together([Share(pieces(segment, columns, span), targets, span)]) == [len(expected)]
    for name, column in targets.items():
        assert np.array_equal(column[: len(expected)].view(np.int64), getattr(expected, name).view(np.int64)), name


def test_a_short_span_takes_a_fraction_of_its_month() -> None:
    batch, segment = sealed(44_640, hole=False)
    day = Span(int(batch.open_time[0]), int(batch.open_time[1_440]))
    fetched = sum(segment.bounds[run.stop] - segment.bounds[run.start] for run in segment.pieces_of(COLUMNS, day))
    assert fetched < len(segment.file) / 5


def test_a_segment_of_one_group_as_it_was_written_before_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_files, "_MOST_IN_GROUP", 1_000_000)
    batch = candles(series(), 20_000)
    segment = encode(batch)
    assert len(segment.checksums) == len(COLUMNS) + 1
    span = Span(int(batch.open_time[9_000]), int(batch.open_time[9_100]))
    targets = {"close": np.empty(100)}
    assert read_together([Share(pieces(segment, ["close"], span), targets, span)]) == [100]
    assert np.array_equal(targets["close"], batch.close[9_000:9_100])


def test_flipped_bits_in_pieces_are_all_noticed() -> None:
    some = pieces(encode(candles(series(), 300)), ["close"], EVER)
    chance = random.Random(8)
    for _ in range(2_000):
        number = chance.randrange(len(some.runs))
        data = bytearray(some.runs[number][1])
        bit = chance.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        runs = [(run, bytes(data) if place == number else held) for place, (run, held) in enumerate(some.runs)]
        with pytest.raises(DamagedDataError, match="checksum"):
            decode(dataclasses.replace(some, runs=runs), ["close"])


@functools.cache
def of_any_kind() -> list[tuple[CandleBatch, Segment]]:
    """Segments of which no two are stored alike: other scales, groups, lengths of bars; holes, doubles, null."""
    plain = candles(series(), 500)
    coarse = candles(series(), 300, seed=1)
    rounded = {name: np.floor(getattr(coarse, name)) for name in ("open", "close")}
    unknown = np.where(np.arange(400) % 3 == 0, np.nan, 1.25)
    batches = [
        plain,
        CandleBatch.of(series(), {**coarse.columns(), **rounded}),
        candles(series(), 8_000, seed=2),
        candles(series(), 200, seed=3).take(np.arange(200) != 9),
        holding([1.5, -0.0, 2.5]),
        holding(np.full(400, 0.125), quote_volume=unknown),
        candles(series(interval="1M"), 30, seed=4),
    ]
    return [(batch, encode(batch)) for batch in batches]


@settings(max_examples=100)
@given(
    st.data(),
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
    st.sets(st.sampled_from(COLUMNS), min_size=1).map(sorted),
)
def test_what_is_read_together_is_what_is_read_alone(data: st.DataObject, which: list[int], columns: list[str]) -> None:
    shares, expected = [], []
    for batch, segment in (of_any_kind()[number] for number in which):
        times = batch.open_time
        first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(batch) - 1)] * 2)))
        span = Span(int(times[first]), int(times[last]) + data.draw(st.integers(1, 90_000)))
        expected.append(batch.take((times >= span.start) & (times < span.end)))
        targets = {name: np.empty(segment.most_rows_in(span), getattr(batch, name).dtype) for name in columns}
        whole = data.draw(st.booleans())
        shares.append(Share(segment if whole else pieces(segment, columns, span), targets, span))
    assert read_together(shares) == list(map(len, expected))
    for share, batch in zip(shares, expected, strict=True):
        for name, column in share.targets.items():
            assert np.array_equal(column[: len(batch)].view(np.int64), getattr(batch, name).view(np.int64)), name


@functools.cache
def sealed(count: int, hole: bool) -> tuple[CandleBatch, Segment]:
    batch = candles(series(), count)
    batch = batch.take(np.arange(count) % 17 != 3) if hole else batch
    return batch, encode(batch)


def pieces(segment: Segment, columns: list[str], span: Span) -> Segment:
    runs = segment.pieces_of(columns, span)
    bytes_of = [(run, segment.file[segment.bounds[run.start] : segment.bounds[run.stop]]) for run in runs]
    return with_bytes(segment, bytes_of)
