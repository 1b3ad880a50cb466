"""Whether a database holds what a manifest says: a sentence for everything that differs."""

from __future__ import annotations

from collections.abc import Iterator

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import UtcMs
from chandlery.storage.fingerprints import Contents, SeriesPrint, UnitPrint
from chandlery.storage.pgtime import to_datetime


def differences(written: Contents, found: Contents, *, rows_alone: bool = False) -> list[str]:
    """What is in ``found`` otherwise than it was ``written``; nothing if they are the same.

    With ``rows_alone`` only the rows of tables beside the candles are counted.
    """
    before = {of.series: of for of in written.series}
    after = {of.series: of for of in found.series}
    sentences = [f"{_name(series)} is missing." for series in before if series not in after]
    sentences += [f"{_name(series)} was not in the backup." for series in after if series not in before]
    for series, of in before.items():
        if series in after:
            sentences += _in_series(of, after[series])
    return [*sentences, *_in_tables(written, found, rows_alone)]


def _in_series(before: SeriesPrint, after: SeriesPrint) -> Iterator[str]:
    old, new = ({unit.span: unit for unit in of.units} for of in (before, after))
    for span in sorted(old.keys() | new.keys()):
        sentence = _in_unit(old.get(span), new.get(span))
        if sentence:
            yield f"{_name(before.series)} from {_day(span.start)}: {sentence}"
    if (before.spans, before.derived, before.begins_at) != (after.spans, after.derived, after.begins_at):
        yield f"{_name(before.series)}: the ledger knows other spans."


def _in_unit(before: UnitPrint | None, after: UnitPrint | None) -> str:
    """What differs in one unit, empty if nothing does."""
    if before is None or after is None or before.candles != after.candles:
        counts = [0 if unit is None else unit.candles for unit in (after, before)]
        return f"{counts[0]:,} candles, not {counts[1]:,}."
    if (before.sha256, before.first, before.last) != (after.sha256, after.first, after.last):
        return "other candles."
    return "" if before.kept == after.kept else f"kept as {after.kept}, not as {before.kept}."


def _in_tables(written: Contents, found: Contents, rows_alone: bool) -> Iterator[str]:
    for name, before in written.tables.items():
        after = found.tables.get(name)
        if after is None:
            yield f"the table {name} is missing."
        elif after.rows != before.rows:
            yield f"the table {name} has {after.rows:,} rows, not {before.rows:,}."
        elif after.sha256 != before.sha256 and not rows_alone:
            yield f"the table {name} has other rows."


def _name(series: Series) -> str:
    return f"{series.exchange} {series}"


def _day(time: UtcMs) -> str:
    return f"{to_datetime(time):%Y-%m-%d}"
