"""OKX's JSON, read by type: the envelope, rows of candles, instruments, the clock; and its names of bars.

Whatever is not the protocol at all raises ExchangeUnavailable, so that a nonsense body counts like a dead connection.
A single value that cannot be read costs its row and not the page: it becomes NaN, and the rules set the row aside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from chandlery.domain.candle import BoolArray, CandleRows, FloatArray, RawText
from chandlery.domain.instrument import Instrument, Kind, Series, canonical_symbol
from chandlery.domain.timeframe import IntArray, Timeframe, UtcMs
from chandlery.errors import BadPage, DataValidationError, ExchangeUnavailable
from chandlery.exchange.okx import codes

if TYPE_CHECKING:
    from chandlery.exchange.okx.http import HttpAnswer

T = TypeVar("T")

_BARS_OF_OKX = {
    "1h": "1H", "2h": "2H", "4h": "4H",
    "6h": "6Hutc", "12h": "12Hutc", "1d": "1Dutc", "1w": "1Wutc", "1M": "1Mutc",
}  # fmt: skip
TYPE_NAMES = {Kind.SPOT: "SPOT", Kind.SWAP: "SWAP", Kind.FUTURES: "FUTURES"}
_KINDS = {name: kind for kind, name in TYPE_NAMES.items()}

_OPEN_TIME, _OPEN, _HIGH, _LOW, _CLOSE, _VOL, _VOL_CCY, _VOL_CCY_QUOTE, _CONFIRM = range(9)
_CELLS = 9
_MILLISECONDS = re.compile(r"[0-9]{1,16}")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def bar(timeframe: Timeframe) -> str:
    """OKX's name of the bar that aligns with UTC; its plain ``1D`` opens at midnight in Hong Kong."""
    return _BARS_OF_OKX.get(timeframe.name, timeframe.name)


class _Envelope(msgspec.Struct):
    code: str | int
    msg: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


def data_of(status: int, body: bytes, retry_after_s: float | None = None) -> msgspec.Raw:
    """The ``data`` of an answer as JSON text; raises the ExchangeError that its HTTP status or code stands for."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except (ValueError, RecursionError) as error:
        raise codes.failure(status, retry_after_s) from error
    if str(envelope.code) != codes.OK:
        raise codes.refusal(status, str(envelope.code), envelope.msg or "", retry_after_s)
    if status >= 300:
        raise codes.failure(status, retry_after_s)
    return envelope.data


def file_of(answer: HttpAnswer) -> bytes:
    """The bytes of a file; raises the ExchangeError that another HTTP status than 200 stands for."""
    if answer.status != 200:
        raise codes.failure(answer.status, answer.retry_after_s)
    return answer.body


class _FileLink(msgspec.Struct):
    filename: str
    url: str | None = None


class _FilesOfOne(msgspec.Struct, rename="camel"):
    group_details: list[_FileLink] = []


class _FileListing(msgspec.Struct):
    details: list[_FilesOfOne] = []


def file_links(data: msgspec.Raw) -> dict[str, str]:
    """The links of a listing of files by name; a file without a link is being made again and is left out."""
    groups = [group for listing in _decoded(data, list[_FileListing]) for group in listing.details]
    return {link.filename: link.url for group in groups for link in group.group_details if link.url}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandleAnswer:
    """Rows of candles as OKX sent them, newest first; ``confirmed`` is False for a candle that is still open."""

    rows: CandleRows
    confirmed: BoolArray
    raw: RawText

    def take(self, keep: BoolArray) -> CandleAnswer:
        """The rows that a mask picks."""
        positions, raw = np.flatnonzero(keep), self.raw
        return CandleAnswer(
            rows=self.rows.take(keep), confirmed=self.confirmed[keep], raw=lambda i: raw(int(positions[i]))
        )

    def followed_by(self, other: CandleAnswer) -> CandleAnswer:
        """The rows of both answers."""
        count = len(self.rows)
        columns = {
            name: np.concatenate((column, other.rows.columns()[name])) for name, column in self.rows.columns().items()
        }
        return CandleAnswer(
            rows=CandleRows.of(self.rows.series, columns),
            confirmed=np.concatenate((self.confirmed, other.confirmed)),
            raw=lambda i: self.raw(i) if i < count else other.raw(i - count),
        )


def candles(data: msgspec.Raw, series: Series, kind: Kind) -> CandleAnswer:
    """The candles of an answer. Raises BadPage where a row's time or ``confirm`` cannot be read."""
    cells = _candle_cells(data)
    columns = {
        "open_time": _times(cells[_OPEN_TIME]),
        "open": _numbers(cells[_OPEN]),
        "high": _numbers(cells[_HIGH]),
        "low": _numbers(cells[_LOW]),
        "close": _numbers(cells[_CLOSE]),
        # The volume of a derivative counts contracts; its volume in currency is the one in the base currency.
        "base_volume": _numbers(cells[_VOL if kind is Kind.SPOT else _VOL_CCY]),
        "quote_volume": _numbers(cells[_VOL_CCY_QUOTE]),
    }
    return CandleAnswer(
        rows=CandleRows.of(series, columns), confirmed=_flags(cells[_CONFIRM]), raw=_texts_of_rows(data)
    )


def open_times(data: msgspec.Raw) -> IntArray:
    """The open times alone of the candles of an answer, newest first. Raises BadPage like ``candles``."""
    return _times(_candle_cells(data)[_OPEN_TIME])


def _candle_cells(data: msgspec.Raw) -> Sequence[Sequence[str]]:
    """The nine columns of an answer's rows as text; a cell that is no text is empty. Further columns are ignored."""
    try:
        rows = msgspec.json.decode(data, type=list[list[str]])
    except (ValueError, RecursionError):
        rows = [[cell if isinstance(cell, str) else "" for cell in row] for row in _decoded(data, list[list[Any]])]
    if any(len(row) < _CELLS for row in rows):
        raise BadPage(f"OKX sent a candle of fewer than {_CELLS} values.")
    return list(zip(*rows, strict=False)) if rows else [()] * _CELLS


def _times(cells: Sequence[str]) -> IntArray:
    if not all(map(_MILLISECONDS.fullmatch, cells)):
        raise BadPage("OKX sent a candle whose open time is not a number of milliseconds.")
    return np.array(cells, dtype=np.int64)


def _numbers(cells: Sequence[str]) -> FloatArray:
    """Plain ASCII decimals as doubles, anything else (``NaN``, ``0x10``, ``1_000``, full-width digits) as NaN."""
    if not all(map(_DECIMAL.fullmatch, cells)):
        cells = [cell if _DECIMAL.fullmatch(cell) else "nan" for cell in cells]
    return np.array(cells, dtype=np.float64)


def _flags(cells: Sequence[str]) -> BoolArray:
    if not {"0", "1"}.issuperset(cells):
        raise BadPage("OKX sent a candle without telling whether it is confirmed.")
    return np.array([cell == "1" for cell in cells], dtype=np.bool_)


def _texts_of_rows(data: msgspec.Raw) -> RawText:
    """Gives the JSON text of row i exactly as sent; the rows are taken apart when the first is asked for."""

    @cache
    def rows() -> list[msgspec.Raw]:
        return msgspec.json.decode(data, type=list[msgspec.Raw])

    return lambda i: bytes(rows()[i]).decode()


class _Instrument(msgspec.Struct, rename="camel"):
    """The fields that are read; a listing in ``preopen`` leaves most of them empty."""

    inst_type: str
    inst_id: str | None = None
    uly: str | None = None
    base_ccy: str | None = None
    quote_ccy: str | None = None
    settle_ccy: str | None = None
    tick_sz: str | None = None
    lot_sz: str | None = None
    ct_val: str | None = None
    ct_mult: str | None = None
    list_time: str | None = None
    exp_time: str | None = None
    state: str | None = None


def instruments(data: msgspec.Raw, exchange: str) -> list[Instrument]:
    """The instruments of an answer whose kind and symbol are known; others are passed over."""
    listed = _decoded(data, list[_Instrument])
    return [_instrument(row, exchange) for row in listed if row.inst_type in _KINDS and _is_symbol(row.inst_id)]


def _is_symbol(text: str | None) -> bool:
    try:
        return bool(text) and canonical_symbol(text or "") == text
    except DataValidationError:
        return False


def _instrument(row: _Instrument, exchange: str) -> Instrument:
    symbol = row.inst_id or ""
    base, _, rest = (row.uly or symbol).partition("-")
    quote = rest.partition("-")[0]
    return Instrument(
        exchange=exchange,
        symbol=symbol,
        kind=_KINDS[row.inst_type],
        base=row.base_ccy or base,
        quote=row.quote_ccy or quote,
        settle=row.settle_ccy or "",
        tick_size=row.tick_sz or "",
        lot_size=row.lot_sz or "",
        contract_value=_contract_value(row),
        listed_at=_time_or_none(row.list_time),
        expires_at=_time_or_none(row.exp_time),
        state=row.state or "live",
    )


def _contract_value(row: _Instrument) -> float | None:
    if not row.ct_val:
        return None
    value = _numbers((row.ct_val, row.ct_mult or "1")).prod()
    return float(value) if np.isfinite(value) else None


def _time_or_none(text: str | None) -> UtcMs | None:
    return int(text) if text and _MILLISECONDS.fullmatch(text) else None


class _Time(msgspec.Struct):
    ts: str


def server_time(data: msgspec.Raw) -> UtcMs:
    """The exchange's clock."""
    read = [_time_or_none(time.ts) for time in _decoded(data, list[_Time])]
    if len(read) != 1 or read[0] is None:
        raise _nonsense("the time")
    return read[0]


def _decoded(data: msgspec.Raw, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=shape)
    except (ValueError, RecursionError) as error:
        raise _nonsense("an answer") from error


def _nonsense(what: str) -> ExchangeUnavailable:
    return ExchangeUnavailable(f"OKX sent {what} in a shape that is not its protocol.")
