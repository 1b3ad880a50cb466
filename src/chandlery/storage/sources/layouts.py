"""Which column of a foreign file means what: by its header, by the places and names that somebody gives, or by both.

Two layouts are known as a whole: chandlery's own, and the files of the exchange, whose volume is in contracts for
derivatives and in the base currency for spot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chandlery.domain.candle import FIELDS
from chandlery.domain.instrument import Kind
from chandlery.errors import DataValidationError
from chandlery.storage.catalog import described_by_name
from chandlery.storage.intake.tables import OPTIONAL, SPELLINGS

DELIMITERS = (",", ";", "\t", "|")
MAX_CELLS = 1_000
"""A first line of more cells is no header of candles."""

EXCHANGE_TIMEFRAME = "1m"
"""The exchange's own files hold candles of one minute and no others."""

_ALSO = {"open_time": ("open_time_ms", "time"), "symbol": ("instrument_name",)}
_EXCHANGE_FILE = ("instrument_name", "vol", "vol_ccy", "vol_quote", "open_time")
_CONTRACTS = ("vol", "volume")
_BASE_OR_QUOTE = ("vol_ccy", "volccy")
_QUOTE = ("vol_quote", "volccyquote", "vol_ccy_quote")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_KEYS = ("symbol", "timeframe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the things of a candle stand in each line.

    ``places`` maps a thing of ``SPELLINGS`` to the number of its cell, ``titles`` to its name for people.
    ``has_header`` tells that the first line is no candle; ``torn`` that a last line without its newline is none
    either. ``by_kind`` holds, for the exchange's volumes, the place of the amount in the currency that is the base
    of derivatives and the quote of spot. ``timeframe`` is the name that the layout implies, if it implies one.
    """

    delimiter: str
    cells: int
    has_header: bool
    places: dict[str, int]
    titles: dict[str, str]
    torn: bool = False
    by_kind: int | None = None
    timeframe: str | None = None

    def of_symbol(self, symbol: str) -> dict[str, int]:
        """The places for one instrument: its volumes depend on its kind."""
        if self.by_kind is None:
            return self.places
        spot = described_by_name("", symbol).kind is Kind.SPOT
        volumes = {"quote_volume": self.by_kind} if spot else {"base_volume": self.by_kind}
        return {**volumes, **self.places} if spot else {**self.places, **volumes}

    @property
    def needed(self) -> set[int]:
        """The places that have to be read."""
        return {*self.places.values(), *(() if self.by_kind is None else (self.by_kind,))}


def parse_columns(text: str) -> dict[str, str]:
    """``time=ts,open=o`` as things of ``SPELLINGS`` and what they are called. Raises DataValidationError."""
    named: dict[str, str] = {}
    for part in text.split(","):
        word, equals, column = (piece.strip() for piece in part.partition("="))
        thing = _thing(word.lower())
        if not equals or not column or thing is None:
            raise DataValidationError(
                f"{part.strip()!r} names no column.",
                hint="Write --columns time=ts,open=o,high=h,low=l,close=c,volume=v, with names or places from 1 on.",
            )
        named[thing] = column
    return named


def _thing(word: str) -> str | None:
    return next((thing for thing in SPELLINGS if word in _spellings(thing)), None)


def _spellings(thing: str) -> tuple[str, ...]:
    return (*SPELLINGS[thing], *_ALSO.get(thing, ()))


def delimiter_of(first_line: str) -> str:
    """What stands most often between things."""
    return max(DELIMITERS, key=first_line.count)


def layout_of(first_line: str, named: Mapping[str, str], name: str) -> Layout:
    """The layout that a file's first line and the ``named`` columns tell. Raises DataValidationError."""
    delimiter = delimiter_of(first_line)
    cells = [cell.strip() for cell in first_line.split(delimiter)]
    if not 1 < len(cells) <= MAX_CELLS:
        raise DataValidationError(
            f"{name} begins with {first_line[:60]!r}, which is no line of candles.", hint="Is it a CSV file?"
        )
    header = None if any(_NUMBER.fullmatch(cell) for cell in cells) else [cell.lower() for cell in cells]
    places = {thing: _place(column, header, len(cells), name) for thing, column in named.items()}
    layout = Layout(delimiter=delimiter, cells=len(cells), has_header=header is not None, places=places, titles={})
    if header is not None:
        layout = _from_header(layout, header, places)
    missing = [thing for thing in SPELLINGS if thing not in (*layout.places, *OPTIONAL, *_KEYS)]
    if missing:
        raise _incomplete(missing, header, cells, name)
    titles = {thing: cells[place] if header else f"number {place + 1}" for thing, place in layout.places.items()}
    return _with(layout, titles=titles)


def _from_header(layout: Layout, header: Sequence[str], named: Mapping[str, int]) -> Layout:
    places = {thing: place for thing in SPELLINGS if (place := _found(header, _spellings(thing))) is not None}
    changes: dict[str, object] = {"torn": tuple(header) == FIELDS}
    by_kind = _found(header, _BASE_OR_QUOTE)
    contracts, quote = _found(header, _CONTRACTS), _found(header, _QUOTE)
    if by_kind is not None and contracts is not None and "base_volume" not in named:
        changes["by_kind"] = by_kind
        places["base_volume"] = contracts
        places |= {} if quote is None else {"quote_volume": quote}
    if set(_EXCHANGE_FILE) <= set(header):
        changes["timeframe"] = EXCHANGE_TIMEFRAME
    return _with(layout, places={**places, **named}, **changes)


def _with(layout: Layout, **changes: object) -> Layout:
    known = {name: getattr(layout, name) for name in Layout.__dataclass_fields__}
    return Layout(**{**known, **changes})


def _found(header: Sequence[str], spellings: Sequence[str]) -> int | None:
    """The place of the column with one of these names; of two, none: somebody has to say which."""
    places = [place for place, cell in enumerate(header) if cell in spellings]
    return places[0] if len(places) == 1 else None


def _place(column: str, header: Sequence[str] | None, cells: int, name: str) -> int:
    if header is not None and column.lower() in header:
        return header.index(column.lower())
    if column.isdecimal() and 1 <= int(column) <= cells:
        return int(column) - 1
    shown = ", ".join(header[:30])[:300] if header else f"no header, and {cells} columns"
    raise DataValidationError(f"{name} has no column {column}.", hint=f"It has {shown}.")


def _incomplete(missing: list[str], header: Sequence[str] | None, cells: list[str], name: str) -> DataValidationError:
    words = ", ".join("time" if thing == "open_time" else SPELLINGS[thing][0] for thing in missing)
    if header is None:
        return DataValidationError(
            f"{name} has no header, so it does not say which column is what: {', '.join(cells[:8])[:120]}.",
            hint="Name them by their places: --columns time=1,open=2,high=3,low=4,close=5,volume=6.",
        )
    return DataValidationError(
        f"{name} does not say, or says twice, which column is: {words}.",
        hint=f"It has {', '.join(header[:30])[:300]}. Name them: --columns {words.split(',')[0]}=NAME.",
    )
