"""What the rest of chandlery needs from an exchange, whichever it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from chandlery.domain.candle import CandleRows, RawText
from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """The answer to one request for candles.

    ``asked`` is the span requested; ``rows`` are its confirmed candles, as the exchange sent them; ``answered`` is the
    part of ``asked`` for which this answer is proof (a span without a row in ``answered`` has no candle); it never
    reaches a candle that is still open; ``raw(i)`` is the exchange's own text of row i.
    """

    asked: Span
    rows: CandleRows
    answered: Spans
    raw: RawText


class FilePeriod(StrEnum):
    """How much time a file of candles holds."""

    MONTH = "month"
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleFile:
    """A file of candles that an exchange offers; ``span`` is the time it should hold, whole."""

    name: str
    url: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilePage(Page):
    """What a file says of the candles that were wanted of it: ``answered`` are the bars that it has, and no others.

    ``rows_in_file`` counts all its rows, ``doubtful`` those that it leaves unfinished; these are not in ``rows``.
    """

    rows_in_file: int
    doubtful: int


class FileSource(Protocol):
    """The files of candles that an exchange offers beside its pages. Every coroutine may raise an ExchangeError."""

    first: UtcMs
    """Nothing older is in any file."""

    def periods(self, period: FilePeriod, missing: Spans, now: UtcMs) -> list[Span]:
        """The periods of which there may be a file at ``now`` that has some of ``missing``, newest first."""
        ...

    async def listed(self, instrument: Instrument, period: FilePeriod, spans: Sequence[Span]) -> list[CandleFile]:
        """Those of the files of these spans that exist, in their order."""
        ...

    async def page(self, instrument: Instrument, series: Series, file: CandleFile, wanted: Spans) -> FilePage:
        """The candles of a file that open in ``wanted``; paced, and checked whole."""
        ...


class CandleSource(Protocol):
    """An exchange that serves candles. Every method may raise an ExchangeError."""

    exchange: str
    """The name under which its candles are stored, such as ``okx``, ``okx-demo`` or ``okx-simulated``."""

    files: FileSource
    """Its files of one-minute candles."""

    async def now(self, *, fresh: bool = False) -> UtcMs:
        """The exchange's clock, UTC milliseconds; a ``fresh`` reading takes a request."""
        ...

    async def instruments(self) -> Sequence[Instrument]:
        """Everything that can be collected now; delisted instruments are absent."""
        ...

    async def history_start(self, series: Series, guesses: Sequence[Span] = ()) -> UtcMs | None:
        """The open time of the first candle that the exchange has, found by probing; None if it has none.

        It is cheaper if that opens in one of ``guesses``, and right in any case.
        """
        ...

    async def reaches_back_to(self, series: Series, time: UtcMs) -> bool:
        """Whether a series has a candle that opens at ``time`` or before: much cheaper than ``history_start``."""
        ...

    def pages(self, series: Series, missing: Spans) -> Iterable[Span]:
        """``missing`` cut into spans that one request each can answer, newest first."""
        ...

    async def page(self, instrument: Instrument, series: Series, asked: Span) -> Page:
        """The candles of one span from ``pages``; paced, retried, and checked against the request."""
        ...
