"""The files of candles that OKX offers: listed, downloaded and read. A file is no more trusted than a page is.

The links come from the listing, so a listing could send us anywhere: only hosts of the exchange's domain are asked, by
https, or the very address that was configured if that is this machine. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from chandlery.domain.instrument import Instrument, Kind, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs
from chandlery.errors import RequestRefused
from chandlery.exchange.okx import candle_files, codes, wire
from chandlery.exchange.okx.periods import FIRST_FILE_MS, date_of, periods_of
from chandlery.exchange.okx.session import OkxSession
from chandlery.exchange.okx.settings import Endpoint, OkxSettings
from chandlery.exchange.okx.unzip import LARGEST_ZIP
from chandlery.exchange.source import CandleFile, FilePage, FilePeriod, FileSource

PERIODS_A_LISTING = 10
"""OKX documents 20 and was seen to refuse more than 10."""
FILES_IN_HAND = 2
"""So many files are held in memory and read at once, however many series are under way."""

_DOMAIN = "okx.com"
_MODULE = 2
_GRAINS = {FilePeriod.MONTH: "monthly", FilePeriod.DAY: "daily"}


class OkxFiles(FileSource):
    """The files of one-minute candles. ``session`` is entered by its owner."""

    first: UtcMs = FIRST_FILE_MS

    def __init__(self, settings: OkxSettings, session: OkxSession) -> None:
        self._settings, self._session = settings, session
        self._hands = asyncio.Semaphore(FILES_IN_HAND)

    def periods(self, period: FilePeriod, missing: Spans, now: UtcMs) -> list[Span]:
        """The days or months in UTC+8 that touch ``missing`` and are over long enough, newest first.

        None for demo trading: the files hold real candles, and its own differ.
        """
        return [] if self._settings.demo else periods_of(period, missing, now)

    async def listed(self, instrument: Instrument, period: FilePeriod, spans: Sequence[Span]) -> list[CandleFile]:
        """The files of ``spans``, which are newest first, that exist now; a request for ten periods or fewer."""
        links: dict[str, str] = {}
        for batch in _batches(spans):
            links |= await self._session.get(
                Endpoint.FILE_LISTING, _question(instrument, period, batch), wire.file_links
            )
        names = [(span, _name(instrument, date_of(period, span))) for span in spans]
        return [CandleFile(name=name, url=links[name], span=span) for span, name in names if name in links]

    async def page(self, instrument: Instrument, series: Series, file: CandleFile, wanted: Spans) -> FilePage:
        """The candles of a file that open in ``wanted``.

        Raises RequestRefused for a file that is absent or lies elsewhere, BadPage for one that is damaged.
        """
        if not _is_trusted(file.url, self._settings):
            raise RequestRefused(
                f"The link to {codes.quoted(file.name)} leads to {codes.quoted(file.url)}, which is not the exchange.",
                hint="It was not followed.",
            )
        async with self._hands:
            body = await self._session.download(Endpoint.FILES, file.url, LARGEST_ZIP)
            return await asyncio.to_thread(candle_files.read, body, file, series, instrument.kind, wanted)


def _batches(spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """Spans that one listing can hold: it is asked for everything from the oldest to the newest of them."""
    batch: list[Span] = []
    for span in spans:
        if batch and batch[0].end - span.start > PERIODS_A_LISTING * min(batch[0].length, span.length):
            yield batch
            batch = []
        batch.append(span)
    if batch:
        yield batch


def _question(instrument: Instrument, period: FilePeriod, newest_first: Sequence[Span]) -> dict[str, str | int]:
    """Begin and end count by their dates in UTC+8, both included; both are given at midnight."""
    spot = instrument.kind is Kind.SPOT
    return {
        "module": _MODULE,
        "instType": wire.TYPE_NAMES[instrument.kind],
        "instIdList" if spot else "instFamilyList": instrument.symbol if spot else _family(instrument),
        "dateAggrType": _GRAINS[period],
        "begin": newest_first[-1].start,
        "end": newest_first[0].start,
    }


def _family(instrument: Instrument) -> str:
    """``BTC-USDT`` of ``BTC-USDT-SWAP`` and of ``BTC-USDT-240329``."""
    return instrument.symbol.rpartition("-")[0]


def _name(instrument: Instrument, date: str) -> str:
    """One file an instrument; dated futures share one a family."""
    stem = f"{_family(instrument)}-futureschain" if instrument.kind is Kind.FUTURES else instrument.symbol
    return f"{stem}-candlesticks-{date}.zip"


def _is_trusted(url: str, settings: OkxSettings) -> bool:
    try:
        link, base = urlsplit(url), urlsplit(settings.base_url)
        if settings.is_simulated:
            return (link.scheme, link.netloc) == (base.scheme, base.netloc)
        host = link.hostname or ""
        ours = host == _DOMAIN or host.endswith(f".{_DOMAIN}")
        return link.scheme == "https" and ours and link.port in (None, 443) and link.username is None
    except ValueError:
        return False
