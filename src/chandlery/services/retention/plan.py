"""Retention: what has served its term goes, in this order: rows that are sealed, segments that are archived.

First a plan, which is what ``--dry-run`` shows, then its steps, each in a transaction of its own that looks again. So
it can be killed at any moment, and the next run plans what is left. Nothing goes of which this would be the last copy,
unless somebody has said so; then the ledger remembers it as known, and it is not fetched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, TIMEFRAMES, Timeframe, UtcMs
from chandlery.services.seal import bars_of
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.kept import Kept
from chandlery.storage.partitions import partitions_of


class Action(StrEnum):
    """What becomes of a month. ``KEEP`` means that its term is over, and something stands in the way."""

    DROP_ROWS = "drop rows"
    ARCHIVE = "archive, drop segment"
    DROP_SEGMENT = "drop segment"
    LOSE = "drop for good"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """How many days rows and segments are kept after their last bar has closed; None is for ever."""

    rows: int | None = None
    segments: int | None = None

    def rows_due(self, closed: UtcMs, now: UtcMs) -> bool:
        """Whether rows that closed then have served their term."""
        return self.rows is not None and closed + self.rows * DAY_MS <= now

    def segments_due(self, closed: UtcMs, now: UtcMs) -> bool:
        """The same of segments."""
        return self.segments is not None and closed + self.segments * DAY_MS <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the settings say: ``terms`` by timeframe; ``place`` to archive to first, None for nowhere.

    ``lose`` permits that what has no other copy is dropped for good.
    """

    terms: Mapping[Timeframe, Term]
    place: str | None = None
    lose: bool = False

    def is_finite(self, timeframe: Timeframe) -> bool:
        """Whether anything of this timeframe goes at some time."""
        return self.terms.get(timeframe, Term()) != Term()

    def rows_before(self, timeframe: Timeframe, now: UtcMs) -> UtcMs:
        """Rows that open later have not served their term."""
        days = self.terms.get(timeframe, Term()).rows
        return 0 if days is None else max(0, now - days * DAY_MS)


NEWEST = "it holds the newest candle of the series"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do with one month (a year from 1h on, a decade from 1d on) of a series, and ``why``.

    ``rows`` and ``segment_bytes`` are what goes, or would go if nothing stood in the way. ``partition`` goes as a whole
    together with the other steps of its name.
    """

    entry: LedgerEntry
    kept: Kept
    action: Action
    why: str
    rows: int = 0
    segment_bytes: int = 0
    partition: str | None = None

    @property
    def series(self) -> Series:
        """Whose month it is."""
        return self.entry.series

    @property
    def unit(self) -> Span:
        """The month."""
        return self.kept.span

    @property
    def holds_newest(self) -> bool:
        """Whether it stays because every series keeps its newest candle as a row."""
        return self.why == NEWEST

    @property
    def bars(self) -> Span:
        """Its bars."""
        return bars_of(self.series.timeframe, self.unit)

    @property
    def row_partition(self) -> str | None:
        """The partition in which its rows stand, None if it is not about rows."""
        [(name, _)] = partitions_of(self.series.timeframe, self.unit)
        return name if self.rows else None


def steps_of(
    entry: LedgerEntry, months: Iterable[Kept], newest: UtcMs | None, policy: Policy, now: UtcMs
) -> list[Step]:
    """What is due of a series whose newest row opens at ``newest``; a segment stays as long as its rows."""
    term = policy.terms.get(entry.series.timeframe, Term())
    steps: list[Step] = []
    for kept in months:
        closed = bars_of(entry.series.timeframe, kept.span).end
        rows_stay = kept.rows > 0
        if kept.rows and term.rows_due(closed, now):
            step = _of_rows(entry, kept, newest, term, policy, now)
            rows_stay = step.action is Action.KEEP
            steps.append(step)
        if kept.segment_bytes and term.segments_due(closed, now) and not rows_stay:
            steps.append(_of_segment(entry, kept, policy))
    return steps


def _of_rows(entry: LedgerEntry, kept: Kept, newest: UtcMs | None, term: Term, policy: Policy, now: UtcMs) -> Step:
    """Rows go if a segment holds the same; without one only at the end of all."""
    action, why = Action.DROP_ROWS, f"rows older than {term.rows} days, sealed"
    if kept.sealed_at is None:
        due = term.segments_due(bars_of(entry.series.timeframe, kept.span).end, now)
        action, why = Action.KEEP, "not sealed; look at chandlery check, then run chandlery seal"
        if due and policy.lose:
            action, why = Action.LOSE, f"older than {term.segments} days, without any copy"
    if newest is not None and newest < kept.span.end:
        action, why = Action.KEEP, NEWEST
    return Step(entry=entry, kept=kept, action=action, why=why, rows=kept.rows)


def _of_segment(entry: LedgerEntry, kept: Kept, policy: Policy) -> Step:
    """A segment goes if a file holds the same."""
    if kept.file is not None:
        action, why = Action.DROP_SEGMENT, f"archived in {kept.file.name}"
    elif policy.place is not None:
        action, why = Action.ARCHIVE, f"to {policy.place}"
    elif policy.lose:
        action, why = Action.LOSE, "without any copy"
    else:
        action, why = Action.KEEP, "not archived; set retention.archive, or run chandlery archive"
    return Step(entry=entry, kept=kept, action=action, why=why, segment_bytes=kept.segment_bytes)


def dropped_whole(steps: Sequence[Step], policy: Policy, now: UtcMs) -> set[str]:
    """The partitions whose whole time is over, and of which these steps leave no row that they know of."""
    over = {name for bar in {step.series.timeframe for step in steps} for name in past_partitions(policy, bar, now)}
    going = {step.row_partition for step in steps if step.action is Action.DROP_ROWS}
    staying = {step.row_partition for step in steps if step.action is not Action.DROP_ROWS}
    return {name for name in going - staying if name in over}


def past_partitions(policy: Policy, timeframe: Timeframe, now: UtcMs) -> set[str]:
    """The names of all partitions whose whole time is over, whether they exist or not."""
    return {name for name, bounds in partitions_of(timeframe, Span(0, now)) if _due(policy, timeframe, bounds, now)}


def _due(policy: Policy, timeframe: Timeframe, bounds: Span, now: UtcMs) -> bool:
    """A week that opens in a partition may close after its end."""
    return policy.terms.get(timeframe, Term()).rows_due(bars_of(timeframe, bounds).end, now)


def by_partition(steps: Sequence[Step]) -> list[tuple[str, list[Step]]]:
    """The steps that drop whole partitions, by the partition."""
    named = [(step.partition, step) for step in steps if step.partition is not None]
    groups = groupby(sorted(named, key=lambda pair: pair[0]), key=lambda pair: pair[0])
    return [(name, [step for _, step in group]) for name, group in groups]


def policy_of(
    rows: Mapping[str, int], segments: Mapping[str, int], days: int | None, place: str | None, *, lose: bool = False
) -> Policy:
    """The settings as a policy: ``days`` is the term of segments that have none, and segments' that of such rows."""
    terms = {}
    for name, timeframe in TIMEFRAMES.items():
        of_segments = segments.get(name, days)
        terms[timeframe] = Term(rows=rows.get(name, of_segments), segments=of_segments)
    return Policy(terms=terms, place=place, lose=lose)
