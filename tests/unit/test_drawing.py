"""Charts tell the truth: each candle where it belongs, gaps as gaps, and titles as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

import chandlery
from candles import START, candles, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.timeframe import HOUR_MS
from chandlery.errors import DataValidationError
from chandlery.services.drawing.characters import ASCII, drawn, room_for_candles
from chandlery.services.drawing.slots import Slots, price_text, ticks
from chandlery.storage.intake.frames import candles_frame


def holed(count: int, missing: slice) -> CandleBatch:
    batch = candles(series(interval="1h"), count)
    kept = np.ones(count, dtype=bool)
    kept[missing] = False
    return batch.take(kept)


def text(slots: Slots, width: int, height: int) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in drawn(slots, width, height)]


def test_a_bar_has_a_slot_and_a_hole_keeps_its_place() -> None:
    slots = Slots.newest(holed(100, slice(90, 95)), 20)
    assert slots.time.tolist() == [START + hour * HOUR_MS for hour in range(80, 100)]
    assert np.flatnonzero(np.isnan(slots.close)).tolist() == list(range(10, 15))


def test_several_bars_in_a_slot_are_one_candle() -> None:
    batch = candles(series(interval="1h"), 100)
    slots = Slots.all(batch, 25)
    assert len(slots) == 25
    assert slots.open[0] == batch.open[0]
    assert slots.high[0] == batch.high[:4].max()
    assert slots.low[0] == batch.low[:4].min()
    assert slots.close[0] == batch.close[3]
    assert slots.volume[0] == pytest.approx(batch.base_volume[:4].sum())


@pytest.mark.parametrize(("width", "height"), [(30, 8), (80, 24), (200, 60)])
def test_a_drawing_fits_and_marks_the_gap(width: int, height: int) -> None:
    batch = holed(400, slice(390, 395))
    lines = text(Slots.newest(batch, room_for_candles(width)), width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width + 6, "the axis may be wide"
    for line in lines[: height - 2]:
        assert line[room_for_candles(width) - 10 :][:5] == "░" * 5


def test_plain_characters_are_plain() -> None:
    lines = drawn(Slots.newest(holed(50, slice(10, 12)), 40), 60, 12, ASCII)
    assert all(piece.isascii() for line in lines for piece, _ in line)


@pytest.mark.parametrize("price", [1e-9, 0.00042, 1.0, 104_250.5])
def test_one_candle_at_any_price_can_be_drawn(price: float) -> None:
    columns = {name: [price] for name in ("open", "high", "low", "close")}
    batch = CandleBatch.of(
        series(interval="1h"), {"open_time": [START], **columns, "base_volume": [0], "quote_volume": [0]}
    )
    assert len(text(Slots.newest(batch, 10), 60, 12)) == 12
    assert "svg" in str(chandlery.chart(batch)._repr_svg_())
    assert chandlery.chart(chandlery.Candles(batch)).title == chandlery.chart(batch).title


def test_ticks_are_round_and_their_texts_differ() -> None:
    marks = ticks(95.31, 98.77, 5)
    assert marks == pytest.approx([96, 97, 98])
    small = ticks(0.000123, 0.000129, 5)
    assert len({price_text(mark, small[1] - small[0]) for mark in small}) == len(small)


def test_a_notebook_gets_a_chart_that_needs_nothing_else() -> None:
    chart = chandlery.chart(holed(3_000, slice(100, 200)))
    bundle = chart._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/svg+xml", "text/plain"}
    drawing = ET.fromstring(bundle["image/svg+xml"])
    assert drawing.get("aria-label") == "BTC-USDT 1h"
    assert "<script" not in bundle["text/html"]
    assert bundle["text/html"].count("http") == 1, "the namespace's name, and no address"
    assert "no candles" in bundle["image/svg+xml"]


def test_a_title_is_text_whatever_it_holds() -> None:
    chart = chandlery.chart(holed(10, slice(0, 0)), title="<script>alert('x')</script>")
    assert "<script" not in str(chart._repr_html_())
    ET.fromstring(str(chart._repr_svg_()))


def test_a_frame_tells_its_timeframe() -> None:
    frame = candles_frame(holed(100, slice(3, 40)))
    assert chandlery.chart(frame).candles.series.timeframe.name == "1h"
    assert len(chandlery.chart(frame).candles) == 63
    with pytest.raises(DataValidationError, match="cannot be told"):
        chandlery.chart(frame.head(1))
    assert len(chandlery.chart(frame.head(1), "1h").candles) == 1


def test_nothing_is_drawn_of_nothing() -> None:
    assert repr(chandlery.chart(CandleBatch.empty(series()))) == "BTC-USDT 1m: no candles"
    assert chandlery.chart(CandleBatch.empty(series()))._repr_mimebundle_() == {"text/plain": "BTC-USDT 1m: no candles"}
