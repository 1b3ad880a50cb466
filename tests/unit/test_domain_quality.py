"""Every kind of defect is found with exactly its span, good candles raise no alarm, and pieces make no difference."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candles import START, candles, changed, series
from chandlery.domain.candle import COLUMNS, CandleBatch, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.quality import (
    Finding,
    Rule,
    SeriesCheck,
    SeriesChecker,
    Severity,
    check_rows,
    outages,
    unexplained,
)
from chandlery.domain.quality.compare import TimeframeCheck, differing
from chandlery.domain.quality.jumps import BLOCK
from chandlery.domain.quality.runs import Runs
from chandlery.domain.rollup import roll_up
from chandlery.domain.span import Span, Spans

MINUTE = 60_000
DAY = 1_440
BARS = 4 * DAY
BTC, ETH, SOL = (series(f"{base}-USDT") for base in ("BTC", "ETH", "SOL"))


def bars(first: int, count: int = 1) -> Span:
    """The minutes from number ``first`` after the start."""
    return Span(START + first * MINUTE, START + (first + count) * MINUTE)


def rows_of(of: Series, count: int, seed: int = 0) -> CandleRows:
    """Good candles, not bound to stay good."""
    return CandleRows.of(of, candles(of, count, seed=seed).columns())


def now_after(rows: CandleRows) -> int:
    return rows.series.timeframe.close_of(int(rows.open_time.max()))


def altered(rows: CandleRows, **changes: Callable[[np.ndarray], object]) -> CandleRows:
    """A copy with columns changed in place by the functions given."""
    columns = {name: column.copy() for name, column in rows.columns().items()}
    for name, change in changes.items():
        change(columns[name])
    return CandleRows.of(rows.series, columns)


def put(where: int | slice, value: float) -> Callable[[np.ndarray], object]:
    return lambda column: column.__setitem__(where, value)


def without(rows: CandleRows, where: slice) -> CandleRows:
    kept = np.ones(len(rows), dtype=np.bool_)
    kept[where] = False
    return rows.take(kept)


def quiet(rows: CandleRows, where: slice) -> CandleRows:
    """Flat, without volume, at the price before: what the exchange writes while nothing trades."""
    price = float(rows.close[where.start - 1])
    return altered(
        rows,
        **dict.fromkeys(("open", "high", "low", "close"), put(where, price)),
        base_volume=put(where, 0),
        quote_volume=put(where, 0),
    )


def repeated(rows: CandleRows, row: int) -> CandleRows:
    return rows.take(np.sort(np.append(np.arange(len(rows)), row)))


def told(check: SeriesCheck) -> list[tuple[Rule, Span, int]]:
    return [(found.rule, found.span, found.count) for found in check.findings]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("interval", ["1m", "15m", "1h", "1d", "1w", "1M"])
def test_good_candles_raise_no_alarm(interval: str, seed: int) -> None:
    good = candles(series(interval=interval), 700 if interval in ("1d", "1w", "1M") else BARS, seed=seed)
    check = check_rows(good, now_after(good))
    assert told(check) == []
    assert (check.coverage, check.candles, check.wanted) == (1.0, len(good), good.span)


DEFECTS: dict[str, tuple[Callable[[CandleRows], CandleRows], list[tuple[Rule, Span, int]]]] = {
    "a hole": (lambda rows: without(rows, slice(100, 107)), [(Rule.GAP_UNCOVERED, bars(100, 7), 7)]),
    "two holes": (
        lambda rows: without(without(rows, slice(200, 201)), slice(100, 107)),
        [(Rule.GAP_UNCOVERED, bars(100, 7), 7), (Rule.GAP_UNCOVERED, bars(200), 1)],
    ),
    "a row twice": (lambda rows: repeated(rows, 50), [(Rule.DUPLICATE, bars(50), 1)]),
    "a row off the grid": (
        lambda rows: altered(rows, open_time=put(60, START + 60 * MINUTE + 7_000)),
        [(Rule.GAP_UNCOVERED, bars(60), 1), (Rule.MISALIGNED, bars(60), 1)],
    ),
    "a row too late": (
        lambda rows: rows.take(np.r_[0:10, 11:20, 10, 20 : len(rows)]),
        [(Rule.UNSORTED, bars(10), 1)],
    ),
    "a high below the rest": (lambda rows: altered(rows, high=put(30, 1.0)), [(Rule.BROKEN_OHLC, bars(30), 1)]),
    "a low above the rest": (lambda rows: altered(rows, low=put(30, 1e9)), [(Rule.BROKEN_OHLC, bars(30), 1)]),
    "a price of zero": (lambda rows: altered(rows, open=put(30, 0)), [(Rule.BROKEN_OHLC, bars(30), 1)]),
    "no numbers": (
        lambda rows: altered(rows, close=put(slice(30, 34), np.nan), low=put(33, np.nan)),
        [(Rule.BROKEN_OHLC, bars(30, 4), 4)],
    ),
    "an infinite price": (lambda rows: altered(rows, high=put(30, np.inf)), [(Rule.BROKEN_OHLC, bars(30), 1)]),
    "a negative volume": (lambda rows: altered(rows, base_volume=put(30, -1)), [(Rule.BROKEN_OHLC, bars(30), 1)]),
    "a halt": (lambda rows: quiet(rows, slice(2_000, 2_012)), [(Rule.QUIET_RUN, bars(2_000, 12), 12)]),
    "a bad tick": (lambda rows: altered(rows, high=put(900, 200.0)), [(Rule.PRICE_SPIKE, bars(900), 1)]),
    "a bad close": (
        lambda rows: altered(rows, low=put(900, 9.0), close=put(900, 9.0)),
        [(Rule.PRICE_SPIKE, bars(900), 1)],
    ),
    "another unit from here on": (
        lambda rows: altered(
            rows, **{name: lambda c: put(slice(3_000, None), 1_000 * c[3_000:])(c) for name in COLUMNS[1:5]}
        ),
        [(Rule.PRICE_JUMP, bars(3_000), 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found_with_exactly_its_span(defect: str, seed: int) -> None:
    spoil, expected = DEFECTS[defect]
    spoilt = spoil(rows_of(BTC, BARS, seed))
    assert told(check_rows(spoilt, START + BARS * MINUTE)) == expected


def test_what_has_not_closed_is_no_candle() -> None:
    good = candles(BTC, 200)
    check = check_rows(good, START + 196 * MINUTE + 30_000)
    assert told(check) == [(Rule.FUTURE, bars(197, 3), 3)], "bar 196 may have closed by the exchange's clock"
    assert check.wanted == bars(0, 196)


def test_broken_rows_name_every_reason() -> None:
    broken = altered(candles(BTC, 200), close=put(30, np.nan), base_volume=put(31, -1))
    [found] = check_rows(broken, now_after(broken)).findings
    assert "close is not a number" in found.message
    assert "base_volume is negative" in found.message


@pytest.mark.parametrize(("minutes_ago", "alarm"), [(0, False), (9, False), (12, True)])
def test_old_ends_are_stale_and_no_gap(minutes_ago: int, alarm: bool) -> None:
    good = candles(BTC, 200)
    check = check_rows(good, now_after(good) + minutes_ago * MINUTE)
    assert told(check) == ([(Rule.STALE, bars(200, minutes_ago), minutes_ago)] if alarm else [])


def test_an_end_that_was_asked_for_is_a_gap() -> None:
    check = check_rows(candles(BTC, 200), START + DAY * MINUTE, until=START + 300 * MINUTE)
    assert told(check) == [(Rule.GAP_UNCOVERED, bars(200, 100), 100)]
    assert check.coverage == 2 / 3


def test_nothing_at_all_is_a_gap_if_it_was_asked_for() -> None:
    nothing = CandleRows.empty(BTC)
    assert told(check_rows(nothing, START + DAY * MINUTE, since=START, until=START + MINUTE)) == [
        (Rule.GAP_UNCOVERED, bars(0), 1)
    ]
    assert told(check_rows(nothing, START)) == []


def test_the_ledger_parts_what_nobody_asked_for_from_what_was_answered_with_nothing() -> None:
    checker = SeriesChecker(BTC, START + 100 * MINUTE)
    checker.feed(without(candles(BTC, 60), slice(20, 25)))
    check = checker.done(covered=Spans([bars(0, 60), bars(80, 20)]))
    assert told(check) == [
        (Rule.GAP_UNCOVERED, bars(60, 20), 20),
        (Rule.GAP_MISSING_ROWS, bars(20, 5), 5),
        (Rule.GAP_MISSING_ROWS, bars(80, 20), 20),
    ]
    assert check.coverage == 0.55


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_an_instrument_that_is_often_quiet_is_not_told_of_for_it(share: float) -> None:
    """The same market, nearly dead at night: only what is long for it is told of."""
    count = 20 * DAY
    rng = np.random.default_rng(1)
    asleep = (np.arange(count) % DAY) > 1_000
    still = rng.random(count) < np.where(asleep, 1 - (1 - share) / 4, share)
    still[0] = False
    rows = candles(BTC, count)
    price = rows.close[np.maximum.accumulate(np.where(still, 0, np.arange(count)))]
    dull = CandleRows.of(
        BTC,
        {
            "open_time": rows.open_time,
            **{name: np.where(still, price, getattr(rows, name)) for name in COLUMNS[1:5]},
            **{name: np.where(still, 0, getattr(rows, name)) for name in COLUMNS[5:]},
        },
    )
    usual = check_rows(dull, now_after(dull))
    assert told(usual) == []
    first = int(np.flatnonzero(~still & (np.arange(count) > 5_000))[0]) + 1
    last = int(np.flatnonzero(~still & (np.arange(count) > first + 2_000))[0])
    halted = quiet(dull, slice(first, last))
    assert told(check_rows(halted, now_after(halted))) == [(Rule.QUIET_RUN, bars(first, last - first), last - first)]


def test_prices_may_have_moved_while_nothing_could_be_seen() -> None:
    """Behind a hole of a day a price is elsewhere, and that is no jump."""
    rows = candles(BTC, BARS)
    columns = {name: np.where(np.arange(BARS) >= 3_000, 1.15, 1.0) * getattr(rows, name) for name in COLUMNS[1:5]}
    moved = CandleRows.of(BTC, {**rows.columns(), **columns})
    assert [rule for rule, *_ in told(check_rows(moved, now_after(moved)))] == [Rule.PRICE_JUMP]
    behind_a_hole = without(moved, slice(1_560, 3_000))
    assert [rule for rule, *_ in told(check_rows(behind_a_hole, now_after(moved)))] == [Rule.GAP_UNCOVERED]


@given(st.integers(0, 5), st.lists(st.integers(1, BARS - 1), max_size=6, unique=True).map(sorted), st.data())
@settings(max_examples=25)
def test_pieces_make_no_difference(seed: int, cuts: list[int], data: st.DataObject) -> None:
    """Whatever the pieces in which a series is read, also where a run or a block goes from one into the next."""
    rng = np.random.default_rng(seed)
    rows = rows_of(BTC, BARS, seed)
    for _ in range(6):
        start = int(rng.integers(1, BARS - 100))
        rows = quiet(rows, slice(start, start + int(rng.integers(2, 60))))
    rows = altered(rows, high=put(rng.integers(0, BARS, 3), 1e4), close=put(rng.integers(0, BARS, 3), -1))
    rows = without(repeated(rows, int(rng.integers(0, BARS))), slice(700, 720))
    cuts = sorted({*cuts, *data.draw(st.sets(st.sampled_from([BLOCK, 2 * BLOCK, 705, 710, 3_000]), max_size=3))})
    whole, pieces = SeriesChecker(BTC, now_after(rows)), SeriesChecker(BTC, now_after(rows))
    whole.feed(rows)
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        pieces.feed(rows.take(slice(start, end)))
    assert pieces.done() == whole.done()


@given(st.lists(st.integers(0, 40), max_size=40).map(sorted), st.lists(st.integers(0, 40), max_size=5).map(sorted))
def test_runs_are_the_bars_that_follow_one_another(ordinals: list[int], cuts: list[int]) -> None:
    runs = Runs()
    edges = [0, *(min(cut, len(ordinals)) for cut in cuts), len(ordinals)]
    for start, end in itertools.pairwise(edges):
        piece = np.array(ordinals[start:end], dtype=np.int64)
        runs.add(piece, 1 << piece)
    found = list(runs)
    assert sorted(n for first, last, *_ in found for n in range(first, last + 1)) == sorted(set(ordinals))
    assert sum(count for _, _, count, _ in found) == len(ordinals)
    assert all(later[0] - earlier[1] > 1 for earlier, later in itertools.pairwise(found))
    assert all(bits == sum(1 << n for n in range(first, last + 1)) for first, last, _, bits in found)


def run_of(of: Series, span: Span) -> Finding:
    halted = quiet(candles(of, BARS), slice((span.start - START) // MINUTE, (span.end - START) // MINUTE))
    [found] = check_rows(halted, now_after(halted)).findings
    return found


def together(*halts: tuple[Series, list[Span]]) -> tuple[list[tuple[Span, set[str]]], list[Span]]:
    """Outages with the symbols they silenced, and the quiet runs that they do not explain."""
    found = outages({of: Spans(spans) for of, spans in halts}, {of: bars(0, BARS) for of, _ in halts})
    runs = [run_of(of, span) for of, spans in halts for span in spans]
    left = [run.span for run in unexplained(runs, found)]
    return [(each.span, {of.symbol for of in each.series}) for each in found], left


def test_many_quiet_at_once_are_an_outage_and_no_quiet_runs() -> None:
    halts = [(BTC, [bars(1_000, 90)]), (ETH, [bars(1_010, 80)]), (SOL, [])]
    assert together(*halts) == ([(bars(1_010, 80), {"BTC-USDT", "ETH-USDT"})], [])


def test_one_instrument_alone_has_a_quiet_run() -> None:
    assert together((BTC, [bars(1_000, 90)])) == ([], [bars(1_000, 90)])
    assert together((BTC, [bars(1_000, 90)]), (ETH, [bars(2_000, 90)])) == ([], [bars(1_000, 90), bars(2_000, 90)])


def test_two_of_many_are_no_outage() -> None:
    lively = [(series(f"X{number}-USDT"), []) for number in range(3)]
    assert together((BTC, [bars(1_000, 90)]), (ETH, [bars(1_000, 90)]), *lively)[0] == []


def test_the_timeframes_of_an_instrument_are_one_instrument() -> None:
    assert together((BTC, [bars(1_000, 90)]), (series(interval="5m"), []))[0] == []


def test_other_exchanges_do_not_count() -> None:
    elsewhere = series(exchange="okx-demo")
    assert together((BTC, [bars(1_000, 90)]), (elsewhere, [bars(1_000, 90)]))[0] == []


@pytest.mark.parametrize("ours", [True, False])
def test_timeframes_that_differ_are_found_and_are_our_fault_if_we_made_them(ours: bool) -> None:
    fine = candles(BTC, 600)
    coarse, _ = roll_up(fine, series(interval="5m").timeframe, fine.runs())
    wrong = changed(coarse, slice(20, 22))
    derived = wrong.runs() if ours else Spans()
    check = TimeframeCheck(BTC, coarse.series)
    for half in (slice(0, 300), slice(300, 600)):
        inside = slice(half.start // 5, half.stop // 5)
        check.feed(fine.take(half), fine.take(half).runs(), wrong.take(inside), derived)
    [found] = check.findings()
    assert (found.rule, found.span, found.count) == (Rule.TIMEFRAME_MISMATCH, bars(100, 10), 2)
    assert found.severity == (Severity.ERROR if ours else Severity.WARNING)
    assert "close" in found.message


def test_timeframes_that_agree_are_not_told_of() -> None:
    fine = candles(BTC, 600)
    for interval in ("5m", "1h"):
        coarse, _ = roll_up(fine, series(interval=interval).timeframe, fine.runs())
        check = TimeframeCheck(BTC, coarse.series)
        check.feed(fine, fine.runs(), coarse, coarse.runs())
        assert list(check.findings()) == []


def test_only_bars_whose_minutes_are_all_known_are_compared() -> None:
    fine = candles(BTC, 60)
    coarse = changed(roll_up(fine, series(interval="5m").timeframe, fine.runs())[0], slice(0, 12))
    check = TimeframeCheck(BTC, coarse.series)
    check.feed(fine, Spans([bars(0, 7)]), coarse, Spans())
    assert [found.span for found in check.findings()] == [bars(0, 5)]


def test_stored_candles_may_differ_from_the_exchange_in_the_last_digits_of_a_volume_only() -> None:
    ours = candles(BTC, 50)
    nearly = CandleBatch.of(BTC, {**ours.columns(), "base_volume": ours.base_volume * (1 + 1e-9)})
    assert list(differing(ours, nearly, Rule.EXCHANGE_MISMATCH)) == []
    silent = CandleBatch.of(BTC, {**ours.columns(), "quote_volume": np.full(50, np.nan)})
    assert list(differing(ours, silent, Rule.EXCHANGE_MISMATCH)) == []
    [found] = differing(ours, changed(ours, slice(7, 9)).take(slice(5, 20)), Rule.EXCHANGE_MISMATCH)
    assert (found.span, found.count) == (bars(7, 2), 2)


def test_the_worst_stands_first() -> None:
    rows = quiet(without(altered(rows_of(BTC, BARS), high=put(900, 1e4)), slice(950, 960)), slice(2_000, 2_050))
    severities = [found.severity for found in check_rows(rows, now_after(rows)).findings]
    assert severities == [Severity.ERROR, Severity.WARNING, Severity.INFO]
    assert Counter(severities).total() == 3
