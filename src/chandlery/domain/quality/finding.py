"""What a check says: findings, each with its rule, how bad it is, where, and what to do.

docs/quality.md has the same rules for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span


class Severity(IntEnum):
    """How bad a finding is: worth knowing, worth a look, or wrong."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.lower()


class Rule(StrEnum):
    """What a finding is about; the values stand in JSON and never change."""

    GAP_UNCOVERED = "gap-uncovered"
    GAP_MISSING_ROWS = "gap-missing-rows"
    BROKEN_OHLC = "broken-ohlc"
    MISALIGNED = "misaligned"
    DUPLICATE = "duplicate"
    FUTURE = "future"
    UNSORTED = "unsorted"
    UNREADABLE = "unreadable"
    TIMEFRAME_MISMATCH = "timeframe-mismatch"
    EXCHANGE_MISMATCH = "exchange-mismatch"
    STALE = "stale"
    OUTAGE = "outage"
    PRICE_SPIKE = "price-spike"
    PRICE_JUMP = "price-jump"
    REJECTED = "rejected"
    REVISION = "revision"
    QUIET_RUN = "quiet-run"


_AGAIN = "Fetch these bars again: chandlery check --repair."

_KNOWN: dict[Rule, tuple[Severity, str]] = {
    Rule.GAP_UNCOVERED: (Severity.ERROR, "Fetch it: chandlery check --repair, or chandlery collect."),
    Rule.GAP_MISSING_ROWS: (Severity.WARNING, "Ask again: chandlery check --repair. If it stays, nobody has it."),
    Rule.BROKEN_OHLC: (Severity.ERROR, _AGAIN),
    Rule.MISALIGNED: (Severity.ERROR, "Delete these rows: no bar of this timeframe opens then."),
    Rule.DUPLICATE: (Severity.ERROR, "Keep one row a bar, or remove the file and collect again."),
    Rule.FUTURE: (Severity.ERROR, "Delete these rows: their bars have not closed. Look at the clock that wrote them."),
    Rule.UNSORTED: (Severity.WARNING, "Sort the file by time, or import it: an import takes any order."),
    Rule.UNREADABLE: (Severity.ERROR, "Repair these rows, or remove the file and collect again."),
    Rule.TIMEFRAME_MISMATCH: (Severity.WARNING, "Fetch both again: chandlery check --repair."),
    Rule.EXCHANGE_MISMATCH: (Severity.ERROR, _AGAIN),
    Rule.STALE: (Severity.WARNING, "Run chandlery collect; if the instrument was delisted, check with --until."),
    Rule.OUTAGE: (Severity.WARNING, "The exchange stood still: leave this time out of what learns from it."),
    Rule.PRICE_SPIKE: (Severity.WARNING, "Compare with another source; --repair asks the exchange again."),
    Rule.PRICE_JUMP: (Severity.WARNING, "Look for news, a split or a wrong unit; --repair asks the exchange again."),
    Rule.REJECTED: (Severity.WARNING, "Look at the table chandlery.rejected."),
    Rule.REVISION: (Severity.INFO, "Look at the table chandlery.revision; what was computed before may differ."),
    Rule.QUIET_RUN: (Severity.INFO, "Nothing traded: a halt, or a dull hour. Nothing is missing."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    ``series`` is one series, or all those that an outage silenced. ``span`` is made of whole bars. ``count`` is in
    bars or rows, in series for an outage. ``advice`` is the next step.
    """

    rule: Rule
    severity: Severity
    series: tuple[Series, ...]
    span: Span
    count: int
    message: str
    advice: str


def finding(
    rule: Rule,
    series: Series | tuple[Series, ...],
    span: Span,
    count: int,
    message: str,
    *,
    severity: Severity | None = None,
) -> Finding:
    """A finding with the severity (unless another is given) and the advice of its rule."""
    usual, advice = _KNOWN[rule]
    concerned = series if isinstance(series, tuple) else (series,)
    return Finding(
        rule=rule,
        severity=usual if severity is None else severity,
        series=concerned,
        span=span,
        count=count,
        message=message,
        advice=advice,
    )


def counted(count: int, thing: str) -> str:
    """``1 bar``, ``1,200 bars``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
