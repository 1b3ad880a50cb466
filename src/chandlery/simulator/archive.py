"""The exchange's files of one-minute candles: which there are, and their links; ``archive_files`` makes them.

A file holds a day or a month as they are in UTC+8, of one spot or swap instrument, or of all dated futures of a family.
It appears a day after its period has ended (T+2). Assumed where the exchange does not document it: a range that is too
long is refused with 50076; a file that is being made again is listed without a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from chandlery.domain.instrument import Kind
from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, TIMEFRAMES, UtcMs
from chandlery.errors import RequestRefused
from chandlery.simulator.bars import BARS, Bar
from chandlery.simulator.endpoints import FILES, bad_parameter, number_in, required
from chandlery.simulator.faults import Fault, FaultKind
from chandlery.simulator.listings import Listing
from chandlery.simulator.market import Market
from chandlery.simulator.wire import Answer, family, success

FIRST_ARCHIVED_MS: UtcMs = 1_688_140_800_000
"""2023-07-01 in UTC+8: the first day of which there are files of candles."""

MOST_PERIODS = 20
MOST_NAMES = 10
_MODULE = "2"
_DELAY_MS = DAY_MS
_PERIODS: dict[str, Bar] = {"daily": BARS["1D"], "monthly": BARS["1M"]}
_KINDS = {kind.value.upper(): kind for kind in Kind}
_CHAIN = "-futureschain"
_PATH = re.compile(
    re.escape(FILES) + r"/(?P<period>daily|monthly)/(?P<day>\d{6}|\d{8})/(?P<stem>[A-Z0-9_.-]+?(-futureschain)?)"
    r"-candlesticks-(?P<date>\d{4}-\d\d(-\d\d)?)\.zip",
    re.ASCII,
)
_MEGABYTES_A_CANDLE = 30e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """One file: its period, the stem of its name, and whose candles it holds."""

    period: str
    span: Span
    stem: str
    listings: tuple[Listing, ...]

    @property
    def name(self) -> str:
        """Its name, as in ``BTC-USDT-candlesticks-2024-01.zip``."""
        return f"{self.stem}-candlesticks-{self._date('-')}.zip"

    @property
    def path(self) -> str:
        """Where it is, from the host's root."""
        return f"{FILES}/{self.period}/{self._date('')}/{self.name}"

    def _date(self, separator: str) -> str:
        day = datetime.fromtimestamp((self.span.start + _PERIODS[self.period].ahead_ms) / 1_000, UTC)
        return day.strftime(separator.join(("%Y", "%m", "%d") if self.period == "daily" else ("%Y", "%m")))


class Archive:
    """The files of a market, from ``starts_at`` on."""

    def __init__(self, market: Market, starts_at: UtcMs = FIRST_ARCHIVED_MS) -> None:
        self._market, self._starts_at = market, starts_at

    def listing_answer(self, parameters: Mapping[str, str], now: UtcMs, origin: str, fault: Fault | None) -> Answer:
        """The links to files; they begin with ``origin``. Raises RequestRefused where the exchange would refuse."""
        if required(parameters, "module") != _MODULE:
            raise bad_parameter("module")
        kind = _KINDS.get(required(parameters, "instType"))
        period = required(parameters, "dateAggrType")
        if kind is None or period not in _PERIODS:
            raise bad_parameter("instType" if kind is None else "dateAggrType")
        spans = _asked_spans(parameters, _PERIODS[period])
        details = []
        for stem, name in self._stems(parameters, kind, period):
            files = [file for span in spans if (file := self._file(period, span, stem, now))]
            if files:
                details.append(_detail(kind, name, files, origin, backfill=_is_backfill(fault)))
        return success([{"dateAggrType": period, "details": details, "totalSizeMB": "", "ts": str(now)}])

    def at(self, path: str, now: UtcMs) -> ArchivedFile | None:
        """The file at ``path``, or None if there is none, or not yet."""
        named = _PATH.fullmatch(path)
        if named is None:
            return None
        try:
            first = datetime.fromisoformat(named["date"] + "-01"[: 10 - len(named["date"])]).replace(tzinfo=UTC)
        except ValueError:
            return None
        bar = _PERIODS[named["period"]]
        start = round(first.timestamp() * 1_000) - bar.ahead_ms
        file = self._file(named["period"], _whole(bar, bar.ordinal(start)), named["stem"], now)
        return file if file and file.path == path else None

    def _stems(self, parameters: Mapping[str, str], kind: Kind, period: str) -> Iterator[tuple[str, str]]:
        """The stem of the files of everything that was asked for, and its name in the listing."""
        parameter = "instIdList" if kind is Kind.SPOT else "instFamilyList"
        asked = required(parameters, parameter).split(",")
        if len(asked) > MOST_NAMES or ("ANY" in asked and period != "daily"):
            raise bad_parameter(parameter)
        names = {}
        for each in self._market.listings.values():
            name = each.symbol if kind is Kind.SPOT else family(each)
            if each.instrument.kind is kind and (name in asked or asked == ["ANY"]):
                names[name + _CHAIN if kind is Kind.FUTURES else each.symbol] = name
        yield from names.items()

    def _file(self, period: str, span: Span, stem: str, now: UtcMs) -> ArchivedFile | None:
        if span.start < self._starts_at or span.end + _DELAY_MS > now:
            return None
        listings = tuple(
            each for each in self._of(stem) if each.history_start < span.end > span.start < each.history_end
        )
        return ArchivedFile(period=period, span=span, stem=stem, listings=listings) if listings else None

    def _of(self, stem: str) -> list[Listing]:
        """The instruments of the files with this stem; files hold one-minute candles only."""
        found = self._market.listings.values()
        if stem.endswith(_CHAIN):
            of = stem.removesuffix(_CHAIN)
            chosen = [each for each in found if each.instrument.kind is Kind.FUTURES and family(each) == of]
        else:
            chosen = [each for each in found if each.symbol == stem and each.instrument.kind is not Kind.FUTURES]
        return [each for each in chosen if self._market.finest(each.symbol) == TIMEFRAMES["1m"]]


def _asked_spans(parameters: Mapping[str, str], bar: Bar) -> list[Span]:
    """The periods from ``begin`` to ``end``, both included, newest first: only their dates in UTC+8 count."""
    first, last = (bar.ordinal(_required_time(parameters, name)) for name in ("begin", "end"))
    if last < first:
        raise bad_parameter("end")
    if last - first >= MOST_PERIODS:
        raise RequestRefused(f"The time range can't exceed {MOST_PERIODS} days or months.", code="50076")
    return [_whole(bar, ordinal) for ordinal in range(last, first - 1, -1)]


def _required_time(parameters: Mapping[str, str], name: str) -> UtcMs:
    required(parameters, name)
    return number_in(parameters, name) or 0


def _whole(bar: Bar, ordinal: int) -> Span:
    return Span(bar.open_at(ordinal), bar.open_at(ordinal + 1))


def _is_backfill(fault: Fault | None) -> bool:
    return fault is not None and fault.kind is FaultKind.BACKFILL


def _detail(kind: Kind, name: str, files: list[ArchivedFile], origin: str, *, backfill: bool) -> dict[str, object]:
    """The links of one instrument or family; under ``backfill`` the newest file has none."""
    links = [
        {
            "filename": file.name,
            "dateTs": str(file.span.start),
            "sizeMB": f"{_megabytes(file):.2f}",
            "url": "" if backfill and file is files[0] else origin + file.path,
        }
        for file in files
    ]
    return {
        "instId": name if kind is Kind.SPOT else "",
        "instFamily": "" if kind is Kind.SPOT else name,
        "instType": kind.value.upper(),
        "dateRangeStart": str(files[-1].span.start),
        "dateRangeEnd": str(files[0].span.start),
        "groupSizeMB": f"{sum(map(_megabytes, files)):.2f}",
        "groupDetails": links,
    }


def _megabytes(file: ArchivedFile) -> float:
    return file.span.length / 60_000 * len(file.listings) * _MEGABYTES_A_CANDLE
