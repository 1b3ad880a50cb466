"""The portable form: candles as Parquet files of doubles, every other table as lines of JSON; no pg_restore needed.

A file holds what is sealed as one, a month below 1h. What was sealed is sealed again when it comes back; of what is in
the archive alone, the name of its file comes back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import psycopg
from psycopg import sql

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.errors import DamagedDataError
from chandlery.services.backup.manifest import Manifest
from chandlery.storage.archived import decoded, encoded, file_name
from chandlery.storage.copy_binary import candle_stream
from chandlery.storage.database import Database
from chandlery.storage.fingerprints import (
    Contents,
    OnSeries,
    PlainTable,
    SeriesPrint,
    UnitPrint,
    fingerprint,
    plain_tables,
    unit_candles,
)
from chandlery.storage.held_still import unhurried
from chandlery.storage.partitions import Partitions, table_of
from chandlery.storage.schema import apply_schema
from chandlery.storage.sealed import SealedSeries, guard
from chandlery.storage.sql import query

NOT_PORTABLE = frozenset({"sealed", "schema_version", "pace"})
"""Tables that are made anew: segments of the candles, the schema's revision by the program that restores, and a pace by
those who keep it."""
_CANDLES = "candles"
"""The folder of the files of candles."""
_ARCHIVED = "sealed"
_ALONE_THERE = sql.SQL("chandlery.sealed WHERE data IS NULL")
_ROWS_AT_ONCE = 5_000


def write_portable(connection: psycopg.Connection, contents: Contents, folder: Path, on_series: OnSeries) -> None:
    """Write what ``contents`` lists, each file of candles proved by its fingerprint. Raises DamagedDataError."""
    for of in contents.series:
        on_series(of.series)
        for unit in _in_files(of):
            _write_candles(connection, of, unit, folder)
    (folder / "tables").mkdir()
    for table in plain_tables(connection):
        path = folder / f"tables/{table.name}.jsonl"
        if table.name in contents.tables:
            _write_rows(connection, table.columns, table.identifier, path)
        elif table.name == _ARCHIVED:
            _write_rows(connection, [name for name in table.columns if name != "data"], _ALONE_THERE, path)


def restore_portable(database: Database, folder: Path, manifest: Manifest, on_series: OnSeries) -> None:
    """Bring a portable backup into an empty database: the schema, then all in one transaction. Raises DatabaseError."""
    apply_schema(database)
    _make_partitions(database, manifest.contents)
    with unhurried(database) as connection:
        known = {table.name: table for table in plain_tables(connection)}
        # instruments first, because others refer to them
        for name in sorted([*manifest.contents.tables, _ARCHIVED], key=lambda name: (name != "instrument", name)):
            _load_rows(connection, known[name], folder / f"tables/{name}.jsonl")
        for of in manifest.contents.series:
            on_series(of.series)
            _load_candles(connection, of, folder)


def _make_partitions(database: Database, contents: Contents) -> None:
    """Before the one transaction: partitions are made in others, and triggers where something is sealed."""
    partitions = Partitions(database)
    for of in contents.series:
        for unit in of.units:
            partitions.ensure(of.series.timeframe, unit.span)
            if unit.kept != "rows":
                _guard(database, of.series, unit.span)


def _write_candles(connection: psycopg.Connection, of: SeriesPrint, unit: UnitPrint, folder: Path) -> None:
    data = encoded(unit_candles(connection, of, unit))
    if fingerprint(decoded(of.series, data)) != unit.sha256:
        raise DamagedDataError(f"{of.series} does not come back from a Parquet file as it is stored.")
    path = _path(of, unit, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _path(of: SeriesPrint, unit: UnitPrint, folder: Path) -> Path:
    return folder / file_name(_CANDLES, of.series, unit.span)


def _in_files(of: SeriesPrint) -> list[UnitPrint]:
    """What has a file here."""
    return [unit for unit in of.units if unit.kept != "archive"]


def _guard(database: Database, series: Series, span: Span) -> None:
    database.transact(lambda connection: guard(connection, series.timeframe, span))


def _load_candles(connection: psycopg.Connection, of: SeriesPrint, folder: Path) -> None:
    held = SealedSeries(connection, of.instrument_id, of.series)
    held.lock()
    held.mind_segments()
    for unit in _in_files(of):
        _load_unit(held, of, unit, folder)


def _load_unit(held: SealedSeries, of: SeriesPrint, unit: UnitPrint, folder: Path) -> None:
    candles = decoded(of.series, _path(of, unit, folder).read_bytes())
    if unit.kept == "segment":
        held.seal_alone(unit.span, candles)
        return
    statement = query("insert_candles", table=table_of(of.series.timeframe))
    with held.connection.cursor().copy(statement) as copy:
        for block in candle_stream(candles, of.instrument_id):
            copy.write(block)
    if unit.kept == "both":
        held.seal(unit.span, candles)


def _write_rows(connection: psycopg.Connection, columns: Sequence[str], rows: sql.Composable, path: Path) -> None:
    """A line a row, in no order. Doubles come back to the last bit: PostgreSQL writes as many digits as that takes."""
    with path.open("w", encoding="utf-8") as file, connection.cursor(name="backup") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute(query("rows_as_json", columns=_columns(columns), table=rows))
        file.writelines(f"{line}\n" for (line,) in cursor)


def _load_rows(connection: psycopg.Connection, table: PlainTable, path: Path) -> None:
    """Columns that are not in the file have been added since, and get their defaults."""
    for lines in _some_lines(path):
        written = json.loads(lines[0]).keys()
        columns = _columns([name for name in table.columns if name in written])
        statement = query("load_json", table=table.identifier, columns=columns)
        connection.execute(statement, {"rows": f"[{','.join(lines)}]"})
    for column in table.identities:
        numbering = query("continue_numbering", column=sql.Identifier(column), table=table.identifier)
        connection.execute(numbering, {"table": table.identifier.as_string(), "column": column})


def _some_lines(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8") as file:
        while lines := list(islice(file, _ROWS_AT_ONCE)):
            yield lines


def _columns(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
