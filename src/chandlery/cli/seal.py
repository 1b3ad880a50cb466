"""``chandlery seal`` and ``chandlery unseal``: closed months as one compressed segment each, and back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import AsJson, Config, OlderThan, Since, Symbols, Timeframes, Until, settings_from
from chandlery.cli.plain import plain_series, plain_span
from chandlery.cli.screen import complain, day, say, size, write_json
from chandlery.errors import DataValidationError

if TYPE_CHECKING:
    from chandlery.domain.instrument import Series
    from chandlery.domain.span import Span
    from chandlery.domain.timeframe import UtcMs
    from chandlery.services.seal import Sealer, SealReport
    from chandlery.storage.coverage import LedgerEntry

SEAL_EXAMPLES = """
Examples:

  chandlery seal

  chandlery seal BTC-USDT ETH-USDT --timeframe 1m --older-than 90d

  chandlery seal --drop-rows

  chandlery seal --verify
"""

UNSEAL_EXAMPLES = """
Examples:

  chandlery unseal BTC-USDT --timeframe 1m

  chandlery unseal --since 2024-01-01 --until 2024-03-31
"""

Work = Callable[["Sealer", "LedgerEntry"], "SealReport"]


def register(app: typer.Typer) -> None:
    """Add both commands to ``app``."""
    app.command(epilog=SEAL_EXAMPLES)(seal)
    app.command(epilog=UNSEAL_EXAMPLES)(unseal)


def seal(
    symbols: Symbols = None,
    timeframe: Timeframes = None,
    older_than: OlderThan = "45d",
    drop_rows: Annotated[bool, typer.Option("--drop-rows", help="Keep what is sealed in segments alone.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="First read all segments, and compare.")] = False,
    refetch: Annotated[
        bool, typer.Option("--refetch", help="Give up damaged segments without rows, to be collected again.")
    ] = False,
    json: AsJson = False,
    config: Config = None,
) -> int:
    """Seal closed and complete months: reading them is many times faster, and their rows can go."""
    from chandlery.services.seal import SealReport

    before = time.time_ns() // 1_000_000 - age_ms(older_than)

    def work(sealer: Sealer, entry: LedgerEntry) -> SealReport:
        report = sealer.verify(entry, refetch=refetch) if verify or refetch else SealReport()
        report += sealer.seal(entry, before=before)
        if drop_rows:
            report += sealer.drop_rows(entry)
        return report

    report = _run(work, symbols, timeframe, config)
    if json:
        write_json(_plain(report))
    else:
        _tell(report, drop_rows=drop_rows)
    return ExitCode.INCOMPLETE if report.damaged else ExitCode.COMPLETE


def unseal(
    symbols: Symbols = None,
    timeframe: Timeframes = None,
    since: Since = None,
    until: Until = None,
    json: AsJson = False,
    config: Config = None,
) -> None:
    """Keep sealed candles as rows again, proved to be the same; a month that is touched comes back whole."""
    from chandlery.storage.asked import span_of

    span = span_of(since, until)
    report = _run(lambda sealer, entry: sealer.unseal(entry, span), symbols, timeframe, config)
    if json:
        write_json(_plain(report))
    else:
        say(f"Unsealed {report.spans:,} spans; {report.candles:,} candles are rows again.")


def _run(work: Work, symbols: list[str] | None, timeframes: list[str] | None, config: Config) -> SealReport:
    from chandlery.cli.progress import status_line
    from chandlery.domain.timeframe import timeframe
    from chandlery.services.opening import open_storage
    from chandlery.services.seal import Sealer, SealReport

    names = [timeframe(name).name for name in timeframes or ()]
    with open_storage(settings_from(config)) as storage, status_line(described) as show:
        storage.require_schema()
        sealer = Sealer(storage, show)
        return sum((work(sealer, entry) for entry in sealer.entries(symbols or (), names)), SealReport())


def _plain(report: SealReport) -> dict[str, Any]:
    named = {name: getattr(report, name) for name in ("repaired", "given_up", "damaged", "passed_over")}
    return {
        "spans": report.spans,
        "candles": report.candles,
        "bytes": report.bytes,
        "rows_dropped": report.rows_dropped,
        **{name: [{**plain_series(unit.series), **plain_span(unit.span)} for unit in of] for name, of in named.items()},
    }


def described(series: Series, span: Span) -> str:
    """What is worked on."""
    return f"{series} {day(span.start)}"


def _tell(report: SealReport, *, drop_rows: bool) -> None:
    each = f" ({size(report.bytes)}, {report.bytes / report.candles:.1f} bytes each)" if report.candles else ""
    say(f"Sealed {report.spans:,} spans with {report.candles:,} candles{each}.")
    if drop_rows:
        say(f"Dropped {report.rows_dropped:,} rows.")
    for unit in report.repaired:
        complain(f"{unit} was damaged, and is sealed anew from its rows.")
    for unit in report.given_up:
        complain(f"{unit} was damaged and is given up. Run chandlery collect for it.")
    for unit in report.damaged:
        complain(f"{unit} is damaged and has no rows. To collect it again: chandlery seal --refetch, then collect.")
    for unit in report.passed_over:
        complain(f"{unit} holds rows that are no candles, and cannot be sealed. They were written by hand.")


_DAYS = {"d": 1, "w": 7}


def age_ms(text: str) -> UtcMs:
    """The milliseconds of an age such as ``45d`` or ``26w``. Raises DataValidationError."""
    match = re.fullmatch(r"(\d{1,5})([dw])", text)
    if match is None:
        raise DataValidationError(f"{text!r} is not an age.", hint="Use days or weeks, such as 45d or 26w.")
    return int(match[1]) * _DAYS[match[2]] * 86_400_000
