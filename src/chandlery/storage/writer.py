"""Writing candles: one transaction for all that is handed over, the ledger included, or nothing.

Writing the same twice changes nothing, so a lost reply to COMMIT is answered by simply writing again. If something
stands in the way of a transaction, it is undone and done again in the manner that gets past it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from chandlery.domain.instrument import Series
from chandlery.domain.rollup import roll_up
from chandlery.domain.span import Span
from chandlery.domain.timeframe import Timeframe
from chandlery.errors import DatabaseError
from chandlery.storage.announcements import announce
from chandlery.storage.bisect import check_at_once
from chandlery.storage.catalog import Catalog
from chandlery.storage.coverage import lock_key
from chandlery.storage.database import Database
from chandlery.storage.delivery import Delivery, RevisionPolicy, SaveResult
from chandlery.storage.derivation import derivable, lock_series
from chandlery.storage.failures import FailureClass
from chandlery.storage.partitions import Partitions
from chandlery.storage.sealed import SealedSeries
from chandlery.storage.target import (
    Manner,
    OthersAreMadeOfThis,
    OutsideWriter,
    PartitionGone,
    Target,
    races_told,
    set_aside_refused,
)
from chandlery.storage.together import Numbered, store_together, worthwhile

if TYPE_CHECKING:
    from chandlery.storage.intake.records import Refused

__all__ = ["Delivery", "RevisionPolicy", "SaveResult", "Writer"]

Work = Callable[[psycopg.Connection, Manner], SaveResult]
"""What is done in the transaction."""


class Writer:
    """Stores deliveries. ``rows_per_copy`` bounds one COPY and the bars it spans, and with them memory and time.

    While ``notify`` is set, every delivery that changes something is announced to those who ``listen``.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        *,
        on_revision: RevisionPolicy = "replace",
        rows_per_copy: int = 100_000,
        notify: bool = False,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._partitions = Partitions(database)
        self._on_revision = on_revision
        self._rows_per_copy = rows_per_copy
        self.notify = notify

    def write(self, deliveries: Sequence[Delivery], refused: Sequence[Refused] = ()) -> SaveResult:
        """Store all deliveries in one transaction. Raises DatabaseError, and then nothing of them is stored.

        ``refused`` are records that belong to no series; they are set aside like rejected rows.
        """
        numbered = [(self._catalog.ensure(d.batch.series.exchange, d.batch.series.symbol), d) for d in deliveries]
        # everybody locks in the same order, so no two writers wait for each other
        numbered.sort(key=lambda pair: lock_key(1, pair[0], pair[1].batch.series))
        spans = [(d.batch.series.timeframe, d.batch.span) for d in deliveries if d.batch.span is not None]
        return self._persist(spans, lambda connection, manner: self._store(connection, numbered, refused, manner))

    def derive(self, series: Series, finer: Timeframe, bars: Span) -> SaveResult:
        """Make the candles of ``series`` in ``bars`` of the stored ``finer`` ones, in one transaction.

        Only bars that are not known, and whose finer candles are known without a gap: nothing fetched is overwritten.
        ``bars`` bounds what is read at once. Raises DatabaseError.
        """
        instrument_id = self._catalog.ensure(series.exchange, series.symbol)

        def work(connection: psycopg.Connection, manner: Manner) -> SaveResult:
            known = derivable(connection, instrument_id, series, finer, bars)
            if known.hull is None:
                return SaveResult()
            source = SealedSeries(connection, instrument_id, replace(series, timeframe=finer))
            made, covered = roll_up(source.stored(known.hull), series.timeframe, known)
            self._database.progressed(connection)
            delivery = Delivery(batch=made, covered=covered, derived=True)
            return self._store(connection, [(instrument_id, delivery)], (), manner)

        return self._persist([(series.timeframe, bars)], work)

    def _persist(self, spans: Sequence[tuple[Timeframe, Span]], work: Work) -> SaveResult:
        """Do ``work`` in one transaction; if something stands in its way, again in the manner that gets past it.

        ``spans`` are those in which candles may open, so that there is a partition for each.
        """
        manner = Manner(on_revision=self._on_revision, rows_per_copy=self._rows_per_copy)
        while True:
            for timeframe, span in spans:
                self._partitions.ensure(timeframe, span)
            try:
                return self._database.transact(_in(manner, work))
            except OutsideWriter:
                # somebody wrote past our lock; now his rows are visible, and a staging table takes any further race
                manner = replace(manner, staged=True)
            except PartitionGone:
                self._partitions.forget()
            except OthersAreMadeOfThis as found:
                manner = replace(manner, locked=manner.locked | found.keys)
            except DatabaseError as error:
                if manner.halving or error.kind != FailureClass.DATA:
                    raise
                manner = replace(manner, halving=True)

    def _store(
        self,
        connection: psycopg.Connection,
        numbered: Sequence[tuple[int, Delivery]],
        refused: Sequence[Refused],
        manner: Manner,
    ) -> SaveResult:
        if manner.halving:
            check_at_once(connection)
        if manner.locked:  # all in one go, in the common order
            own = {lock_key(1, number, delivery.batch.series) for number, delivery in numbered}
            lock_series(connection, tuple(own | manner.locked))
        result = set_aside_refused(connection, refused)
        left, outcomes = list(numbered), []
        if manner.plain and worthwhile(left):
            with races_told():
                inserted, left = store_together(connection, left)
            result += SaveResult(inserted=inserted)
            outcomes = _all_new(numbered, left)
        for instrument_id, delivery in left:
            stored = Target(self._database, connection, instrument_id, delivery, manner).store()
            outcomes.append((delivery, stored))
            result += stored
        if self.notify:
            announce(connection, outcomes)
        return result


def _all_new(numbered: Sequence[Numbered], left: Sequence[Numbered]) -> list[tuple[Delivery, SaveResult]]:
    """What became of the deliveries that are not ``left``: all their candles are new."""
    waiting = {id(delivery) for _, delivery in left}
    stored = [delivery for _, delivery in numbered if id(delivery) not in waiting]
    return [(delivery, SaveResult(inserted=len(delivery.batch))) for delivery in stored]


def _in(manner: Manner, work: Work) -> Callable[[psycopg.Connection], SaveResult]:
    return lambda connection: work(connection, manner)
