"""The folder that Qlib reads: its names, its calendars and its numbers; no file is touched here.

calendars/<freq>.txt                          a bar's open time a line, naive UTC, without holes
instruments/all.txt                           SYMBOL, first time, last time, separated by tabs
features/<symbol>/<field>.<freq>.bin          float32: the row of the first value in the calendar, then the values
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, SECOND_MS, TIMEFRAMES, IntArray, Timeframe, UtcMs
from chandlery.errors import DataValidationError

CALENDARS, INSTRUMENTS, FEATURES = "calendars", "instruments", "features"
MARKET = "all"
MANIFEST = "chandlery.json"
"""Stands beside the three folders: in ``calendars`` any foreign file makes every query fail."""

FLOAT = np.dtype("<f4")
MAX_ROWS = 1 << 24
"""The first value's row is kept as float32, which counts no further."""

SLOW_ROWS = 2 * 366 * 1440
"""Two years of minutes: Qlib reads a calendar as text, about 4 s a million rows, in every process."""

_UNITS = {"m": ("min", 1), "h": ("min", 60)}
_FREQ_OF = {"1d": "day", "1w": "1week", "1M": "1month"} | {
    name: f"{int(name[:-1]) * _UNITS[name[-1]][1]}{_UNITS[name[-1]][0]}" for name in TIMEFRAMES if name[-1] in _UNITS
}
_FREQ = re.compile(r"(?P<count>[0-9]*)(?P<unit>month|mon|week|w|day|d|minute|min)", re.ASCII)
_UNIT_OF = {"mon": "month", "w": "week", "d": "day", "minute": "min"}
_TIMEFRAME_OF = {freq: TIMEFRAMES[name] for name, freq in _FREQ_OF.items()}

# what pandas, with which Qlib reads the list of instruments, takes for no value
_NO_NAMES = {"", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "NULL", "null", "NaN", "nan", "-NaN", "-nan"}
_NO_NAMES |= {"None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
_DEVICE_PREFIX = "_qlib_"


def freq_of(timeframe: Timeframe) -> str:
    """Qlib's name of a timeframe, in the one spelling under which it finds both a calendar and values."""
    return _FREQ_OF[timeframe.name]


def normal_freq(freq: str) -> str | None:
    """The spelling that Qlib gives a frequency, such as ``day`` for ``1d``; None for what it does not know."""
    match = _FREQ.fullmatch(freq.lower())
    if match is None:
        return None
    count, unit = int(match["count"] or 1), _UNIT_OF.get(match["unit"], match["unit"])
    return unit if (count, unit) == (1, "day") else f"{count}{unit}"


def timeframe_of(freq: str) -> Timeframe:
    """The timeframe that a frequency means, in any of Qlib's spellings. Raises DataValidationError."""
    found = _TIMEFRAME_OF.get(normal_freq(freq) or "")
    if found is None:
        names = ", ".join(f"{mine} for {name}" for name, mine in _FREQ_OF.items())
        raise DataValidationError(f"{freq!r} is none of the frequencies that Qlib reads here.", hint=f"Use {names}.")
    return found


def folder_of(symbol: str) -> str:
    """The name of a symbol's folder: lower case, and as Qlib spells it where Windows keeps the name for a device."""
    lower = symbol.lower()
    return _DEVICE_PREFIX + lower if lower in _DEVICES else lower


def symbol_of(folder: str) -> str:
    """The symbol of a folder."""
    return folder.lower().removeprefix(_DEVICE_PREFIX).upper()


def is_no_name(symbol: str) -> bool:
    """Whether Qlib would read this symbol from a list of instruments as no name at all."""
    return symbol in _NO_NAMES


def bin_name(field: str, timeframe: Timeframe) -> str:
    """The file of one field."""
    return f"{field}.{freq_of(timeframe)}.bin"


def whole_days(span: Span) -> tuple[UtcMs, UtcMs]:
    """The first and the last second of the days that hold a span: no bar of any frequency lies outside."""
    last = (span.end - 1) // DAY_MS * DAY_MS + DAY_MS - SECOND_MS
    return span.start // DAY_MS * DAY_MS, last


def spelled(times: npt.ArrayLike, unit: Literal["D", "s"] = "s") -> list[str]:
    """Times in milliseconds as Qlib writes them: naive, UTC, to the day or to the second."""
    instants = np.asarray(times, dtype=np.int64).astype("M8[ms]")
    return [text.replace("T", " ") for text in np.datetime_as_string(instants, unit=unit).tolist()]


@dataclass(frozen=True, slots=True)
class Calendar:
    """All bars of a timeframe from the first to the last of any symbol; holes in one are rows of NaN.

    ``first`` and ``last`` are the numbers of its bars (``Timeframe.ordinal``).
    """

    timeframe: Timeframe
    first: int
    last: int

    def __post_init__(self) -> None:
        if len(self) > MAX_ROWS:
            raise DataValidationError(
                f"a calendar of {len(self):,} bars of {self.timeframe} is longer than Qlib's files can count.",
                hint="Export a part: --since 2020-01-01.",
            )

    def __len__(self) -> int:
        return self.last - self.first + 1

    def row(self, open_time: UtcMs) -> int:
        """The row of the bar that opens then."""
        return self.timeframe.ordinal(open_time) - self.first

    def rows(self, open_times: IntArray) -> IntArray:
        """The rows of many bars."""
        return self.timeframe.ordinal(open_times) - self.first

    def open_times(self, start: int = 0, stop: int | None = None) -> IntArray:
        """The open times of the rows from ``start`` to before ``stop``, or of all."""
        end = len(self) if stop is None else min(stop, len(self))
        return self.timeframe.open_at(np.arange(start, end, dtype=np.int64) + self.first)

    def lines(self, start: int, stop: int) -> str:
        """The lines of its file for these rows."""
        intraday = self.timeframe.step_ms is not None and self.timeframe.step_ms < DAY_MS
        return "\n".join((*spelled(self.open_times(start, stop), "s" if intraday else "D"), ""))
