"""A small reader of Qlib's folder that does what Qlib's own does, and shares nothing with the code that writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.datetime64]
Values = npt.NDArray[np.float32]


def parse_times(text: bytes) -> Times:
    """One naive time a line, to the second. Raises ValueError for a line that is none."""
    width = text.find(b"\n") + 1
    if width and len(text) % width == 0 and text[width - 1 :: width].strip(b"\n") == b"":
        lines = np.frombuffer(text, dtype=f"S{width}").astype(f"S{width - 1}")
        return lines.astype("M8[s]")
    return np.array([line.strip() for line in text.decode().splitlines() if line.strip()], dtype="M8[s]")


class QlibFolder:
    """Reads one folder as Qlib 0.9.7 does: the frequency as it is spelled, folders in lower case."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._calendars: dict[str, Times] = {}

    def calendar(self, freq: str) -> Times:
        """The times of all rows; read once."""
        if freq not in self._calendars:
            self._calendars[freq] = parse_times((self.root / "calendars" / f"{freq}.txt").read_bytes())
        return self._calendars[freq]

    def instruments(self, market: str = "all") -> dict[str, list[tuple[np.datetime64, np.datetime64]]]:
        """Each symbol with its spans, both ends included."""
        found: dict[str, list[tuple[np.datetime64, np.datetime64]]] = {}
        for line in (self.root / "instruments" / f"{market}.txt").read_text().splitlines():
            symbol, start, end = line.split("\t")
            found.setdefault(symbol, []).append((np.datetime64(start, "s"), np.datetime64(end, "s")))
        return found

    def path(self, symbol: str, field: str, freq: str) -> Path:
        """The file of one field."""
        return self.root / "features" / symbol.lower() / f"{field.lower()}.{freq.lower()}.bin"

    def start(self, symbol: str, field: str, freq: str) -> int:
        """The row of the first value."""
        return int(np.fromfile(self.path(symbol, field, freq), dtype="<f4", count=1)[0])

    def length(self, symbol: str, field: str, freq: str) -> int:
        """The number of values."""
        return self.path(symbol, field, freq).stat().st_size // 4 - 1

    def feature(self, symbol: str, field: str, freq: str, first: int = 0, end: int | None = None) -> Values:
        """The values of the calendar's rows from ``first`` to before ``end``; NaN where the file has none."""
        end = len(self.calendar(freq)) if end is None else end
        start = self.start(symbol, field, freq)
        skipped = max(first, start)
        count = max(0, end - skipped)
        path = self.path(symbol, field, freq)
        values = np.fromfile(path, dtype="<f4", count=count, offset=4 * (skipped - start) + 4)
        rows = np.full(end - first, np.nan, dtype=np.float32)
        rows[skipped - first : skipped - first + len(values)] = values
        return rows
