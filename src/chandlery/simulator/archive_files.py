"""What is in a file of candles, and what a fault makes of it: a zip with one CSV, oldest candle first."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from chandlery.simulator.archive import ArchivedFile
from chandlery.simulator.bars import BARS
from chandlery.simulator.faults import Fault, FaultKind
from chandlery.simulator.market import Market, chart
from chandlery.simulator.wire import candle_rows, decimal_text

HEADER = "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"
CsvRow = list[str]

_HIGH, _LOW, _CLOSE, _VOLUME, _CONFIRM = 2, 3, 4, 5, 9
_WRONG_HEADER = HEADER.replace("open_time", "candle_time")
_MANY_MEMBERS = 5_000
_BOMB_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAnswer:
    """A file on its way out; ``rows`` is how many candles it holds."""

    body: bytes
    rows: int
    status: int = 200
    code: str = "0"
    content_type: str = "application/zip"
    headers: dict[str, str] = field(default_factory=dict)


def missing_file() -> FileAnswer:
    """What the host of the files says of one that it has not."""
    return FileAnswer(
        body=b"<Error><Code>NoSuchKey</Code></Error>", rows=0, status=404, code="404", content_type="application/xml"
    )


def file_answer(market: Market, file: ArchivedFile, fault: Fault | None) -> FileAnswer:
    """The file, as the fault leaves it."""
    kind = fault.kind if fault else None
    if kind is FaultKind.FILE_MISSING:
        return missing_file()
    rows = [row for each in file.listings for row in _rows(market, each.symbol, file)]
    if fault and fault.kind in _SPOILT_ROWS and rows:
        rows = _SPOILT_ROWS[fault.kind](rows, random.Random(fault.seed))  # noqa: S311
    header = _WRONG_HEADER if kind is FaultKind.WRONG_HEADER else HEADER
    body = zipped(file.name.replace(".zip", ".csv"), csv_text(header, rows))
    return FileAnswer(
        body=_SPOILT_ZIPS[fault.kind](body) if fault and fault.kind in _SPOILT_ZIPS else body, rows=len(rows)
    )


def csv_text(header: str, rows: Iterable[CsvRow]) -> bytes:
    """A CSV file."""
    return "".join(f"{line}\n" for line in (header, *map(",".join, rows))).encode()


def zipped(name: str, content: bytes) -> bytes:
    """A zip with this one member."""
    return _zip_of({name: content})


def _rows(market: Market, symbol: str, file: ArchivedFile) -> list[CsvRow]:
    shown = chart(market, symbol, BARS["1m"], file.span, 2**31, now=file.span.end, running=False)
    newest_first = candle_rows(market.listings[symbol], shown)
    return [[symbol, *row[1:8], row[0], row[8]] for row in reversed(newest_first)]


def _zip_of(members: dict[str, bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for name, content in members.items():
            made.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return body.getvalue()


def _corrupt(rows: list[CsvRow], rng: random.Random) -> list[CsvRow]:
    """One close is no number, and one high is below its low."""
    rng.choice(rows)[_CLOSE] = "4#.1"
    row = rng.choice(rows)
    row[_HIGH] = decimal_text(float(row[_LOW]) / 2)
    return rows


def _unconfirmed(rows: list[CsvRow], _rng: random.Random) -> list[CsvRow]:
    """The older two thirds, as in a file of the time when the exchange began to tell."""
    for row in rows[: 2 * len(rows) // 3]:
        row[_CONFIRM] = "0"
    return rows


def _repeated(rows: list[CsvRow], rng: random.Random) -> list[CsvRow]:
    position = rng.randrange(len(rows))
    return [*rows[: position + 1], *rows[position:]]


def _conflicting(rows: list[CsvRow], rng: random.Random) -> list[CsvRow]:
    """One candle comes twice, with another volume the second time."""
    position = rng.randrange(len(rows))
    other = list(rows[position])
    other[_VOLUME:8] = [decimal_text(2 * float(volume) or 1.0) for volume in other[_VOLUME:8]]
    return [*rows[: position + 1], other, *rows[position + 1 :]]


def _untold_volumes(rows: list[CsvRow], _rng: random.Random) -> list[CsvRow]:
    """Every row lacks the volumes in currency."""
    return [[*row[:6], "None", "None", *row[8:]] for row in rows]


def _truncated(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _bomb(_body: bytes) -> bytes:
    """A small zip that unpacks to much."""
    return zipped("candles.csv", HEADER.encode() + b"\n" + bytes(_BOMB_BYTES))


def _many(body: bytes) -> bytes:
    return _zip_of({f"{number}.csv": b"" for number in range(_MANY_MEMBERS)} | {"candles.csv": body})


_SPOILT_ROWS: dict[FaultKind, Callable[[list[CsvRow], random.Random], list[CsvRow]]] = {
    FaultKind.CORRUPT_ROW: _corrupt,
    FaultKind.UNCONFIRMED_ROWS: _unconfirmed,
    FaultKind.REPEATED_ROW: _repeated,
    FaultKind.CONFLICTING_ROWS: _conflicting,
    FaultKind.UNTOLD_VOLUMES: _untold_volumes,
}
_SPOILT_ZIPS: dict[FaultKind, Callable[[bytes], bytes]] = {
    FaultKind.TRUNCATED_ZIP: _truncated,
    FaultKind.ZIP_BOMB: _bomb,
    FaultKind.MANY_MEMBERS: _many,
}
