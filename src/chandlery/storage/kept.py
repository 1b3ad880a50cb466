"""What is kept of a series by months: as rows, as a segment, as an archived file; and the ways in which it goes.

All functions work in the transaction that their connection is in. Whoever changes something holds the series' lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.storage.archived import ArchiveFile
from chandlery.storage.partitions import table_name, table_of
from chandlery.storage.pgtime import to_datetime, to_ms, to_multirange
from chandlery.storage.sealed import SealedSeries, is_empty, let_readers_end, unit_of
from chandlery.storage.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is sealed as one, or would be: ``rows`` of its ``candles`` stand in the table.

    ``sealed_at`` tells one segment from the next, None where nothing is sealed; ``segment_bytes`` is 0 if the segment
    is not in the database; ``file`` holds the same candles outside of it.
    """

    span: Span
    candles: int
    rows: int
    sealed_at: datetime | None = None
    segment_bytes: int = 0
    file: ArchiveFile | None = None


class KeptSeries:
    """One series in the transaction that ``connection`` is in."""

    def __init__(self, connection: psycopg.Connection, instrument_id: int, series: Series) -> None:
        self.sealed = SealedSeries(connection, instrument_id, series)
        self._connection = connection
        self._series = series
        self._table = table_of(series.timeframe)
        self._key: dict[str, Any] = {"instrument_id": instrument_id, "timeframe": series.timeframe.name}

    def lock(self) -> None:
        """Keep writers of this series away, and take it on us to keep segments and rows in step."""
        self.sealed.lock()
        self.sealed.mind_segments()

    def all(self, *, rows_before: UtcMs) -> list[Kept]:
        """Everything sealed, and what stands as rows alone before then, in order."""
        sealed = {kept.span: kept for kept in self._sealed()}
        loose = {kept.span: kept for kept in self._rows(rows_before) if kept.span not in sealed}
        both = sealed | loose
        return [both[span] for span in sorted(both)]

    def sealed_months(self) -> list[Kept]:
        """Everything sealed, in order."""
        return list(self._sealed())

    def newest_row(self) -> UtcMs | None:
        """When the newest candle opens that stands as a row."""
        statement = sql.SQL("SELECT max(open_time) FROM {} WHERE instrument_id = %s AND timeframe = %s")
        row = self._connection.execute(statement.format(self._table), list(self._key.values())).fetchone()
        return None if row is None or row[0] is None else to_ms(row[0])

    def register(self, kept: Kept, file: ArchiveFile) -> bool:
        """Remember that the candles of a segment are in ``file`` too; false if that segment is no more."""
        return self._change("register_archive", kept, file)

    def leave_to_archive(self, kept: Kept) -> bool:
        """Forget the bytes of a segment that is archived and has no rows; false if it is not so any more."""
        assert kept.file is not None
        return self._change("leave_to_archive", kept, kept.file)

    def retire(self, kept: Kept, bars: Span) -> bool:
        """Drop all candles of ``kept`` for good, and remember that ``bars`` were known; false if it has changed."""
        now = {one.span: one for one in self._sealed()}.get(kept.span)
        if (now and now.sealed_at) != kept.sealed_at:
            return False
        self._connection.execute(query("drop_rows", table=self._table), self._values(kept.span))
        self.sealed.drop_segments([kept.span])
        self._connection.execute(query("retire"), self._key | {"bars": to_multirange(Spans([bars]))})
        return True

    def _sealed(self) -> list[Kept]:
        return [
            Kept(
                span=Span(to_ms(start), to_ms(end)),
                candles=candles,
                rows=candles if rows_kept else 0,
                sealed_at=sealed_at,
                segment_bytes=size,
                file=None if file[0] is None else ArchiveFile(*file),
            )
            for start, end, sealed_at, candles, rows_kept, size, *file in self._execute("kept_sealed")
        ]

    def _rows(self, before: UtcMs) -> list[Kept]:
        statement = query("kept_rows", table=self._table)
        rows = self._connection.execute(statement, self._key | {"end": to_datetime(before)}).fetchall()
        timeframe = self._series.timeframe
        return [Kept(span=unit_of(timeframe, to_ms(start)), candles=count, rows=count) for start, count in rows]

    def _execute(self, name: str) -> list[Any]:
        return self._connection.execute(query(name), self._key).fetchall()

    def _change(self, name: str, kept: Kept, file: ArchiveFile) -> bool:
        values = {"sealed_at": kept.sealed_at, "file": file.name, "bytes": file.size, "sha256": file.sha256}
        return self._connection.execute(query(name), self._values(kept.span) | values).rowcount == 1

    def _values(self, span: Span) -> dict[str, Any]:
        return self._key | {"start": to_datetime(span.start), "end": to_datetime(span.end)}


def partitions_there(connection: psycopg.Connection, timeframe: Timeframe) -> frozenset[str]:
    """The names of a timeframe's partitions, without the schema."""
    table = f"chandlery.{table_name(timeframe)}"
    return frozenset(name for (name,) in connection.execute(query("partitions_there"), {"table": table}))


def rows_in(connection: psycopg.Connection, partition: str) -> int:
    """How many rows a partition has, once all who write there have ended; until the transaction ends no more come."""
    table = sql.Identifier("chandlery", partition)
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
    return int(row[0]) if row else 0


def drop_if_empty(connection: psycopg.Connection, partition: str) -> None:
    """Drop a partition that has no rows; looking at one that has some stops nobody."""
    if is_empty(connection, sql.Identifier("chandlery", partition)):
        let_readers_end(connection)
        if not rows_in(connection, partition):
            drop_partition(connection, partition)


def drop_partition(connection: psycopg.Connection, partition: str) -> None:
    """Give all its space back at once; who needs it again makes it again. First ``let_readers_end``."""
    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("chandlery", partition)))
