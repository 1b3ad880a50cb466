"""A table in a narrow window goes on in the next line: no figure and no next step is cut away."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from chandlery.cli.screen import table

HEADS = ("series", "exchange", "first", "last", "candles", "coverage", "gaps", "lag")
ROW = ("BABYDOGE-USDT-SWAP 15m", "okx-simulated", "2024-03-08 13:00", "2024-03-09 13:00", "12,341,234", "99.99 %", "0")
ADVICE = "Let the machine keep time, for example with chrony or systemd-timesyncd."


def drawn(width: int, heads: tuple[str, ...], row: tuple[str, ...], left: int) -> list[str]:
    window = Console(file=io.StringIO(), width=width)
    shown = table(*heads, left=left)
    shown.add_row(*row)
    with window.capture() as capture:
        window.print(shown)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_character_of_a_row_is_lost(width: int) -> None:
    row = (*ROW, "987d 11h")
    lines = drawn(width, HEADS, row, left=4)
    assert max(map(len, lines)) <= width
    assert sorted("".join("".join(lines).split())) == sorted("".join("".join((*HEADS, *row)).split()))


@pytest.mark.parametrize("width", [80, 100])
def test_numbers_stay_in_one_piece(width: int) -> None:
    lines = drawn(width, HEADS, (*ROW, "987d 11h"), left=4)
    assert any("12,341,234" in line and "99.99 %" in line for line in lines)


def test_doctor_has_room_for_what_to_do() -> None:
    found = "output postgres, the embedded server, http://127.0.0.1:18181, and so on for quite a while"
    lines = drawn(100, ("", "check", "found", "what to do"), ("NO", "configuration", found, ADVICE), left=4)
    assert lines[1].startswith("NO  configuration")
    assert all(word in "\n".join(lines) for word in ADVICE.split())
