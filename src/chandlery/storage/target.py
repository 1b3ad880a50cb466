"""One delivery on its way into the tables, inside a transaction, and what may stand in its way.

Lock the series, read what is stored in the batch's span, skip what is the same, record what differs as a revision,
COPY what is new straight into the table, and extend the coverage. Rows that the server itself refuses, as a constraint
or a trigger of its owner may do, are set aside like rows that broke a rule of ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from psycopg import errors, sql

from chandlery.domain.candle import BoolArray, CandleBatch, Rejected, nothing_new
from chandlery.domain.rollup import within
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import IntArray, UtcMs
from chandlery.storage.bisect import in_halves, set_apart
from chandlery.storage.copy_binary import candle_stream, revision_stream
from chandlery.storage.coverage import extend_coverage, lock_key, read_derived
from chandlery.storage.database import Database
from chandlery.storage.delivery import Delivery, RevisionPolicy, SaveResult
from chandlery.storage.derivation import lock_series, made_of, uncover
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_datetime, to_datetime_or_none
from chandlery.storage.sealed import SealedSeries
from chandlery.storage.sql import query

if TYPE_CHECKING:
    from chandlery.storage.intake.records import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How to store. ``staged``: past a race with an outside writer; ``halving``: past rows that the server refuses;
    ``locked``: with the locks of the series of which derived bars go stale.
    """

    on_revision: RevisionPolicy
    rows_per_copy: int
    staged: bool = False
    halving: bool = False
    locked: frozenset[int] = frozenset()

    @property
    def plain(self) -> bool:
        """Whether nothing is known to stand in the way."""
        return not self.staged and not self.halving


class OutsideWriter(Exception):
    """A row that was absent under our lock is there now."""


class PartitionGone(Exception):
    """A partition that existed was dropped meanwhile."""


class OthersAreMadeOfThis(Exception):
    """Derived bars of other series go stale, and these ``keys`` of theirs are not all locked."""

    def __init__(self, keys: frozenset[int]) -> None:
        super().__init__(keys)
        self.keys = keys


@contextlib.contextmanager
def races_told() -> Iterator[None]:
    """A COPY that fails because of what somebody else does at the same time is no failure of its rows."""
    try:
        with _partition_told():
            yield
    except errors.UniqueViolation as error:
        raise OutsideWriter from error


@contextlib.contextmanager
def _partition_told() -> Iterator[None]:
    try:
        yield
    except errors.CheckViolation as error:
        if error.diag.constraint_name is None:  # "no partition of relation found for row"
            raise PartitionGone from error
        raise


class Target:
    """One delivery on its way into the tables, inside a transaction."""

    def __init__(
        self,
        database: Database,
        connection: psycopg.Connection,
        instrument_id: int,
        delivery: Delivery,
        manner: Manner,
    ) -> None:
        self._database = database
        self._connection = connection
        self._instrument_id = instrument_id
        self._delivery = delivery
        self._series = delivery.batch.series
        self._table = table_of(self._series.timeframe)
        self._key: dict[str, Any] = {"instrument_id": instrument_id, "timeframe": self._series.timeframe.name}
        self._sealed = SealedSeries(connection, instrument_id, self._series)
        self._manner = manner
        self._changed = Spans()

    def store(self) -> SaveResult:
        """Store it. Raises what psycopg raises, or one of the exceptions above if something stands in the way."""
        lock_series(self._connection, [lock_key(1, self._instrument_id, self._series)])
        result = SaveResult(unchanged=self._delivery.repeated, rounded=self._delivery.rounded)
        covered = self._delivery.covered
        for part in _parts(self._delivery.batch, self._manner.rows_per_copy):
            if self._manner.halving:
                stored, refused_bars = self._store_what_fits(part)
                covered -= refused_bars
            else:
                stored = self._store_part(part)
            result += stored
            self._database.progressed(self._connection)
        self._uncover_what_was_made_of_it()
        if covered:
            derived = self._delivery.derived
            extend_coverage(self._connection, self._instrument_id, self._series, covered, derived=derived)
        if self._delivery.rejected:
            result += set_aside(self._connection, self._delivery.rejected)
        return result

    def _uncover_what_was_made_of_it(self) -> None:
        """Derived bars of coarser series in which a candle has changed now are no longer known."""
        stale = made_of(self._connection, self._series.timeframe, [(self._instrument_id, self._changed)])
        keys = frozenset(lock_key(1, number, series) for number, series, _ in stale)
        if keys - self._manner.locked:
            raise OthersAreMadeOfThis(keys)
        uncover(self._connection, stale)

    def _store_what_fits(self, part: CandleBatch) -> tuple[SaveResult, Spans]:
        """Store the rows that the server takes and set the others aside; their bars are not known."""
        result, refusals = in_halves(self._connection, part, self._store_part, SaveResult())
        if not refusals:
            return result, Spans()
        rejected, bars = set_apart(self._series, refusals)
        return result + set_aside(self._connection, rejected), bars

    @property
    def _replaces(self) -> bool:
        """Whether new values take the place of all others; those of a derived candle have no standing of their own."""
        return self._manner.on_revision == "replace" or self._delivery.derived

    def _giving_way(self, part: CandleBatch, changed: BoolArray) -> BoolArray:
        """Those ``changed`` bars whose stored candle gives way: all, or where first values are kept what we derived."""
        if self._replaces or not changed.any():
            return changed
        return changed & within(part.open_time, read_derived(self._connection, self._instrument_id, self._series))

    def _store_part(self, part: CandleBatch) -> SaveResult:
        stored = self._stored(part.span)
        positions, there = _look_up(part.open_time, stored.open_time)
        same = np.zeros(len(part), dtype=np.bool_)
        same[there] = nothing_new(part.take(there), stored.take(positions[there]))
        changed = there & ~same
        giving_way = self._giving_way(part, changed)
        new = part.take(~there)
        written = part.take(~there | giving_way)
        with _partition_told():  # what was dropped with its partition may come back now
            self._sealed.break_seals(written)
        inserted = self._insert(new)
        self._revise(stored.take(positions[changed]), part.take(changed), giving_way[changed])
        self._changed |= written.runs()
        result = SaveResult(inserted=inserted, unchanged=int(same.sum()), revised=int(changed.sum()))
        return result if inserted == len(new) else result + self._settle_race(new, inserted)

    def _stored(self, span: Span | None) -> CandleBatch:
        return CandleBatch.empty(self._series) if span is None else self._sealed.stored(span)

    def _insert(self, new: CandleBatch) -> int:
        if not len(new):
            return 0
        stream = candle_stream(new, self._instrument_id)
        if self._manner.staged:
            return self._insert_staged(stream)
        with races_told():
            self._copy_in(query("insert_candles", table=self._table), stream)
        return len(new)

    def _insert_staged(self, stream: Iterator[bytes]) -> int:
        self._connection.execute("DROP TABLE IF EXISTS pg_temp.candle_staging")
        self._connection.execute(query("make_staging"))
        self._copy_in(query("insert_candles", table=sql.Identifier("pg_temp", "candle_staging")), stream)
        with _partition_told():
            return self._connection.execute(query("insert_staged", table=self._table)).rowcount

    def _settle_race(self, new: CandleBatch, inserted: int) -> SaveResult:
        """Somebody from outside stored some of ``new`` first: his equal rows are unchanged, the others revised."""
        stored = self._stored(new.span)
        positions, _ = _look_up(new.open_time, stored.open_time)
        differs = ~nothing_new(new, stored.take(positions))
        revised = int(differs.sum())
        self._revise(stored.take(positions[differs]), new.take(differs), np.full(revised, self._replaces))
        return SaveResult(unchanged=len(new) - inserted - revised, revised=revised)

    def _revise(self, old: CandleBatch, new: CandleBatch, replaced: BoolArray) -> None:
        if new.span is None:
            return
        self._copy_in(query("insert_revisions"), revision_stream(old, new, replaced, self._instrument_id))
        if replaced.any():
            parameters = self._key | {"start": to_datetime(new.span.start), "end": to_datetime(new.span.end)}
            self._connection.execute(query("apply_revisions", table=self._table), parameters)

    def _copy_in(self, statement: sql.Composed, stream: Iterator[bytes]) -> None:
        with self._connection.cursor().copy(statement) as copy:
            for block in stream:
                copy.write(block)
                self._database.progressed(self._connection)


def set_aside(connection: psycopg.Connection, rejected: Rejected) -> SaveResult:
    """Keep rejected rows with their reason and raw text; the same row seen again is counted, not kept twice."""
    series = rejected.series
    names = (series.exchange, series.symbol, series.timeframe.name)
    return _set_aside(connection, names, rejected.open_time, rejected.reason, rejected.raw)


def set_aside_refused(connection: psycopg.Connection, refused: Sequence[Refused]) -> SaveResult:
    """Keep records that name no series that can be."""
    if not refused:
        return SaveResult()
    reasons, texts = [one.reason for one in refused], [one.raw for one in refused]
    return _set_aside(connection, ("", "", ""), [None] * len(refused), reasons, texts)


def _set_aside(
    connection: psycopg.Connection,
    names: tuple[str, str, str],
    open_times: Sequence[UtcMs | None],
    reasons: Sequence[str],
    texts: Sequence[str],
) -> SaveResult:
    parameters = {
        **dict(zip(("exchange", "symbol", "timeframe"), names, strict=True)),
        "open_time": [to_datetime_or_none(time) for time in open_times],
        "reason": list(reasons),
        "raw": [text.replace("\x00", "\\0") for text in texts],  # PostgreSQL takes no NUL
    }
    connection.execute(query("insert_rejected"), parameters)
    return SaveResult(rejected=len(reasons))


def _parts(batch: CandleBatch, bars: int) -> Iterator[CandleBatch]:
    """Cut where ``bars`` bars are over, so that neither a part nor what is stored in its span is longer."""
    numbers = batch.series.timeframe.ordinal(batch.open_time)
    cuts = np.flatnonzero(np.diff((numbers - numbers[:1]) // bars)) + 1
    edges = [0, *cuts.tolist(), len(batch)]
    return (batch.take(slice(start, end)) for start, end in pairwise(edges) if start < end)


def _look_up(wanted: IntArray, stored: IntArray) -> tuple[IntArray, BoolArray]:
    """For each wanted time its position among the stored ones, and whether it really is there; both ascend."""
    if not len(stored):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=np.bool_)
    positions = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
    return positions, stored[positions] == wanted
