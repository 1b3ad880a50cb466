"""The folder ``features``: files of float32, which Qlib finds by name and places by their first number."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from chandlery.services.export_qlib.checking.findings import Finding, error, warning
from chandlery.services.export_qlib.checking.instruments import Listed
from chandlery.services.export_qlib.layout import FEATURES, folder_of, normal_freq, symbol_of
from chandlery.services.export_qlib.reading import Times

_WIDTH = 4
_WANTED = {"factor": "the backtest falls back to adjusted prices and warns", "vwap": "Alpha158's VWAP0 is all NaN"}


def check_features(root: Path, calendars: dict[str, Times], listed: Listed) -> Iterator[Finding]:
    """Judge the folder of each symbol, and that symbols and folders belong together."""
    folders = sorted(path for path in (root / FEATURES).iterdir() if path.is_dir())
    spelled = {path.name for path in folders}
    for symbol in listed:
        if folder_of(symbol) not in spelled:
            yield error(f"{FEATURES}/{folder_of(symbol)}", f"is missing: {symbol} is listed, but without values.")
    known = {folder_of(symbol): symbol for symbol in listed}
    for folder in folders:
        where = f"{FEATURES}/{folder.name}"
        if folder.name != folder.name.lower():
            yield error(where, "has capitals in its name: Qlib looks in lower case, and every query of it is empty.")
        elif folder.name not in known:
            yield warning(where, f"{symbol_of(folder.name)} is in no list: only a query by name finds it.")
        yield from _check_folder(where, folder, calendars, listed.get(known.get(folder.name, ""), []))


def _check_folder(
    where: str, folder: Path, calendars: dict[str, Times], spans: list[tuple[np.datetime64, np.datetime64]]
) -> Iterator[Finding]:
    fields: dict[str, dict[str, tuple[int, int]]] = {}
    for path in sorted(folder.iterdir()):
        field, _, rest = path.name.partition(".")
        freq = rest.removesuffix(".bin")
        if not rest.endswith(".bin") or path.name != path.name.lower():
            yield error(f"{where}/{path.name}", "is not <field>.<freq>.bin in lower case: Qlib does not find it.")
        elif normal_freq(freq) != freq or freq not in calendars:
            yield error(f"{where}/{path.name}", _lost(freq, calendars))
        else:
            place = yield from _check_bin(f"{where}/{path.name}", path, len(calendars[freq]))
            if place is not None:
                fields.setdefault(freq, {})[field] = place
    for freq, places in fields.items():
        yield from _check_together(where, freq, places, calendars[freq], spans)


def _lost(freq: str, calendars: dict[str, Times]) -> str:
    normal = normal_freq(freq)
    if normal in calendars and normal != freq:
        return f"spells its frequency {freq}: a query for {normal} finds the calendar and no values, silently."
    return f"is of the frequency {freq}, which has no calendar: it cannot be queried."


def _check_bin(where: str, path: Path, rows: int) -> Generator[Finding, None, tuple[int, int] | None]:
    """Findings of one file; returns the rows that it fills, from and to before, or None."""
    size = path.stat().st_size
    if size < 2 * _WIDTH or size % _WIDTH:
        yield error(where, f"has {size} bytes, which is no row number and at least one float32: it cannot be read.")
        return None
    start = float(np.fromfile(path, dtype="<f4", count=1)[0])
    if not (np.isfinite(start) and start >= 0 and start == int(start)):
        yield error(where, f"begins with {start:g}, which is no row of the calendar: a header is missing or damaged.")
        return None
    end = int(start) + size // _WIDTH - 1
    if end > rows:
        yield error(
            where,
            f"ends at row {end:,} of a calendar of {rows:,}: values and times do not belong together; either the "
            "calendar was cut, or rows came in front of it and everything is shifted.",
        )
    return int(start), end


def _check_together(
    where: str,
    freq: str,
    places: dict[str, tuple[int, int]],
    times: Times,
    spans: list[tuple[np.datetime64, np.datetime64]],
) -> Iterator[Finding]:
    """The fields of one symbol in one frequency: the same rows, within the listed span, none of use missing."""
    if len(set(places.values())) > 1:
        yield warning(where, f"its fields in {freq} do not fill the same rows: one was updated without the others.")
    for field, consequence in _WANTED.items():
        if field not in places:
            yield warning(where, f"has no ${field} in {freq}: {consequence}.")
    start, end = min(first for first, _ in places.values()), max(end for _, end in places.values())
    filled = times[start : min(end, len(times))]
    shown = np.zeros(len(filled), dtype=np.bool_)
    for first, last in spans:
        shown |= (filled >= first) & (filled <= last)
    if spans and not shown.all():
        hidden = int(np.count_nonzero(~shown))
        yield error(where, f"{hidden:,} rows in {freq} lie outside its span in the list of instruments: never shown.")
