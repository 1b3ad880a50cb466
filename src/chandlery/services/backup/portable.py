"""The portable form: candles as Parquet files of doubles, every other table as lines of JSON; no pg_restore needed.

A file holds what is sealed as one, a month below 1h. What was sealed is sealed again when it comes back; of what is in
the archive alone, the name of its file comes back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.errors import DamagedDataError
from chandlery.services.backup.manifest import Manifest
from chandlery.storage.candle_files import read_parquet, write_file
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
from chandlery.storage.partitions import Partitions, table_name, table_of
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.schema import apply_schema
from chandlery.storage.sealed import SealedSeries, guard
from chandlery.storage.sql import query

NOT_PORTABLE = frozenset({"sealed", "schema_version"})
"""Tables that are made anew: segments of the candles, and the schema's revision by the program that restores."""
_ARCHIVED = "sealed"
_ALONE_THERE = sql.SQL("chandlery.sealed WHERE data IS NULL")
_ROWS_AT_ONCE = 5_000


def unit_path(series: Series, span: Span) -> str:
    """Where the candles of a unit stand: a folder an attribute, as DuckDB, pandas, Spark and others read them."""
    bar = table_name(series.timeframe).removeprefix("candle_")
    names = {"exchange": quote(series.exchange, safe=""), "timeframe": bar, "symbol": quote(series.symbol, safe="")}
    folders = "/".join(f"{key}={value}" for key, value in names.items())
    return f"candles/{folders}/{to_datetime(span.start):%Y-%m}.parquet"


def write_portable(connection: psycopg.Connection, contents: Contents, folder: Path, on_series: OnSeries) -> None:
    """Write what ``contents`` lists, each file of candles proved by its fingerprint. Raises DamagedDataError."""
    for of in contents.series:
        on_series(of.series)
        for unit in _in_files(of):
            path = folder / unit_path(of.series, unit.span)
            write_file(path, "parquet", [unit_candles(connection, of, unit)])
            if fingerprint(read_parquet(path, of.series)) != unit.sha256:
                raise DamagedDataError(f"{of.series} does not come back from {path.name} as it is stored.")
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
    partitions = Partitions(database)
    for of in manifest.contents.series:
        for unit in of.units:
            partitions.ensure(of.series.timeframe, unit.span)
            if unit.kept != "rows":
                _guard(database, of.series, unit.span)
    with unhurried(database) as connection:
        known = {table.name: table for table in plain_tables(connection)}
        # instruments first, because others refer to them
        for name in sorted([*manifest.contents.tables, _ARCHIVED], key=lambda name: (name != "instrument", name)):
            _load_rows(connection, known[name], folder / f"tables/{name}.jsonl")
        for of in manifest.contents.series:
            on_series(of.series)
            _load_candles(connection, of, folder)


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
    candles = read_parquet(folder / unit_path(of.series, unit.span), of.series)
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
