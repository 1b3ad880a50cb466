"""What a person asks to import: which files, and what they say about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from chandlery.domain.instrument import canonical_symbol
from chandlery.domain.timeframe import Timeframe, timeframe
from chandlery.errors import DataValidationError
from chandlery.storage.catalog import DEFAULT_EXCHANGE
from chandlery.storage.sources.archives import KINDS, Source, sources_in
from chandlery.storage.sources.layouts import Layout, parse_columns
from chandlery.storage.sources.moments import NAMES, UTC, Unit
from chandlery.storage.sources.names import named_timeframe, symbol_in, timeframe_in

_EXCHANGE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""As in the names of folders of CSV files."""

_OF_THIS_EXCHANGE = re.compile(r"okx-[a-z0-9]+")
"""The folders in which our own files of its demo and of simulated markets lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was said about the files, and goes before what they say themselves. None is left to them.

    ``columns`` maps things of a candle to names or places, ``unit`` is that of the times, and ``zone`` where ISO text
    without one was written.
    """

    symbol: str | None = None
    timeframe: Timeframe | None = None
    exchange: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    unit: Unit | None = None
    zone: ZoneInfo = UTC

    @classmethod
    def of(
        cls,
        *,
        symbol: str | None = None,
        timeframe_name: str | None = None,
        exchange: str | None = None,
        columns: str | None = None,
        unit: str = "auto",
        zone: str = "UTC",
    ) -> Told:
        """From the words of a command line. Raises DataValidationError."""
        return cls(
            symbol=None if symbol is None else canonical_symbol(symbol),
            timeframe=None if timeframe_name is None else named_timeframe(timeframe_name) or timeframe(timeframe_name),
            exchange=None if exchange is None else _exchange(exchange),
            columns=parse_columns(columns) if columns else {},
            unit=_unit(unit),
            zone=_zone(zone),
        )

    def exchange_of(self, source: Source) -> str:
        """As given, or by the folder in which our own files of other environments lie, or the exchange itself."""
        if self.exchange is not None:
            return self.exchange
        return source.folder if _OF_THIS_EXCHANGE.fullmatch(source.folder) else DEFAULT_EXCHANGE

    def symbol_of(self, source: Source) -> str | None:
        """As given, or as the file's name tells."""
        return self.symbol or symbol_in(source.stem)

    def timeframe_of(self, source: Source, layout: Layout) -> Timeframe | None:
        """As given, or as the file's name tells, or as the layout implies."""
        implied = named_timeframe(layout.timeframe) if layout.timeframe else None
        return self.timeframe or timeframe_in(source.stem) or implied

    def require_series(self, source: Source, layout: Layout) -> None:
        """Raises DataValidationError if neither columns nor words nor names tell the series of a source."""
        tell = {"symbol": self.symbol_of(source), "timeframe": self.timeframe_of(source, layout)}
        missing = [thing for thing, value in tell.items() if value is None and thing not in layout.places]
        if missing:
            raise DataValidationError(
                f"neither the name nor a column of {source.name} tells the {' and the '.join(missing)}.",
                hint="Give it, as in --symbol BTC-USDT --timeframe 1m, or name the file as in BTC-USDT_1m.csv.",
            )


def _exchange(name: str) -> str:
    if not _EXCHANGE.fullmatch(name):
        raise DataValidationError(f"{name!r} is no name of an exchange.", hint="Write it as in okx or binance-us.")
    return name


def _unit(name: str) -> Unit | None:
    if name != "auto" and name not in NAMES:
        raise DataValidationError(f"{name!r} is no unit of times.", hint=f"Use auto or one of {', '.join(NAMES)}.")
    return next((unit for unit in NAMES if unit == name), None)


def _zone(name: str) -> ZoneInfo:
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise DataValidationError(
            f"{name!r} is no time zone.", hint="Use UTC or a name as in Asia/Hong_Kong."
        ) from error


def find_sources(paths: Iterable[str]) -> list[Source]:
    """The texts in files, in folders with all below them, and in what patterns match, each once, sorted by path.

    Raises DataValidationError for a path that is not there, or a folder without such files.
    """
    found = {file: None for path in paths for file in _files(path)}
    return [source for file in found for source in _sources(file)]


def _sources(file: Path) -> list[Source]:
    try:
        return sources_in(file)
    except OSError as error:
        raise DataValidationError(
            f"{file} cannot be read: {error.strerror or error}.", hint="Look at the path and its permissions."
        ) from error


def _files(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_ours(file, path))
    elif path.exists():
        files = [path]
    else:
        anchor = Path(path.anchor)
        pattern = str(path.relative_to(anchor)) if path.anchor else text
        files = sorted(file for file in anchor.glob(pattern) if file.is_file()) if set("*?[") & set(text) else []
    if not files:
        kinds = ", ".join(KINDS)
        raise DataValidationError(f"there is nothing to import at {text}.", hint=f"A folder is searched for {kinds}.")
    return files


def _is_ours(file: Path, folder: Path) -> bool:
    """Files of the kinds that hold candles; hidden ones are somebody's work in progress."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.name.lower().endswith(KINDS) and file.is_file() and not hidden
