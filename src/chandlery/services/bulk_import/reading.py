"""One source, read in blocks: first looked through, then judged, as often as needed, always the same way.

Looking through finds out how the times are written, and whether blocks overlap in time, which makes it necessary to
weigh all rows before the first is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chandlery.domain.candle import CandleRows, RawText, Rejected
from chandlery.domain.instrument import Series, canonical_symbol
from chandlery.domain.rules import Verdict, judge
from chandlery.domain.timeframe import HOUR_MS, IntArray, UtcMs, timeframe
from chandlery.errors import DataValidationError
from chandlery.services.bulk_import.given import Told
from chandlery.storage.intake.records import Refused
from chandlery.storage.intake.tables import Table, frame_rows
from chandlery.storage.sources.archives import Source
from chandlery.storage.sources.cells import read_cells, texts
from chandlery.storage.sources.layouts import Layout, delimiter_of, layout_of
from chandlery.storage.sources.lines import Lines, cut, plain_lines, text_blocks
from chandlery.storage.sources.moments import UTC, Census, Clock
from chandlery.storage.sources.names import named_timeframe

_KEY_END = "\x1f"
_LONGEST_HEADER = 16_384
_EIGHT_HOURS = 8 * HOUR_MS


class Judged(NamedTuple):
    """Rows of one series in one block, as the rules see them."""

    verdict: Verdict
    rows: CandleRows
    raw: RawText
    rounded: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Portion:
    """One block: how many rows it has, what became of those of each series, and the lines that belong to none."""

    rows: int
    judged: dict[Series, Judged]
    refused: list[Refused]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What looking through told: the layout, how times are written, and whether blocks overlap in time.

    ``without_zone`` counts the times in ISO text that name no zone; ``rows`` the lines that could be cut into cells.
    """

    layout: Layout
    clock: Clock
    rows: int
    without_zone: int
    overlapping: bool


@dataclass(slots=True)
class _Ranges:
    """The spans of time that blocks fill, series by series."""

    overlapping: bool = False
    _known: dict[Series | str, list[tuple[int, int]]] = field(default_factory=dict)

    def add(self, series: Series | str, times: IntArray | None) -> None:
        if times is None:
            self.overlapping = True
        elif len(times):
            low, high = int(times.min()), int(times.max())
            known = self._known.setdefault(series, [])
            self.overlapping |= any(low <= end and start <= high for start, end in known)
            known.append((low, high))


def look_through(source: Source, told: Told) -> Survey:
    """Read the times of a source, and nothing else. Raises DataValidationError for one that cannot be understood."""
    census, ranges, layout, rows = Census(), _Ranges(), None, 0
    for layout, lines in _cut_blocks(source, told):
        rows += len(lines)
        time = layout.places["open_time"]
        [text] = texts(lines, layout.delimiter, [time])
        times = census.count(text)
        for key, some in _by_key(lines, layout):
            ranges.add(_series_of(source, told, layout, key), None if times is None else times[some])
    if layout is None:
        raise DataValidationError(f"{source.name} is empty.")
    told.require_series(source, layout)
    if told.zone is not UTC and 0 < census.without_zone < census.units["iso"]:
        ranges.overlapping = True  # local times and instants do not compare before they are read
    unit = told.unit or (census.verdict(layout.titles["open_time"]) if rows else "iso")
    return Survey(
        layout=layout,
        clock=Clock(unit=unit, zone=told.zone),
        rows=rows,
        without_zone=census.without_zone,
        overlapping=ranges.overlapping,
    )


def portions(source: Source, told: Told, survey: Survey, now: UtcMs) -> Iterator[Portion]:
    """Every row of a source, judged; a block at a time."""
    for layout, lines in _cut_blocks(source, told):
        yield _Block(source, told, replace(survey, layout=layout), lines, now).portion()


def _cut_blocks(source: Source, told: Told) -> Iterator[tuple[Layout, Lines]]:
    """The layout, and a block of lines at a time, without the header."""
    layout: Layout | None = None
    with source.open() as stream:
        for block in text_blocks(stream, source.name):
            header = b""
            if layout is None:
                layout = _layout(block, source, told)
                header = block[: block.find(b"\n") + 1] if layout.has_header else b""
            text = plain_lines(block[len(header) :], layout.delimiter)
            torn = layout.torn and not block.endswith(b"\n")
            yield layout, _untorn(text, layout) if torn else cut(text, layout.delimiter, layout.cells)


def _layout(block: bytes, source: Source, told: Told) -> Layout:
    line = block[:_LONGEST_HEADER].split(b"\n", 1)[0]
    delimiter = delimiter_of(line.decode("utf-8", "backslashreplace"))
    return layout_of(plain_lines(line + b"\n", delimiter).decode().rstrip(), told.columns, source.name)


def _untorn(text: bytes, layout: Layout) -> Lines:
    """Our own lines end with a newline: one that does not was being written, and its last number may lack digits."""
    end = text.rfind(b"\n", 0, -1) + 1
    lines = cut(text[:end], layout.delimiter, layout.cells)
    torn = text[end:].decode("utf-8", "backslashreplace").rstrip("\n")
    return replace(lines, malformed=[*lines.malformed, (torn, "torn line: its end is missing")])


def _key_things(layout: Layout) -> list[str]:
    return [thing for thing in ("symbol", "timeframe") if thing in layout.places]


def _by_key(lines: Lines, layout: Layout) -> list[tuple[str, IntArray | slice]]:
    """The rows of each symbol and timeframe that columns name; all of them, where none does."""
    places = [layout.places[thing] for thing in _key_things(layout)]
    if not len(lines):
        return []
    if not places:
        return [("", slice(None))]
    columns = [pc.fill_null(column, "") for column in texts(lines, layout.delimiter, places)]
    joined = pc.binary_join_element_wise(*columns, _KEY_END) if len(columns) > 1 else columns[0]
    encoded: pa.DictionaryArray = joined.dictionary_encode()
    keys = encoded.dictionary.to_pylist()
    if len(keys) == 1:
        return [(keys[0], slice(None))]
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(keys) + 1))
    return [(key, order[edges[number] : edges[number + 1]]) for number, key in enumerate(keys)]


def _series_of(source: Source, told: Told, layout: Layout, key: str) -> Series | str:
    """The series of the rows with this key, or why they belong to none."""
    named = dict(zip(_key_things(layout), key.split(_KEY_END), strict=False))
    try:
        symbol = canonical_symbol(named["symbol"]) if "symbol" in named else told.symbol_of(source)
        bar = told.timeframe_of(source, layout)
        if "timeframe" in named:
            bar = named_timeframe(named["timeframe"]) or timeframe(named["timeframe"])
    except DataValidationError as error:
        return str(error)
    if symbol is None or bar is None:
        return "nothing tells the symbol and the timeframe"
    for found, given, what in ((symbol, told.symbol, "symbol"), (bar, told.timeframe, "timeframe")):
        if given not in (None, found):
            return f"the {what} is {found}, not {given} as was given"
    return Series(told.exchange_of(source), symbol, bar)


class _Block:
    """One block on its way from lines to verdicts."""

    def __init__(self, source: Source, told: Told, survey: Survey, lines: Lines, now: UtcMs) -> None:
        self._source = source
        self._told = told
        self._layout = survey.layout
        self._clock = survey.clock
        self._lines = lines
        self._now = now
        self._tables: dict[tuple[tuple[str, int], ...], Table] = {}

    def portion(self) -> Portion:
        """All rows of the block."""
        rows_of: dict[Series, list[IntArray]] = {}
        refused: list[Refused] = []
        for key, some in _by_key(self._lines, self._layout):
            rows, series = np.arange(len(self._lines))[some], _series_of(self._source, self._told, self._layout, key)
            if isinstance(series, Series):
                rows_of.setdefault(series, []).append(rows)
            else:
                refused += [Refused(self._lines.line(row), series) for row in rows.tolist()]
        # two spellings of one series are one
        judged = {series: self._judged(series, np.sort(np.concatenate(rows))) for series, rows in rows_of.items()}
        self._set_aside_malformed(judged, refused)
        return Portion(rows=len(self._lines) + len(self._lines.malformed), judged=judged, refused=refused)

    def _judged(self, series: Series, rows: IntArray) -> Judged:
        places = self._layout.of_symbol(series.symbol)
        table = self._table({thing: place for thing, place in places.items() if thing not in ("symbol", "timeframe")})
        whole = len(rows) == len(table)
        given = frame_rows(table if whole else table.take(rows), series, lambda row: self._lines.line(int(rows[row])))
        verdict = judge(given.rows, now=self._now, raw=given.raw)
        rejected = _explained(given.rejected + verdict.rejected)
        return Judged(replace(verdict, rejected=rejected), given.rows, given.raw, given.rounded)

    def _table(self, places: dict[str, int]) -> Table:
        """The whole block, read once for each kind of instrument in it."""
        key = tuple(sorted(places.items()))
        if key not in self._tables:
            self._tables[key] = read_cells(self._lines, self._layout.delimiter, places, self._clock)
        return self._tables[key]

    def _set_aside_malformed(self, judged: dict[Series, Judged], refused: list[Refused]) -> None:
        malformed = self._lines.malformed
        if not malformed:
            return
        series = "" if _key_things(self._layout) else _series_of(self._source, self._told, self._layout, "")
        if not isinstance(series, Series):
            refused += [Refused(text, reason) for text, reason in malformed]
            return
        before = judged.get(series) or self._judged(series, np.arange(0))
        lines = Rejected(
            series=series,
            open_time=[None] * len(malformed),
            reason=[reason for _, reason in malformed],
            raw=[text for text, _ in malformed],
        )
        judged[series] = before._replace(verdict=replace(before.verdict, rejected=before.verdict.rejected + lines))


def _explained(rejected: Rejected) -> Rejected:
    """Bars of days that begin in Hong Kong are the commonest misaligned ones: say so where it fits."""
    bar = rejected.series.timeframe
    reasons = [
        f"{reason}: it is one at UTC+8"
        if time is not None and "is not the open of" in reason and bar.floor(time + _EIGHT_HOURS) == time + _EIGHT_HOURS
        else reason
        for time, reason in zip(rejected.open_time, rejected.reason, strict=True)
    ]
    return replace(rejected, reason=reasons)
