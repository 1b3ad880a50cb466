"""Candles go out into files, are read back from there, and are compared with the source to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from validation.comparing import compare
from validation.gathering import FETCHED, ROLLED_UP
from validation.life import Life
from validation.reading import read_csv, read_parquet, read_qlib
from validation.source import COLLECTED, IMPORTED, Candles

Reader = Callable[[Path, str, str, str], Candles]
"""Of a folder, an exchange, a symbol and a timeframe."""


def export_csv(life: Life) -> str:
    """Export CSV files, read them back, and compare them with the source."""
    return _exported(life, "csv", read_csv)


def export_parquet(life: Life) -> str:
    """Export Parquet files, read them back, and compare them with the source."""
    return _exported(life, "parquet", read_parquet)


def export_qlib(life: Life) -> str:
    """Export a folder for Qlib, read its float32 back, and compare them with the source, rounded to float32."""
    told = _exported(life, "qlib", read_qlib)
    findings = life.chandlery.run("export", "qlib", life.folder / "qlib", "--check", "--json")
    return f"{told}; --check: {len(findings)} findings"


def _exported(life: Life, kind: str, read: Reader) -> str:
    folder = life.folder / kind
    life.chandlery.run("export", kind, folder, "--json")
    counts = [
        compare(read(folder, exchange, symbol, timeframe), expected, f"{kind}: {symbol} {timeframe}")
        for (exchange, symbol, timeframe), expected in _expected(life).items()
    ]
    return f"{len(counts)} series, {sum(counts):,} candles, all the same"


def _expected(life: Life) -> dict[tuple[str, str, str], Candles]:
    """By exchange, symbol and timeframe; what was imported is of OKX, what the simulator sent is not."""
    collected = {
        ("okx-simulated", COLLECTED.symbol, timeframe): life.source.coarser(COLLECTED, timeframe)
        for timeframe in (*FETCHED, *ROLLED_UP)
    }
    return collected | {("okx", IMPORTED.symbol, IMPORTED.timeframe): life.source.candles(IMPORTED)}
