"""The benchmarks run, with few candles, and do not compare ways that do different things. No speed is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import psycopg
import pytest
from benchmarks.memory import Commands
from benchmarks.pages import filled
from benchmarks.plot import drawing
from benchmarks.rounds import Timing, Way, timed
from benchmarks.samples import many_series, one_series
from benchmarks.tables import Figures
from benchmarks.writing import DifferentTables, check_equal

from chandlery.domain.rules import judge
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.postgres import PostgreSQLStorage
from processes import REPOSITORY, as_url

NOW = 1_893_456_000_000
"""2030-01-01 UTC."""


def test_a_run_measures_every_way_and_leaves_no_database_behind(database_url: str, tmp_path: Path) -> None:
    """It ends well only if all ways left equal tables and read as many candles."""
    before = databases(database_url)
    figures = tmp_path / "figures.json"
    few = ["--rows", "1000", "--rounds", "1", "--growth", "0.1"]
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks", *few, "--json", str(figures)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "CHANDLERY_DATABASE_URL": as_url(database_url)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    report = json.loads(figures.read_text())
    timings = report["writing"] + report["reading"]
    assert {timing["name"] for timing in timings} >= {timing["against"] for timing in timings}
    assert all(timing["rows_per_s"] > 0 and len(timing["seconds"]) == 1 for timing in timings)
    assert {way["rows"] for way in timings if way["ours"]} == {1000}, "only others are given fewer candles"
    assert all(timing["name"] in finished.stdout for timing in timings)
    [step] = report["growth"]
    assert all(step[what]["median_ns"] > 0 for what in ("save", "seal", "read_sealed", "read_rows"))
    assert report["sizes"][0]["sealed"] < report["sizes"][0]["row"]
    assert not databases(database_url) - before
    assert_told(report)


def assert_told(report: Figures) -> None:
    """The page has every way and every size, and the drawing every way."""
    page = filled("<!-- reading -->\nold\n<!-- /reading --> between <!-- memory --><!-- /memory -->", report)
    assert all(way["name"] in page for way in report["reading"])
    assert "old" not in page
    assert page.endswith("between <!-- memory -->\n\nNot measured in this run.\n\n<!-- /memory -->")
    drawn = ElementTree.fromstring(drawing(report))
    assert len(drawn.findall("{*}rect")) == len(report["reading"]) + len(report["writing"])


def test_the_memory_of_a_command_and_of_what_it_starts_is_told(database_url: str) -> None:
    peak = Commands({**os.environ, "CHANDLERY_DATABASE_URL": as_url(database_url)}, times=1).run("status", candles=0)
    assert 10 < peak.mib < 1000
    assert peak.child_mib == 0


def databases(conninfo: str) -> set[str]:
    """The databases that benchmarks made."""
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'chandlery_benchmark%'")
        return {name for (name,) in rows}


def test_ways_that_leave_different_tables_are_not_compared(storage: PostgreSQLStorage, database_url: str) -> None:
    batch = one_series(100)

    def saving(rows: slice) -> Way:
        frame = candles_frame(batch.take(rows))

        def save() -> None:
            storage.save_ohlcv_data(frame, "BTC-USDT", "1m")

        return Way(name=str(rows), run=save, against="the other", rows=100)

    with psycopg.connect(database_url, autocommit=True) as connection:
        check_equal([saving(slice(0, 50)), saving(slice(0, 50))], connection)
        with pytest.raises(DifferentTables):
            check_equal([saving(slice(0, 50)), saving(slice(0, 51))], connection)


def test_every_round_times_every_way_and_begins_with_another() -> None:
    done: list[str] = []

    def way(name: str) -> Way:
        return Way(
            name=name, run=lambda: done.append(name), prepare=lambda: done.append(f"for {name}"), against="a", rows=9
        )

    timings = timed([way("a"), way("b")], rounds=2)
    assert done == ["for a", "a", "for b", "b", "for b", "b", "for a", "a"]
    assert [len(timing.seconds) for timing in timings] == [2, 2]


def test_a_ratio_compares_what_was_measured_in_the_same_round() -> None:
    seconds, against = [2.0, 6.0, 3.0], [1.0, 3.0, 6.0]
    timing = Timing(name="b", rows=60, against="a", rows_against=60, seconds=seconds, seconds_against=against)
    assert timing.ratio == 0.5
    assert timing.rows_per_s == 20
    assert timing.ms_for(60) == (3000, 2000, 6000)


def test_a_slow_way_is_given_fewer_candles_and_compared_by_the_candle() -> None:
    timing = Timing(name="slow", rows=10, against="a", rows_against=100, seconds=[2.0], seconds_against=[2.0])
    assert timing.ratio == 0.1
    assert timing.ms_for(100)[0] == 20_000


def test_the_made_up_candles_keep_every_rule() -> None:
    for batch in [one_series(5_000), *many_series(5_000)]:
        verdict = judge(batch, now=NOW, raw=str)
        assert not len(verdict.rejected)
        assert verdict.repeated == 0
