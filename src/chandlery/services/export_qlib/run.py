"""An export from beginning to end: plan, write aside, prove, compare, swap in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.services.export_qlib.comparing import compare
from chandlery.services.export_qlib.layout import SLOW_ROWS, freq_of
from chandlery.services.export_qlib.manifest import Manifest, carry_over, names_in
from chandlery.services.export_qlib.reading import QlibFolder
from chandlery.services.export_qlib.replacing import aside
from chandlery.services.export_qlib.report import ExportReport, SeriesReport
from chandlery.services.export_qlib.selection import Plan, Selection, plan
from chandlery.services.export_qlib.writing import write_calendar, write_instruments, write_series
from chandlery.storage.postgres import PostgreSQLStorage


def export_qlib(
    storage: PostgreSQLStorage,
    folder: Path,
    selection: Selection,
    on_series: Callable[[Series, int, int], None] = lambda *_: None,
) -> ExportReport:
    """Make ``folder`` hold exactly the selection, for Qlib's ``provider_uri``.

    The folder is replaced only when all that was written has been read back and equals the database, and only if
    something changed. ``on_series`` is told which series comes next, how many are done, and how many there are.
    Raises DataNotFoundError, ConfigurationError, StorageError, DatabaseError.
    """
    with aside(folder) as place:
        before = Manifest.read(place.folder)
        chosen = plan(storage, selection)
        if before is not None:
            carry_over(place.folder, before, place.new)
        carried = set(names_in(place.new))
        series = _write(storage, chosen, place.new, on_series)
        written = Manifest.of(place.new, without=carried)
        written.write(place.new)
        outcome, why = compare(place.folder, before, place.new, written)
        size = sum((place.new / name).stat().st_size for name in written.files)
        if outcome != "unchanged":
            place.swap_in()
    return ExportReport(
        folder=folder,
        outcome=outcome,
        why=why,
        series=series,
        files=len(written.files),
        size=size,
        warnings=_warnings(chosen, series),
    )


def _write(
    storage: PostgreSQLStorage, chosen: Plan, root: Path, on_series: Callable[[Series, int, int], None]
) -> list[SeriesReport]:
    calendars = chosen.calendars
    for calendar in calendars.values():
        write_calendar(root, calendar)
    write_instruments(root, chosen.instruments)
    folder = QlibFolder(root)  # one for all series: it reads each calendar once
    reports: list[SeriesReport] = []
    for series, span in chosen.spans.items():
        on_series(series, len(reports), len(chosen.spans))
        reports.append(write_series(storage.reader, series, span, calendars[series.timeframe], folder))
    return reports


def _warnings(chosen: Plan, reports: list[SeriesReport]) -> list[str]:
    found = []
    minutes = chosen.calendars.get(TIMEFRAMES["1m"])
    if minutes is not None and len(minutes) > SLOW_ROWS:
        found.append(
            f"The calendar {freq_of(minutes.timeframe)} has {len(minutes):,} rows, which every process of Qlib reads "
            "in about 4 s a million; --since shortens it."
        )
    silent = sum(report.without_turnover for report in reports)
    if silent:
        found.append(f"{silent:,} candles have no turnover, and so no $amount and no $vwap.")
    return found
