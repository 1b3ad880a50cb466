"""What the API answers, as plain values for JSON; docs/serve.md describes every field. Times are UTC milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chandlery.domain.candle import PRICE_COLUMNS
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.services.browsing.coverage_map import MapRow, known_span
from chandlery.services.browsing.state import State, run_rate
from chandlery.services.browsing.window import Window
from chandlery.storage.announcements import Announcement
from chandlery.storage.coverage import LedgerEntry

MOST_GAPS = 200
"""Gaps named one by one in a row of the map; their number is told in any case."""


def series_answer(entry: LedgerEntry) -> dict[str, Any]:
    """One line of the list of series."""
    known = known_span(entry)
    return {
        **named(entry.series),
        "start": known.start if known else None,
        "end": known.end if known else None,
        "coverage": entry.spans.length / known.length if known else 0.0,
    }


def window_answer(series: Series, window: Window) -> dict[str, Any]:
    """Candles in columns, and the spans without them."""
    candles = window.candles
    return {
        **named(series),
        "step_ms": series.timeframe.step_ms,
        "known": _pair(window.known),
        "open_time": candles.open_time.tolist(),
        **{name: getattr(candles, name).tolist() for name in PRICE_COLUMNS},
        "volume": candles.base_volume.tolist(),
        "gaps": _pairs(window.gaps),
        "retired": _pairs(window.retired),
        "empty": _pairs(window.empty),
    }


def map_answer(rows: Sequence[MapRow], span: Span, cells: int, series: int) -> dict[str, Any]:
    """The coverage map; ``series`` is how many there are, of which ``rows`` are the first."""
    return {"start": span.start, "end": span.end, "cells": cells, "series": series, "rows": [_row(r) for r in rows]}


def state_answer(state: State, *, now: int, heard: float, listening: bool) -> dict[str, Any]:
    """The state of collection; ``heard`` is how many candles were announced in the last minute."""
    return {
        "now": now,
        "listening": listening,
        "heard_in_last_minute": heard,
        "failed": state.failed,
        "runs": [
            {
                "started_at": run.started_at,
                "finished_at": run.finished_at,
                "command": run.command,
                "outcome": run.outcome,
                "inserted": run.result.inserted,
                "revised": run.result.revised,
                "rejected": run.result.rejected,
                "rate": run_rate(run),
            }
            for run in state.runs
        ],
        "late": [
            {**named(one.series), "lag_s": one.lag_s, "bars": one.bars, "last_error": one.last_error}
            for one in state.late
        ],
    }


def stored_answer(told: Announcement) -> dict[str, Any]:
    """What is pushed when candles were stored."""
    return {
        "exchange": told.exchange,
        "symbol": told.symbol,
        "timeframe": told.timeframe,
        "start": told.start,
        "end": told.end,
    }


def named(series: Series) -> dict[str, Any]:
    """The three names that make a series."""
    return {"exchange": series.exchange, "symbol": series.symbol, "timeframe": series.timeframe.name}


def _row(row: MapRow) -> dict[str, Any]:
    return {
        **named(row.entry.series),
        "known": _pair(row.known),
        "cells": row.cells,
        "coverage": row.coverage,
        "gaps": len(row.gaps),
        "gap_spans": _pairs(row.gaps)[:MOST_GAPS],
    }


def _pair(span: Span | None) -> list[int] | None:
    return None if span is None else [span.start, span.end]


def _pairs(spans: Spans) -> list[list[int]]:
    return [[span.start, span.end] for span in spans]
