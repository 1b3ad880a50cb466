"""Text in blocks of whole lines, made plain and cut into cells by whole blocks.

Byte order marks, Windows line ends, quotes and bytes that are no UTF-8 end here. What comes out is a text in which
every line has the same number of cells and no cell has quotes, so that line and row have the same number; lines of
another number of cells stand beside it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chandlery.domain.timeframe import IntArray
from chandlery.errors import DataValidationError
from chandlery.storage.intake.tables import MAX_RAW_LENGTH
from chandlery.storage.sources.archives import Stream

BLOCK_BYTES = 8 << 20
"""About 110,000 candles: one transaction, and some 60 MB of memory on the way."""

_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_NEWLINE = ord("\n")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lines:
    """``count`` lines of equally many cells. ``ends`` is where each cell ends, line by line, shape (count, cells).

    ``malformed`` are the lines that were taken out, as text and reason; ``blank`` counts those with nothing in them.
    """

    text: bytes
    ends: IntArray
    malformed: list[tuple[str, str]]
    blank: int

    def __len__(self) -> int:
        return len(self.ends)

    def line(self, row: int) -> str:
        """The text of one line, shortened."""
        start = int(self.ends[row - 1, -1]) + 1 if row else 0
        return _shown(self.text[start : int(self.ends[row, -1])])

    def widths(self, cell: int) -> IntArray:
        """How many bytes a cell has in each line."""
        before = self.ends[:, cell - 1] if cell else np.concatenate(([-1], self.ends[:-1, -1]))
        return self.ends[:, cell] - before - 1


def text_blocks(stream: Stream, name: str) -> Iterator[bytes]:
    """The text as blocks of whole lines; the last line may lack its newline.

    Raises DataValidationError for a file that has no lines.
    """
    rest, first = b"", True
    while data := _full_read(stream):
        if first:
            data, first = _unmarked(data, name), False
        data = rest + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= BLOCK_BYTES:
            raise DataValidationError(
                f"{name} has no line end in {len(data):,} bytes: it is no CSV file.", hint="Convert it to CSV first."
            )
        rest = data[end:]
        if end:
            yield data[:end]
    if rest:
        yield rest


def _full_read(stream: Stream) -> bytes:
    """A block of the same size each time, however the stream is cut, so that a second reading sees the same blocks."""
    parts, wanted = [], BLOCK_BYTES
    while wanted and (part := stream.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _unmarked(data: bytes, name: str) -> bytes:
    if data.startswith(_WIDE_BOMS):
        raise DataValidationError(f"{name} is written in UTF-16.", hint="Save it as UTF-8.")
    return data.removeprefix(_BOM)


def plain_lines(block: bytes, delimiter: str) -> bytes:
    """The block with Unix line ends, in UTF-8, each line ended, and without quotes around cells."""
    if not block.endswith(b"\n"):
        block += b"\n"
    if not block.isascii():
        block = block.decode("utf-8", "backslashreplace").encode()
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b" ")
    return _unquoted(block, delimiter) if b'"' in block else block


def _unquoted(block: bytes, delimiter: str) -> bytes:
    cell = re.compile(rb'(?m)(^|%b)"([^"%b\n]*)"(?=%b|$)' % ((re.escape(delimiter.encode()),) * 3))
    block = cell.sub(rb"\1\2", block)
    if b'"' not in block:
        return block
    lines = block.split(b"\n")
    return b"\n".join(_without_quotes(line, delimiter) if b'"' in line else line for line in lines)


def _without_quotes(line: bytes, delimiter: str) -> bytes:
    """A line whose quoted cells hold delimiters or quotes; in the cells, a space stands for a delimiter.

    Such cells can be neither numbers nor times. A line whose quotes do not end stays as it is, too many cells or not.
    """
    try:
        cells = next(csv.reader([line.decode()], delimiter=delimiter, strict=True))
    except csv.Error:
        return line
    return delimiter.join(cell.replace(delimiter, " ").replace("\n", " ") for cell in cells).encode()


def cut(text: bytes, delimiter: str, cells: int) -> Lines:
    """Plain text cut into cells: the lines with ``cells`` of them, and the others beside."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero((data == ord(delimiter)) | (data == _NEWLINE))
    if len(ends) % cells == 0:
        shaped = ends.reshape(-1, cells)
        ended = data[ends] == _NEWLINE
        if (
            ended.reshape(-1, cells)[:, -1].all()
            and ended.sum() == len(shaped)
            and not (cells == 1 and _has_blank(text))
        ):
            return Lines(text=text, ends=shaped, malformed=[], blank=0)
    return _sorted_out(text, data, ends, cells, delimiter)


def _has_blank(text: bytes) -> bool:
    return text.startswith(b"\n") or b"\n\n" in text


def _sorted_out(text: bytes, data: npt.NDArray[np.uint8], ends: IntArray, cells: int, delimiter: str) -> Lines:
    stops = np.flatnonzero(data == _NEWLINE)
    starts = np.concatenate(([0], stops[:-1] + 1))
    found = np.diff(np.searchsorted(ends, stops, side="right"), prepend=0)
    blank = stops == starts
    good = (found == cells) & ~blank
    malformed = [
        (_shown(text[starts[row] : stops[row]]), f"{found[row]} columns instead of {cells}")
        for row in np.flatnonzero(~good & ~blank).tolist()
    ]
    kept = data[np.repeat(good, stops + 1 - starts)].tobytes()
    left = np.frombuffer(kept, np.uint8)
    shaped = np.flatnonzero((left == ord(delimiter)) | (left == _NEWLINE)).reshape(-1, cells)
    return Lines(text=kept, ends=shaped, malformed=malformed, blank=int(blank.sum()))


def _shown(line: bytes) -> str:
    return line[: 4 * MAX_RAW_LENGTH].decode("utf-8", "backslashreplace")[:MAX_RAW_LENGTH]
