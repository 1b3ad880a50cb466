"""What a job of a collection asks for, a page or a file: either is answered by candles and what they prove."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.exchange.source import CandleSource, Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """A question about ``span``; ``answer`` asks it, and may raise an ExchangeError."""

    span: Span
    answer: Callable[[], Awaitable[Page]]
    is_file: bool = False


def page_fetches(source: CandleSource, instrument: Instrument, series: Series, missing: Spans) -> list[Fetch]:
    """One fetch a page of ``missing``, newest first."""
    pages = source.pages(series, missing)
    return [Fetch(span=span, answer=partial(source.page, instrument, series, span)) for span in pages]
