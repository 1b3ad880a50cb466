"""Candles are kept: sealed, checked, looked at, backed up, lost with their server, and brought back."""

from __future__ import annotations

import time
from typing import Any

from validation.commands import utc_ms
from validation.failing import require
from validation.gathering import FETCHED, ROLLED_UP, SINCE, SYMBOL
from validation.life import Life
from validation.source import IMPORTED, STEPS_MS

_SEPTEMBER_MS = 1_661_990_400_000
"""2022-09-01: of the seven whole months that were imported, four had closed."""
_DAY_MS = 86_400_000
END = "2026-01-16T08:00:00Z"
"""When everything that the exchange has is history."""
_UNTIMELY = ("lag_s", "last_error")


def seal(life: Life) -> str:
    """Seal the whole months that were imported, four of seven with --drop-rows."""
    days = (time.time_ns() // 1_000_000 - _SEPTEMBER_MS) // _DAY_MS
    life.chandlery.run("seal", IMPORTED.symbol, "--older-than", f"{days}d", "--drop-rows", "--json")
    life.chandlery.run("seal", "--json")
    held = life.chandlery.status()[IMPORTED.symbol, IMPORTED.timeframe]
    sealed = (held["sealed"], held["without_rows"])
    require(sealed == (7, 4), f"{sealed[0]} months are sealed, {sealed[1]} of them without rows, not 7 and 4")
    return f"7 months sealed, 4 without rows; {held['rows']:,} of {held['candles']:,} rows left"


def check(life: Life) -> str:
    """Check every series: no finding that is an error, nothing missing."""
    told = life.chandlery.run("check", "--json")
    short = [row["symbol"] for row in told["series"] if row["coverage"] != 1]
    require(not short, f"{', '.join(short)} is not covered whole")
    candles = sum(row["candles"] for row in told["series"])
    rules = sorted({found["rule"] for found in told["findings"]})
    return f"{len(told['series'])} series, {candles:,} candles, 100 % covered; told of: {', '.join(rules) or 'nothing'}"


def look(life: Life) -> str:
    """Ask status, doctor (who must see that this exchange's clock stands elsewhere), and retain --dry-run."""
    held = life.chandlery.status()
    unwell = [found["name"] for found in life.chandlery.run("doctor", "--json", code=1) if not found["ok"]]
    require(unwell == ["clock"], f"doctor finds {', '.join(unwell)} unwell, and not the clock alone")
    terms = f"{IMPORTED.timeframe}=90d"
    plan = life.chandlery.run("retain", "--dry-run", "--json", CHANDLERY_RETENTION_ROWS=terms)
    going = [step["rows"] for step in plan["steps"] if step["action"] == "drop rows"]
    require(
        len(going) == 3, f"the rows of {len(going)} months would go, not those of the 3 that are sealed and have any"
    )
    return f"{len(held)} series; all well but the clock; {sum(going):,} rows of 3 months would go"


def back_up(life: Life) -> str:
    """Make a backup."""
    life.known = life.chandlery.status()
    made = life.chandlery.run("backup", "create", "--json")
    candles = sum(row["candles"] for row in life.known.values())
    require(made["candles"] == candles, f"{made['candles']:,} candles are in it, not {candles:,}")
    return f"{candles:,} candles of {made['series']} series, {made['bytes'] / 1e6:.1f} MB"


def destroy(life: Life) -> str:
    """Delete the database server with everything that it has, and start an empty one."""
    life.cluster.destroy()
    require(not life.cluster.folder.exists(), "it is still there")
    life.cluster.start()
    return "an empty server"


def restore(life: Life) -> str:
    """Restore the backup: every fingerprint is compared, and status says what it said before."""
    made = life.chandlery.run("backup", "restore", "latest", "--json")
    found = life.chandlery.status()
    for series, row in life.known.items():
        differ = [name for name in row if name not in _UNTIMELY and found.get(series, {}).get(name) != row[name]]
        require(not differ, f"of {' '.join(series)} {', '.join(differ)} came back otherwise")
    return f"{made['candles']:,} candles of {made['series']} series"


def go_on(life: Life) -> str:
    """Collect up to the end of the recording: only what came after the backup is asked for."""
    life.exchange.open(END)
    timeframes = ",".join((*FETCHED, *ROLLED_UP))
    wanted = ("--timeframe", timeframes, "--from", "1m", "--since", SINCE)
    told = life.chandlery.run("collect", SYMBOL, *wanted, "--json")
    require(all(row["complete"] for row in told["series"]), "the collection is not complete")
    pages = life.exchange.pages()
    require(pages, "nothing was asked for")
    for page in pages:
        require(int(page["before"]) + 1 >= _known_until(life, page), f"known candles were asked for again: {page}")
    new = sum(row["inserted"] for row in told["series"])
    return f"{new:,} new candles; {len(pages)} pages, none of them older than the backup"


def _known_until(life: Life, page: dict[str, Any]) -> int:
    """Up to when the series of a page was known, UTC milliseconds."""
    timeframe = str(page["bar"]).lower().removesuffix("utc")
    return utc_ms(life.known[SYMBOL, timeframe]["last"]) + STEPS_MS[timeframe]
