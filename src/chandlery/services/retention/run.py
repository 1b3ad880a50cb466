"""Planning for a whole database, and doing what is planned, each step in a transaction that looks again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import psycopg

from chandlery.domain.timeframe import TIMEFRAMES, Timeframe, UtcMs
from chandlery.errors import DamagedDataError
from chandlery.services.archive import Archiver
from chandlery.services.retention.plan import (
    Action,
    Policy,
    Step,
    by_partition,
    dropped_whole,
    past_partitions,
    steps_of,
)
from chandlery.storage.archived import decoded
from chandlery.storage.coverage import LedgerEntry, lock_key
from chandlery.storage.derivation import lock_series
from chandlery.storage.kept import Kept, KeptSeries, drop_if_empty, drop_partition, partitions_there, rows_in
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import give_back_space, identical, let_readers_end

OnStep = Callable[[Step], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """What a run did: rows, segments and their bytes that went; files that were archived; partitions dropped whole.

    ``lost`` months were dropped for good; ``changed`` ones were written to meanwhile, and are left to the next run.
    """

    rows: int = 0
    segments: int = 0
    bytes: int = 0
    files: int = 0
    partitions: int = 0
    lost: int = 0
    changed: int = 0

    def plus(self, **counts: int) -> RetentionReport:
        """The same with so many more."""
        return replace(self, **{name: getattr(self, name) + count for name, count in counts.items()})


class Keeper:
    """Does what ``policy`` says, as of ``now`` (UTC milliseconds); ``on_step`` is told of each step first."""

    def __init__(
        self, storage: PostgreSQLStorage, policy: Policy, now: UtcMs, on_step: OnStep = lambda _: None
    ) -> None:
        """Raises ConfigurationError if the place of the archive cannot be one."""
        self._database = storage.database
        self._ledger = storage.ledger
        self._catalog = storage.catalog
        self._policy = policy
        self._now = now
        self._on_step = on_step
        self._archiver = Archiver(storage, policy.place) if policy.place is not None else None
        self._report = RetentionReport()

    def plan(self, symbols: Sequence[str] = ()) -> list[Step]:
        """All that is due, of all series or those of ``symbols``, by series and month.

        Raises DataNotFoundError for a symbol of which nothing is stored.
        """
        entries = self._ledger.entries()
        wanted = self._catalog.among(symbols, [entry.series for entry in entries])
        steps = [step for entry in entries for step in self._due(entry)]
        whole = dropped_whole(steps, self._policy, self._now) if not wanted else set()
        chosen = [step for step in steps if not wanted or step.series.symbol in wanted]
        return [replace(step, partition=step.row_partition) if step.row_partition in whole else step for step in chosen]

    def run(self, steps: Sequence[Step]) -> RetentionReport:
        """Do what was planned. Raises DamagedDataError, StorageError or DatabaseError; what was done stays done."""
        self._report = RetentionReport()
        for partition, of_one in by_partition(steps):
            self._drop_partition(partition, of_one)
        for step in steps:
            if step.action is not Action.KEEP and step.partition is None:
                self._on_step(step)
                self._do(step)
        for timeframe in filter(self._policy.is_finite, TIMEFRAMES.values()):
            self._tidy(timeframe, {step.row_partition for step in steps if step.series.timeframe == timeframe})
        return self._report

    def _due(self, entry: LedgerEntry) -> list[Step]:
        if not self._policy.is_finite(entry.series.timeframe):
            return []

        def look(connection: psycopg.Connection) -> tuple[list[Kept], UtcMs | None]:
            held = _kept(connection, entry)
            return held.all(rows_before=self._policy.rows_before(entry.series.timeframe, self._now)), held.newest_row()

        months, newest = self._database.transact(look)
        return steps_of(entry, months, newest, self._policy, self._now)

    def _do(self, step: Step) -> None:
        if step.action is Action.DROP_ROWS:
            self._report = self._report.plus(rows=self._drop_rows(step))
        elif step.action is Action.LOSE:
            self._lose(step)
        else:
            self._drop_segment(self._archived(step) if step.action is Action.ARCHIVE else step)

    def _drop_partition(self, partition: str, steps: list[Step]) -> None:
        """All of it in one transaction; row by row if it holds more than was planned."""
        for step in steps:
            self._on_step(step)

        def drop(connection: psycopg.Connection) -> bool:
            let_readers_end(connection)
            purposes = (1, 3)
            keys = [lock_key(p, step.entry.instrument_id, step.series) for p in purposes for step in steps]
            lock_series(connection, sorted(set(keys)))
            if rows_in(connection, partition) != sum(step.rows for step in steps):
                return False
            if not all(_is_as_planned(connection, step) for step in steps):
                return False
            for step in steps:
                _kept(connection, step.entry).sealed.leave_to_segment(step.unit)
                self._database.progressed(connection)
            drop_partition(connection, partition)
            return True

        if self._database.transact(drop):
            self._report = self._report.plus(partitions=1, rows=sum(step.rows for step in steps))
            return
        for step in steps:
            self._do(step)

    def _drop_rows(self, step: Step) -> int:
        def drop(connection: psycopg.Connection) -> int:
            held = _kept(connection, step.entry)
            held.lock()
            return held.sealed.drop_rows(step.unit) if _is_as_planned(connection, step) else 0

        return self._counted(self._database.transact(drop))

    def _archived(self, step: Step) -> Step:
        assert self._archiver is not None
        written = self._archiver.archive_month(step.entry, step.kept)
        self._report = self._report.plus(files=written.files)
        return replace(step, kept=self._now_kept(step) or step.kept)

    def _drop_segment(self, step: Step) -> None:
        """Once the file is read again and found equal: from then on it is the only copy here."""
        file = step.kept.file
        if file is None:
            self._counted(0)
            return
        candles = self._database.transact(
            lambda connection: _kept(connection, step.entry).sealed.candles_if_sealed(step.unit)
        )
        if candles is not None and not identical(decoded(step.series, file.fetched()), candles):
            raise DamagedDataError(f"{file.name} is not what is sealed of {step.series}.", hint="Archive it elsewhere.")

        def drop(connection: psycopg.Connection) -> bool:
            held = _kept(connection, step.entry)
            held.lock()
            return held.leave_to_archive(step.kept)

        if self._counted(self._database.transact(drop)):
            self._report = self._report.plus(segments=1, bytes=step.segment_bytes)

    def _lose(self, step: Step) -> None:
        def retire(connection: psycopg.Connection) -> bool:
            held = _kept(connection, step.entry)
            held.lock()
            return held.retire(step.kept, step.bars)

        if self._counted(self._database.transact(retire)):
            sealed = bool(step.segment_bytes)
            self._report = self._report.plus(lost=1, rows=step.rows, segments=sealed, bytes=step.segment_bytes)

    def _counted(self, done: int) -> int:
        """What a step did; nothing, if somebody was there first."""
        if not done:
            self._report = self._report.plus(changed=1)
        return done

    def _now_kept(self, step: Step) -> Kept | None:
        months = self._database.transact(lambda connection: _kept(connection, step.entry).sealed_months())
        return next((kept for kept in months if kept.span == step.unit), None)

    def _tidy(self, timeframe: Timeframe, touched: set[str | None]) -> None:
        """Give back the space of what has become empty: all of a partition whose time is over, else its files."""
        over = past_partitions(self._policy, timeframe, self._now)
        there = self._database.transact(lambda connection: partitions_there(connection, timeframe))
        for partition in sorted(there & (over | touched)):
            work = drop_if_empty if partition in over else give_back_space
            self._database.transact(partial(work, partition=partition))


def _kept(connection: psycopg.Connection, entry: LedgerEntry) -> KeptSeries:
    return KeptSeries(connection, entry.instrument_id, entry.series)


def _is_as_planned(connection: psycopg.Connection, step: Step) -> bool:
    """Whether the month is still the one that was sealed when it was planned, and has its rows."""
    months = _kept(connection, step.entry).sealed_months()
    return any(kept.sealed_at == step.kept.sealed_at and kept.rows for kept in months if kept.span == step.unit)
