"""A drawing of a run: bars as long as their times, ours in another colour."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from benchmarks.tables import Figures

_WIDTH, _LABEL, _BAR, _ROW, _GAP = 760, 270, 390, 22, 34
_OURS, _OTHERS, _TEXT = "#d9822b", "#8aa0b4", "#59636e"
"""Colours that are seen on white and on black."""


def drawing(figures: Figures) -> str:
    """An SVG of both ways; shorter is faster."""
    million = f"{figures['rows']:,} candles"
    panels = ((f"read {million} into a pandas frame", "reading"), (f"store {million}", "writing"))
    parts: list[str] = []
    y = _GAP
    for title, part in panels:
        ways = sorted(figures[part], key=_median_ms)
        parts += [_text(0, y, title, bold=True), *_bars(ways, y + 10)]
        y += len(ways) * _ROW + 2 * _GAP
    size = f'width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}"'
    style = 'font-family="system-ui, sans-serif" font-size="13"'
    title = f"<title>{escape(' and '.join(title for title, _ in panels))}: milliseconds</title>"
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} role="img">', title, *parts, "</svg>\n"])


def _median_ms(way: dict[str, Any]) -> float:
    return float(way["median_ms"])


def _bars(ways: list[dict[str, Any]], top: int) -> list[str]:
    longest = max(map(_median_ms, ways))
    parts = []
    for number, way in enumerate(ways):
        y = top + number * _ROW
        length = max(1.0, _median_ms(way) / longest * _BAR)
        colour = _OURS if way["ours"] else _OTHERS
        parts += [
            _text(0, y + 15, way["name"]),
            f'<rect x="{_LABEL}" y="{y + 3}" width="{length:.1f}" height="{_ROW - 6}" fill="{colour}"/>',
            _text(round(_LABEL + length + 6), y + 15, f"{_median_ms(way):,.0f} ms"),
        ]
    return parts


def _text(x: int, y: int, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{_TEXT}"{weight}>{escape(text)}</text>'
