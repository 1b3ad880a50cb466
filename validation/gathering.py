"""Candles come in: collected, rolled up, streamed through a power cut of the database, and imported."""

from __future__ import annotations

import json
import time
from pathlib import Path

from validation.commands import utc_ms
from validation.failing import require, wait_until
from validation.life import Life
from validation.source import COLLECTED, IMPORTED, MINUTE_MS

SYMBOL = COLLECTED.symbol
SINCE = "2026-01-01"
LIVE_FROM = "2026-01-16T02:00:30Z"
_LIVE_FROM_MS = 1_768_528_800_000
_SPEED = 60.0
"""A simulated minute lasts a second."""
_KILLED_AFTER, _AWAY, _STREAMED = 4, 3, 15
"""Minutes of the exchange's clock."""
FETCHED, ROLLED_UP = ("1m", "5m", "1h"), ("15m", "1d")


def collect(life: Life) -> str:
    """Collect three timeframes over the documented rate limits, up to a moment of the recording."""
    life.cluster.start()
    life.exchange.open(LIVE_FROM)
    told = life.chandlery.run("collect", SYMBOL, "--timeframe", ",".join(FETCHED), "--since", SINCE, "--json")
    new = {row["timeframe"]: row["inserted"] for row in told["series"]}
    require(all(row["complete"] for row in told["series"]), "the collection is not complete")
    counts = ", ".join(f"{count:,} of {timeframe}" for timeframe, count in new.items())
    files = sum(row["from_files"] for row in told["series"])
    return f"{counts}; {len(life.exchange.pages())} pages, {files:,} candles from files"


def collect_again(life: Life) -> str:
    """Collect the same again: nothing is missing, so no page is asked for."""
    asked = len(life.exchange.pages())
    told = life.chandlery.run("collect", SYMBOL, "--timeframe", ",".join(FETCHED), "--since", SINCE, "--json")
    pages = len(life.exchange.pages()) - asked
    require(pages == 0, f"{pages} pages were asked for again")
    require(not any(row["inserted"] for row in told["series"]), "something was stored again")
    return "0 pages, 0 new"


def roll_up(life: Life) -> str:
    """Make two more timeframes of the stored minutes with --from 1m."""
    asked = len(life.exchange.pages())
    wanted = ("--timeframe", ",".join(ROLLED_UP), "--from", "1m", "--since", SINCE)
    told = life.chandlery.run("collect", SYMBOL, *wanted, "--json")
    derived = {row["timeframe"]: row["derived"] for row in told["series"]}
    require(all(row["complete"] for row in told["series"]), "the roll-up is not complete")
    require(all(derived.values()), "nothing was derived")
    counts = ", ".join(f"{count:,} of {timeframe}" for timeframe, count in derived.items())
    return f"{counts}; {len(life.exchange.pages()) - asked} pages"


def stream(life: Life) -> str:
    """Stream while 3 of 10 confirmations never come, kill -9 the database in the middle, and start it again."""
    life.exchange.open(LIVE_FROM, speed=_SPEED, missing_confirms=0.3)
    output = life.folder / "stream.out"
    # a second in which a push may come late is a minute of this clock
    late = {"CHANDLERY_DATA_COLLECTION_STREAM_GRACE_S": str(_SPEED)}
    with life.chandlery.running("stream", SYMBOL, "--timeframe", "1m,5m", "--json", output=output, **late):
        wait_until(lambda: _streamed(output) >= _KILLED_AFTER, "the first pushed candles")
        life.cluster.kill()
        time.sleep(_AWAY * 60 / _SPEED)
        life.cluster.start_again()
        wait_until(lambda: _streamed(output) >= _STREAMED, "candles after the outage")
        withheld, pages = life.exchange.withheld(), len(life.exchange.pages())
    require(withheld and pages, "no confirmation was withheld, or nothing was healed")
    gaps = {series: row["gaps"] for series, row in life.chandlery.status().items() if row["gaps"]}
    require(not gaps, f"the ledger has gaps: {gaps}")
    return f"{_streamed(output)} minutes, {withheld} pushes withheld, {_AWAY} minutes of outage; {pages} pages, 0 gaps"


def import_csv(life: Life) -> str:
    """Import a CSV file of another instrument with --verify, which reads everything back."""
    path = life.source.write(IMPORTED, life.folder, "csv")
    [told] = life.chandlery.run("import", path, "--verify", "--json")["sources"]
    stored = life.chandlery.status()[IMPORTED.symbol, IMPORTED.timeframe]["candles"]
    require(stored == IMPORTED.count, f"{stored:,} of {IMPORTED.count:,} rows are stored: {told}")
    return f"{stored:,} candles of {IMPORTED.timeframe}, read back"


def _streamed(output: Path) -> int:
    """How many minutes after the start the newest stored minute closed, by what the stream wrote so far."""
    lines = [json.loads(line) for line in output.read_text().splitlines(keepends=True) if line.endswith("\n")]
    ends = [utc_ms(line["end"]) for line in lines if line["timeframe"] == "1m"]
    return (max(ends, default=_LIVE_FROM_MS) - _LIVE_FROM_MS) // MINUTE_MS
