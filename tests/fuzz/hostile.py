"""Candles as nobody should send them, made from a seed, and what may be believed of each.

A row is a list of cells: open time, open, high, low, close, volume, volume in currency, volume in quote currency,
confirmed. A good one is text as an exchange sends it; hostility changes a cell or two, or the shape.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

Row = list[Any]
Values = tuple[float, float, float, float, float]

START = 1_704_067_200_000
"""2024-01-01 UTC."""
MINUTE = 60_000
EARLIEST = 1_230_768_000_000
TIME, OPEN, HIGH, LOW, CLOSE, VOLUME, IN_CURRENCY, IN_QUOTE, CONFIRM = range(9)

_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_PLAIN = re.compile(r"[0-9]{1,20}(\.[0-9]{1,10})?", re.ASCII)

TEXTS = (
    *(
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "inf",
        "-0",
        "0",
        "0.0",
        "-1",
        "1e309",
        "-1e309",
        "1e-400",
        "0x10",
        "1_000",
    ),
    *("１２", "١٢", " 1.5", "1.5 ", "\u00a01.5", "1,5", "1.234,5", "1" * 40, "0." + "0" * 39 + "1", "1." + "3" * 40),
    *(
        "",
        "null",
        "None",
        "--1",
        "+-1",
        "1e",
        "e5",
        ".",
        "5.",
        ".5",
        "+5",
        "1e5",
        "1E+2",
        "∞",
        "1\x00",
        "\x00",
        "12 34",
    ),
    *(
        "1.7976931348623157e308",
        "1.8e308",
        "5e-324",
        "=cmd()",
        "'1'",
        '"1"',
        "1\n2",
        "1\r",
        "1;2",
        "\ud800",
        "A" * 10_000,
    ),
)
THINGS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 10**30, 1.5, math.nan, math.inf, -0.0, [], [1], {}, {"a": "1"}, [[[[]]]], "x" * 1_000),
)
TIMES: tuple[Any, ...] = (
    *(
        "",
        "0",
        "-1",
        "1704067200",
        "1704067200000000",
        "1704067200000000000",
        "1704067200001",
        "99999999999999",
        "1e12",
    ),
    *(
        "2024-01-01T00:00:00Z",
        "2024-01-01",
        "2016-12-31T23:59:60Z",
        "9223372036854775808",
        "1" * 40,
        "１７０４０６７２０００００",
    ),
    *("1704067200000.5", "4102444800000", "null", "yesterday", "0x18CC251F400", " 1704067200000", "\x00"),
)
SYMBOLS: tuple[Any, ...] = (
    *(
        "",
        " ",
        "../../etc/passwd",
        "BTC-USDT'; DROP TABLE x; --",
        '"',
        "\u202eTDSU-CTB",
        "BTC\x00USDT",
        "=cmd()",
        "A" * 10_000,
    ),
    *("ＢＴＣ-USDT", "btc usdt", "-", "BTC--USDT", "🚀-USDT", "con", "BTC/USDT/X", "\ud800", None, 5, True, [], {}),
)


def good_row(rng: random.Random, time: int) -> Row:
    """A valid candle of text cells, as an exchange writes it."""
    open_, close = rng.uniform(1, 90_000), rng.uniform(1, 90_000)
    high, low = max(open_, close) * rng.uniform(1, 1.01), min(open_, close) * rng.uniform(0.99, 1)
    prices = (f"{price:.6f}" for price in (open_, high, low, close))
    volumes = (f"{rng.expovariate(1):.4f}" for _ in range(3))
    return [str(time), *prices, *volumes, "1"]


def hostile_rows(rng: random.Random, count: int, *, things: bool, times: bool, share: float = 0.5) -> list[Row]:
    """``count`` rows of successive minutes, newest last, ``share`` of them hostile.

    ``things`` permits cells that are no text, ``times`` hostile open times.
    """
    rows = [good_row(rng, START + number * MINUTE) for number in range(count)]
    for row in rows:
        if rng.random() < share:
            for change in rng.choices(_changes(things, times), k=rng.choice((1, 1, 2))):
                change(rng, row)
    return rows


def _changes(things: bool, times: bool) -> list[Callable[[random.Random, Row], None]]:
    changes = [_text, _text, _text, _impossible]
    return changes + [_thing] * things + [_time] * times


def _text(rng: random.Random, row: Row) -> None:
    row[rng.randint(OPEN, IN_QUOTE)] = rng.choice(TEXTS)


def _thing(rng: random.Random, row: Row) -> None:
    row[rng.randint(OPEN, IN_QUOTE)] = rng.choice(THINGS)


def _time(rng: random.Random, row: Row) -> None:
    row[TIME] = rng.choice(TIMES)


def _impossible(rng: random.Random, row: Row) -> None:
    """Numbers that are fine one by one."""
    cell, value = rng.choice(
        [
            (HIGH, "0.5"),
            (LOW, "99999"),
            (OPEN, "99999999"),
            (CLOSE, "0.0001"),
            (LOW, "0"),
            (VOLUME, "-1"),
            (IN_QUOTE, "-0.1"),
        ]
    )
    row[cell] = value
    if rng.random() < 0.1:
        row[OPEN : CLOSE + 1] = ["0"] * 4


def hostile_body(rng: random.Random, body: bytes) -> bytes:
    """A body that was cut, flipped, wrapped, or is something else."""
    at = rng.randrange(max(1, len(body)))
    ways = (
        body[:at],
        body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :],
        body[:at] + body[at + rng.randint(1, 50) :],
        body[:at] + body[max(0, at - 40) : at] + body[at:],
        b"<html><body>502 Bad Gateway</body></html>",
        b"[" * 100_000,
        b'{"code":"0","data":' + b"[" * 5_000,
        body.replace(b'"0"', rng.choice((b"0", b"null", b'"50011"', b"[]", b"-0", b"1e999")), 1),
        b"\xef\xbb\xbf" + body,
        body.decode("latin-1").encode("utf-16"),
        b"",
        rng.randbytes(200),
    )
    return rng.choice(ways)


def worth(row: Row) -> Iterator[tuple[int, Values]]:
    """What a door may store of a row: nothing, or the candle that it plainly says."""
    if len(row) <= IN_QUOTE:
        return
    numbers = [_number(cell) for cell in row[OPEN : IN_CURRENCY + 1]]
    time = _moment(row[TIME])
    prices = [number for number in numbers[:4] if number is not None]
    if time is None or len(prices) < 4:
        return
    open_, high, low, close = prices
    prices_hold = 0 < low <= min(open_, close) <= max(open_, close) <= high < math.inf
    for volume in numbers[4:]:  # of a derivative the one in currency counts
        if prices_hold and volume is not None and 0 <= volume < math.inf:
            yield time, (open_, high, low, close, volume)


def plain(row: Row) -> bool:
    """Whether every cell is a number in the one form that every door must take."""
    return all(isinstance(cell, str) and _PLAIN.fullmatch(cell) for cell in row)


def _number(cell: Any) -> float | None:
    if isinstance(cell, str):
        return float(cell) if _DECIMAL.fullmatch(cell.strip(" \t\r\n")) else None
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else None


def _moment(cell: Any) -> int | None:
    """Milliseconds, or an ISO time; of an open minute between 2009 and now."""
    text = str(cell).strip(" \t\r\n")
    if re.fullmatch(r"[0-9]{1,16}(\.0+)?", text, re.ASCII):
        time = int(text.partition(".")[0])
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        time = round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    now = datetime.now(UTC).timestamp() * 1000
    return time if EARLIEST <= time <= now - MINUTE and time % MINUTE == 0 else None
