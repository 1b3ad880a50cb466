"""A candle chart as SVG that needs nothing else: no script, no font, no style sheet; light and dark alike."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from chandlery.domain.candle import FloatArray
from chandlery.domain.span import Span
from chandlery.services.drawing.slots import Slots, price_text, ticks, time_text

WIDTH, HEIGHT = 900, 380
MOST_SLOTS = 280
_RIGHT, _TOP, _BOTTOM, _VOLUME = 74, 30, 22, 60
_UP, _DOWN, _GAP = "#0c8f7b", "#d6453d", "#e8590c"
_TIMES, _ROOM = 6, 40

Numbers = npt.NDArray[np.floating[Any]]


def svg(slots: Slots, title: str) -> str:
    """The chart of at least one candle; ``title`` is text, whatever it holds."""
    low, high = slots.prices
    plot = HEIGHT - _TOP - _BOTTOM - _VOLUME
    each = (WIDTH - _RIGHT) / len(slots)
    y = _TOP + (high - np.stack([slots.open, slots.high, slots.low, slots.close])) / (high - low) * plot
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" width="100%" style="max-width:{WIDTH}px" '
        'font-family="system-ui,sans-serif" font-size="11" fill="currentColor">',
        f'<text x="0" y="16" font-size="13" font-weight="600">{escape(title)}</text>',
        *_price_axis(low, high, plot),
        *_time_axis(slots, each),
        *_gaps(slots, each, plot),
        *_candles(slots, y, each),
        "</svg>",
    ]
    return "".join(parts)


def _price_axis(low: float, high: float, plot: int) -> list[str]:
    marks = ticks(low, high, 6)
    step = marks[1] - marks[0] if len(marks) > 1 else high - low
    parts = []
    for mark in marks:
        at = _TOP + (high - mark) / (high - low) * plot
        parts.append(f'<path d="M0 {at:.1f}H{WIDTH - _RIGHT}" stroke="currentColor" stroke-opacity=".12"/>')
        parts.append(f'<text x="{WIDTH - _RIGHT + 6}" y="{at + 4:.1f}">{price_text(mark, step)}</text>')
    return parts


def _time_axis(slots: Slots, each: float) -> list[str]:
    span = Span(int(slots.time[0]), int(slots.time[-1]) + 1)
    parts = []
    for place in range(0, len(slots), max(1, len(slots) // _TIMES)):
        if place * each < WIDTH - _RIGHT - _ROOM:
            label = time_text(int(slots.time[place]), span)
            parts.append(f'<text x="{place * each:.1f}" y="{HEIGHT - 6}" fill-opacity=".7">{label}</text>')
    return parts


def _gaps(slots: Slots, each: float, plot: int) -> list[str]:
    """A band for each run of slots without a candle."""
    missing = np.isnan(slots.close)
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False)).reshape(-1, 2).tolist()
    return [
        f'<rect x="{start * each:.1f}" y="{_TOP}" width="{(end - start) * each:.1f}" height="{plot + _VOLUME}" '
        f'fill="{_GAP}" fill-opacity=".18"><title>no candles</title></rect>'
        for start, end in edges
    ]


def _candles(slots: Slots, y: FloatArray, each: float) -> list[str]:
    """Two paths a colour, one of wicks and one of bodies and volumes: short, however many candles there are."""
    floor, most = HEIGHT - _BOTTOM, float(slots.volume.max()) or 1.0
    tall = slots.volume / most * (_VOLUME - 8)
    there, rising = ~np.isnan(slots.close), slots.close >= slots.open
    wide = max(0.6, each * 0.7)
    parts = []
    for colour, mask in ((_UP, there & rising), (_DOWN, there & ~rising)):
        chosen = np.flatnonzero(mask)
        middle = (chosen + 0.5) * each
        left, top = middle - wide / 2, np.minimum(y[0], y[3])[chosen]
        body = np.maximum(0.8, np.abs(y[0] - y[3])[chosen])
        wicks = zip(middle, y[1][chosen], y[2][chosen], strict=True)
        parts.append(f'<path stroke="{colour}" d="{"".join(f"M{x:.1f} {a:.1f}V{b:.1f}" for x, a, b in wicks)}"/>')
        boxes = _boxes(left, top, body, wide)
        parts.append(f'<path fill="{colour}" d="{boxes}"/>')
        volumes = _boxes(left, floor - tall[chosen], tall[chosen], wide)
        parts.append(f'<path fill="{colour}" fill-opacity=".4" d="{volumes}"/>')
    return parts


def _boxes(left: Numbers, top: Numbers, tall: Numbers, wide: float) -> str:
    corners = zip(left, top, tall, strict=True)
    return "".join(f"M{x:.1f} {y:.1f}h{wide:.1f}v{h:.1f}h-{wide:.1f}z" for x, y, h in corners)
