"""What is exported: which series, from which to which bar, on which calendars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES, Timeframe, UtcMs, timeframe
from chandlery.errors import DataValidationError
from chandlery.services.export_files import nothing_to_export
from chandlery.services.export_qlib.layout import Calendar, is_no_name
from chandlery.storage.asked import bounds_of
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.postgres import PostgreSQLStorage

_FIRST_LOOK_BARS = 1_000
_ORDER = list(TIMEFRAMES.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a person asks for; empty means all. ``exchange`` None means ``okx`` where it has the symbol.

    ``since`` and ``until`` are UTC milliseconds, the end excluded; None is no bound.
    """

    symbols: Sequence[str] = ()
    timeframes: Sequence[Timeframe] = ()
    since: UtcMs | None = None
    until: UtcMs | None = None
    exchange: str | None = None

    @classmethod
    def parsed(
        cls,
        symbols: Sequence[str] = (),
        timeframes: Sequence[str] = (),
        since: object = None,
        until: object = None,
        exchange: str | None = None,
    ) -> Self:
        """From names and times as people write them; ``until`` is included, a day as a whole.

        Raises DataValidationError.
        """
        start, end = bounds_of(since, until)
        bars = [timeframe(name) for name in timeframes]
        return cls(symbols=symbols, timeframes=bars, since=start, until=end, exchange=exchange)


@dataclass(frozen=True, slots=True)
class Plan:
    """The series to export, each with the span from its first candle's open to its last one's close."""

    spans: dict[Series, Span]

    @property
    def calendars(self) -> dict[Timeframe, Calendar]:
        """One a timeframe, from its first bar to its last; shortest timeframe first."""
        found: dict[Timeframe, Spans] = {}
        for series, span in self.spans.items():
            found[series.timeframe] = found.get(series.timeframe, Spans()) | Spans([span])
        hulls = {bar: spans.hull for bar, spans in found.items()}
        return {
            bar: Calendar(bar, bar.ordinal(hull.start), bar.ordinal(hull.end) - 1)
            for bar, hull in sorted(hulls.items(), key=lambda pair: _ORDER.index(pair[0]))
            if hull is not None
        }

    @property
    def instruments(self) -> dict[str, Span]:
        """Each symbol with its span in any timeframe: Qlib reads one list for all frequencies."""
        found: dict[str, Spans] = {}
        for series, span in self.spans.items():
            found[series.symbol] = found.get(series.symbol, Spans()) | Spans([span])
        return {symbol: hull for symbol, spans in sorted(found.items()) if (hull := spans.hull) is not None}


def plan(storage: PostgreSQLStorage, selection: Selection) -> Plan:
    """Find what is stored of a selection. Raises DataNotFoundError if that is nothing, DataValidationError for a name.

    Two short reads a series; the candles themselves are read later.
    """
    storage.require_schema()
    spans: dict[Series, Span] = {}
    for entry in _chosen(storage, selection):
        window = entry.spans & Spans([Span(selection.since or 0, selection.until or _FAR_FUTURE_MS)])
        first = _outermost(storage, entry.series, _looks(entry.series, window))
        last = first and _outermost(storage, entry.series, _looks_back(entry.series, window))
        if first and last:
            spans[entry.series] = Span(first.start, last.end)
    if not spans:
        raise nothing_to_export()
    return Plan(spans)


def _chosen(storage: PostgreSQLStorage, selection: Selection) -> list[LedgerEntry]:
    """The ledger's entries that are meant; of a symbol on several exchanges, those of one."""
    entries = storage.ledger.entries()
    wanted = storage.catalog.among(selection.symbols, [entry.series for entry in entries])
    meant = [entry for entry in entries if not wanted or entry.series.symbol in wanted]
    symbols = {entry.series.symbol for entry in meant if selection.exchange in (None, entry.series.exchange)}
    _check_names(symbols)
    exchanges = {symbol: selection.exchange or storage.catalog.exchange_of(symbol) for symbol in symbols}
    chosen = [
        entry
        for entry in meant
        if exchanges.get(entry.series.symbol) == entry.series.exchange
        and (not selection.timeframes or entry.series.timeframe in selection.timeframes)
    ]
    return sorted(chosen, key=lambda entry: (entry.series.symbol, _ORDER.index(entry.series.timeframe)))


def _check_names(symbols: Iterable[str]) -> None:
    nameless = sorted(filter(is_no_name, symbols))
    if nameless:
        raise DataValidationError(
            f"Qlib would read the symbol {nameless[0]} as no name at all, and fail.", hint="Name the others to export."
        )


def _outermost(storage: PostgreSQLStorage, series: Series, looks: Iterator[tuple[Span, bool]]) -> Span | None:
    """The bar of the first candle that turns up in a series of looks, from the side that each says."""
    for span, from_the_end in looks:
        batch = storage.reader.candles(series, span)
        if len(batch):
            opened = int(batch.open_time[-1 if from_the_end else 0])
            return Span(opened, series.timeframe.close_of(opened))
    return None


def _looks(series: Series, window: Spans) -> Iterator[tuple[Span, bool]]:
    """Where to look for the first candle: from the front, further each time that nothing was there."""
    bars = _FIRST_LOOK_BARS
    for span in window:
        start = span.start
        while start < span.end:
            end = min(span.end, series.timeframe.shift(start, bars))
            yield Span(start, end), False
            start, bars = end, bars * 2


def _looks_back(series: Series, window: Spans) -> Iterator[tuple[Span, bool]]:
    """The same from the back."""
    bars = _FIRST_LOOK_BARS
    for span in reversed(list(window)):
        end = span.end
        while end > span.start:
            start = max(span.start, series.timeframe.shift(end, -bars))
            yield Span(start, end), True
            end, bars = start, bars * 2


_FAR_FUTURE_MS = 4_102_444_800_000  # 2100-01-01 UTC
