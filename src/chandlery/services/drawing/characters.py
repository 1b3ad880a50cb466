"""A candle chart in characters: each cell is halved, so that a chart of 20 lines tells 40 prices apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chandlery.domain.span import Span
from chandlery.services.drawing.slots import Slots, price_text, ticks, time_text

UP, DOWN, GAP, AXIS = "up", "down", "gap", "axis"
"""What a piece of a line is, for whoever colours it."""

LEAST_WIDTH, LEAST_HEIGHT = 30, 8
_VOLUME_SHARE = 5
_ROWS_A_TICK = 4
_COLUMNS_A_TIME = 18

Piece = tuple[str, str]
"""Text and what it is; an empty name is plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alphabet:
    """What to draw with. ``bodies`` is by upper and lower half: nothing, wick or body."""

    up: dict[tuple[int, int], str]
    down: dict[tuple[int, int], str]
    volume: str
    gap: str
    tick: str
    line: str


_BLOCKS = {
    (0, 0): " ", (1, 1): "│", (2, 2): "┃", (1, 2): "╽", (2, 1): "╿", (0, 2): "╻", (2, 0): "╹", (0, 1): "╷", (1, 0): "╵",
}  # fmt: skip


def _plain(body: str) -> dict[tuple[int, int], str]:
    return {halves: body if 2 in halves else "|" if 1 in halves else " " for halves in _BLOCKS}


BLOCKS = Alphabet(up=_BLOCKS, down=_BLOCKS, volume=" ▁▂▃▄▅▆▇█", gap="░", tick="┤", line="─")
ASCII = Alphabet(up=_plain("O"), down=_plain("#"), volume=" .:|", gap="?", tick="+", line="-")


def room_for_candles(width: int) -> int:
    """How many candles a chart of so many columns holds, its axis of prices apart."""
    return max(LEAST_WIDTH, width) - _AXIS_WIDTH


_AXIS_WIDTH = 14


def drawn(slots: Slots, width: int, height: int, alphabet: Alphabet = BLOCKS) -> list[list[Piece]]:
    """The lines of a chart, top to bottom; at least one slot has a candle. ``width`` and ``height`` are in characters.

    Gaps are filled from top to bottom.
    """
    height = max(LEAST_HEIGHT, height)
    volume_rows = max(1, height // _VOLUME_SHARE)
    price_rows = height - volume_rows - 2
    rows = [*_prices(slots, price_rows, alphabet), *_volumes(slots, volume_rows, alphabet)]
    return [*rows, *_times(slots, max(LEAST_WIDTH, width), alphabet)]


def _prices(slots: Slots, rows: int, alphabet: Alphabet) -> list[list[Piece]]:
    low, high = slots.prices
    halves = _halves(slots, low, high, rows * 2)
    rising = slots.close >= slots.open
    labels = _labels(low, high, rows)
    lines = []
    for row in range(rows):
        pieces = [
            (alphabet.gap, GAP) if np.isnan(slots.close[i])
            else ((alphabet.up if rising[i] else alphabet.down)[pair], UP if rising[i] else DOWN)
            for i, pair in enumerate(zip(halves[2 * row].tolist(), halves[2 * row + 1].tolist(), strict=True))
        ]  # fmt: skip
        label = f"{alphabet.tick} {labels[row]}" if row in labels else ""
        lines.append([*_joined(pieces), (label, AXIS)])
    return lines


def _halves(slots: Slots, low: float, high: float, count: int) -> npt.NDArray[np.int8]:
    """For each half line, top first, and each slot: 0 nothing, 1 wick, 2 body."""
    step = (high - low) / count
    bottoms = high - step * np.arange(1, count + 1)[:, None]
    tops = bottoms + step
    body_low, body_high = np.minimum(slots.open, slots.close), np.maximum(slots.open, slots.close)
    wick = (slots.high >= bottoms) & (slots.low < tops)
    body = (body_high >= bottoms) & (body_low < tops)
    return (wick + body.astype(np.int8)).astype(np.int8)


def _labels(low: float, high: float, rows: int) -> dict[int, str]:
    """The prices that stand at the axis, by line."""
    marks = ticks(low, high, max(3, rows // _ROWS_A_TICK))
    step = marks[1] - marks[0] if len(marks) > 1 else (high - low) / 2
    return {min(rows - 1, int((high - mark) / (high - low) * rows)): price_text(mark, step) for mark in marks}


def _volumes(slots: Slots, rows: int, alphabet: Alphabet) -> list[list[Piece]]:
    most = float(slots.volume.max()) or 1.0
    steps = len(alphabet.volume) - 1
    levels = np.ceil(slots.volume / most * rows * steps).astype(int)
    rising = slots.close >= slots.open
    lines = []
    for row in range(rows):
        filled = np.clip(levels - (rows - 1 - row) * steps, 0, steps)
        pieces = [
            (alphabet.gap, GAP) if np.isnan(slots.close[i]) else (alphabet.volume[n], UP if rising[i] else DOWN)
            for i, n in enumerate(filled.tolist())
        ]
        lines.append([*_joined(pieces), (f"{alphabet.tick} vol {most:.4g}" if row == 0 else "", AXIS)])
    return lines


def _times(slots: Slots, width: int, alphabet: Alphabet) -> list[list[Piece]]:
    """The line below the chart and the times below the line."""
    span = Span(int(slots.time[0]), int(slots.time[-1]) + 1)
    text = [" "] * width
    line = [alphabet.line] * len(slots)
    for place in range(0, len(slots), _COLUMNS_A_TIME):
        label = time_text(int(slots.time[place]), span)
        if place + len(label) <= width:
            line[place] = alphabet.tick if alphabet is ASCII else "┬"
            text[place : place + len(label)] = label
    return [[("".join(line), AXIS)], [("".join(text).rstrip(), AXIS)]]


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours of one kind as one piece."""
    joined: list[Piece] = []
    for text, kind in pieces:
        if joined and joined[-1][1] == kind:
            joined[-1] = (joined[-1][0] + text, kind)
        else:
            joined.append((text, kind))
    return joined
