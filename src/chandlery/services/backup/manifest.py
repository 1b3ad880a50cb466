"""What a backup says of itself: ``manifest.json``, with the versions, the fingerprint of all it holds, and its files.

Beside it stands the manifest's own SHA-256, so that a changed byte is found there too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES, UtcMs
from chandlery.errors import StorageError
from chandlery.storage.fingerprints import Contents, SeriesPrint, TablePrint, UnitPrint

Form = Literal["dump", "portable"]
MANIFEST = "manifest.json"
CHECKSUM = "manifest.json.sha256"
_FORMAT = 1
_LARGEST = 1_000_000_000
"""More bytes than any manifest has."""
_ANOTHER = "Take another backup: chandlery backup list."


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Which programs made a backup; ``pg_dump`` is None in the portable form. ``schema`` is the database's revision."""

    program: str
    schema: str
    server: str
    pg_dump: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSum:
    """A file as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One backup. ``files`` has every file but the manifest and its checksum, by its path with slashes."""

    form: Form
    made_at: UtcMs
    database: str
    versions: Versions
    contents: Contents
    files: Mapping[str, FileSum]

    @property
    def candles(self) -> int:
        """How many candles it holds."""
        return sum(series.candles for series in self.contents.series)

    @property
    def bytes(self) -> int:
        """How much room its files take."""
        return sum(file.bytes for file in self.files.values())


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Put it into the backup's folder."""
    text = json.dumps(_as_json(manifest)).encode() + b"\n"
    (folder / MANIFEST).write_bytes(text)
    (folder / CHECKSUM).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. Raises StorageError if it is not as it was written."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _LARGEST:
            raise StorageError(f"{path} is too large for a manifest.", hint=_ANOTHER)
        text, checksum = path.read_bytes(), (folder / CHECKSUM).read_bytes()
    except OSError as error:
        raise StorageError(f"{error.filename} cannot be read: {error.strerror}.", hint=_ANOTHER) from error
    if checksum != f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode():
        raise StorageError(f"{path} is damaged: it does not have the checksum in {CHECKSUM}.", hint=_ANOTHER)
    try:
        return _from_json(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{path} cannot be understood: {error!r}.", hint=_ANOTHER) from error


def _as_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "form": manifest.form,
        "made_at": manifest.made_at,
        "database": manifest.database,
        "versions": asdict(manifest.versions),
        "series": [_series_as_json(series) for series in manifest.contents.series],
        "tables": {name: asdict(table) for name, table in manifest.contents.tables.items()},
        "files": {path: asdict(file) for path, file in manifest.files.items()},
    }


def _series_as_json(of: SeriesPrint) -> dict[str, Any]:
    return {
        "exchange": of.series.exchange,
        "symbol": of.series.symbol,
        "timeframe": of.series.timeframe.name,
        "instrument_id": of.instrument_id,
        "begins_at": of.begins_at,
        "spans": [[span.start, span.end] for span in of.spans],
        "derived": [[span.start, span.end] for span in of.derived],
        "units": [[u.span.start, u.span.end, u.candles, u.first, u.last, u.sha256, u.kept] for u in of.units],
    }


def _from_json(document: dict[str, Any]) -> Manifest:
    if document["format"] != _FORMAT:
        raise ValueError(f"format {document['format']}; this program knows {_FORMAT}")
    tables = {
        name: TablePrint(columns=tuple(t["columns"]), rows=t["rows"], sha256=t["sha256"])
        for name, t in document["tables"].items()
    }
    return Manifest(
        form=document["form"],
        made_at=document["made_at"],
        database=document["database"],
        versions=Versions(**document["versions"]),
        contents=Contents(series=tuple(map(_series_from_json, document["series"])), tables=tables),
        files={path: FileSum(**file) for path, file in document["files"].items()},
    )


def _series_from_json(document: dict[str, Any]) -> SeriesPrint:
    return SeriesPrint(
        series=Series(document["exchange"], document["symbol"], TIMEFRAMES[document["timeframe"]]),
        instrument_id=document["instrument_id"],
        begins_at=document["begins_at"],
        spans=Spans(Span(*pair) for pair in document["spans"]),
        derived=Spans(Span(*pair) for pair in document["derived"]),
        units=tuple(
            UnitPrint(span=Span(start, end), candles=candles, first=first, last=last, sha256=sha256, kept=kept)
            for start, end, candles, first, last, sha256, kept in document["units"]
        ),
    )
