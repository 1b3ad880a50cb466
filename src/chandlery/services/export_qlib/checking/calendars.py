"""The folder ``calendars``: Qlib reads the names of its files as frequencies, and their lines as times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from chandlery.domain.timeframe import IntArray
from chandlery.errors import DataValidationError
from chandlery.services.export_qlib.checking.findings import Finding, error, warning
from chandlery.services.export_qlib.layout import CALENDARS, MAX_ROWS, SLOW_ROWS, normal_freq, timeframe_of
from chandlery.services.export_qlib.reading import Times, parse_times

_AWARE = re.compile(rb"(Z|[+-]\d\d:?\d\d)\s*$")


def check_calendars(root: Path, calendars: dict[str, Times]) -> Iterator[Finding]:
    """Judge each file; what can be read is put into ``calendars`` by frequency."""
    for path in sorted((root / CALENDARS).glob("*.txt")):
        where, freq = f"{CALENDARS}/{path.name}", path.stem.removesuffix("_future")
        normal = normal_freq(freq)
        if normal is None:
            yield error(where, "is no frequency: every query of this folder fails with a ValueError. Move it away.")
        elif normal != freq:
            yield error(where, f"Qlib reads this name as {normal} and looks for {normal}.txt, which it finds empty.")
        else:
            yield from _check_times(where, path, freq, calendars)
    if "day" not in calendars and calendars:
        yield warning(CALENDARS, "there is no day.txt: what does not name a frequency asks for day and fails.")


def _check_times(where: str, path: Path, freq: str, calendars: dict[str, Times]) -> Iterator[Finding]:
    text = path.read_bytes()
    if any(_AWARE.search(line) for line in (text[:40].split(b"\n")[0], text.rstrip().rpartition(b"\n")[2])):
        yield error(where, "has times with a zone: some queries fail with 'Cannot compare tz-naive and tz-aware'.")
        return
    try:
        times = parse_times(text)
    except (ValueError, UnicodeDecodeError):
        yield error(where, "has a line that is no time, such as a header: every query of this frequency fails.")
        return
    if not len(times):
        yield error(where, "is empty: every query of this frequency fails.")
        return
    if not path.stem.endswith("_future"):
        calendars[freq] = times
    yield from _check_order(where, freq, times)
    if len(times) > MAX_ROWS:
        yield error(where, f"has {len(times):,} rows: float32 cannot number them, so late values stand at other times.")
    elif len(times) > SLOW_ROWS and freq.endswith("min"):
        yield warning(where, f"has {len(times):,} rows: every process needs about 4 s a million to read them.")


def _check_order(where: str, freq: str, times: Times) -> Iterator[Finding]:
    """Ascending, on the grid of the frequency, and without holes."""
    opens: IntArray = times.astype("M8[ms]").astype(np.int64)
    if np.any(np.diff(opens) <= 0):
        yield error(where, "does not ascend strictly: queries find the wrong rows.")
        return
    try:
        timeframe = timeframe_of(freq)
    except DataValidationError:
        return  # a frequency that we have no grid for
    if np.any(timeframe.floor(opens) != opens):
        yield warning(where, f"has times that are no open of a bar of {timeframe} in UTC.")
        return
    holes = timeframe.ordinal(int(opens[-1])) - timeframe.ordinal(int(opens[0])) + 1 - len(opens)
    if holes:
        yield warning(where, f"leaves out {holes:,} bars: Ref and Mean step over them as if no time had passed.")
