"""Each way in which a folder makes Qlib stumble is found, and said with what comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from candles import START, candles, series
from chandlery.errors import ConfigurationError
from chandlery.services.export_qlib import Selection, export_qlib
from chandlery.services.export_qlib.checking import check_folder
from chandlery.storage.postgres import PostgreSQLStorage
from exported import store

CLOSE = "features/btc-usdt/close.day.bin"
Damage = Callable[[Path], object]


_GOOD: list[Path] = []


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good folder, exported once and copied for each test; without its manifest it could be anybody's."""
    if not _GOOD:
        storage: PostgreSQLStorage = request.getfixturevalue("storage")
        for interval, count in (("1m", 2000), ("1d", 5)):
            store(storage, candles(series("BTC-USDT", interval), count, start=START))
        _GOOD.append(tmp_path_factory.mktemp("good") / "qlib")
        export_qlib(storage, _GOOD[0], Selection())
    shutil.copytree(_GOOD[0], tmp_path / "qlib", ignore=shutil.ignore_patterns("chandlery.json"))
    return tmp_path / "qlib"


def rename(name: str, other: str) -> Damage:
    return lambda folder: (folder / name).rename(folder / other)


def write(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text)


def numbers(*values: float) -> Damage:
    return lambda folder: np.array(values, dtype="<f4").tofile(folder / CLOSE)


def _thin_out(folder: Path) -> None:
    (folder / "calendars" / "day.txt").write_text("".join(f"2024-01-0{day}\n" for day in (1, 2, 3, 4, 6)))
    write("instruments/all.txt", "BTC-USDT\t2024-01-01\t2024-01-06 23:59:59\n")(folder)


def first_line(name: str, line: str) -> Damage:
    return lambda folder: (folder / name).write_text(line + "\n" + (folder / name).read_text())


ERRORS: dict[str, tuple[Damage, str]] = {
    "a foreign calendar": (write("calendars/1h.txt", "2024-01-01\n"), "every query of this folder fails"),
    "a calendar under another name": (rename("calendars/day.txt", "calendars/1d.txt"), "looks for day.txt"),
    "a header in a calendar": (first_line("calendars/day.txt", "date"), "no time, such as a header"),
    "a calendar with a zone": (write("calendars/day.txt", "2024-01-01 00:00:00+00:00\n"), "tz-naive and tz-aware"),
    "an empty calendar": (write("calendars/day.txt", ""), "is empty"),
    "a calendar out of order": (write("calendars/day.txt", "2024-01-02\n2024-01-01\n"), "does not ascend"),
    "values under another frequency": (rename(CLOSE, "features/btc-usdt/close.1d.bin"), "finds the calendar and no"),
    "values without a calendar": (rename(CLOSE, "features/btc-usdt/close.5min.bin"), "has no calendar"),
    "a field in capitals": (rename(CLOSE, "features/btc-usdt/Close.day.bin"), "Qlib does not find it"),
    "a folder in capitals": (rename("features/btc-usdt", "features/BTC-USDT"), "capitals in its name"),
    "values beyond the calendar": (numbers(0, 1, 2, 3, 4, 5, 6), "ends at row 6 of a calendar of 5"),
    "a broken start": (numbers(float("nan"), 1), "no row of the calendar"),
    "a file of odd length": (lambda folder: (folder / CLOSE).write_bytes(b"12345"), "cannot be read"),
    "a header in the instruments": (first_line("instruments/all.txt", "symbol\tfrom\tto"), "as a header has"),
    "too few columns": (write("instruments/all.txt", "BTC-USDT\t2024-01-01\n"), "wants 3"),
    "no list of all": (rename("instruments/all.txt", "instruments/mine.txt"), "no all.txt"),
    "a list in capitals": (rename("instruments/all.txt", "instruments/All.txt"), "capitals in its name"),
    "a name that is none": (first_line("instruments/all.txt", "NULL\t2024-01-01\t2024-01-05"), "no value"),
    "names that differ in case": (first_line("instruments/all.txt", "btc-usdt\t2024-01-01\t2024-01-05"), "case alone"),
    "a start within a day": (
        write("instruments/all.txt", "BTC-USDT\t2024-01-01 08:00:00\t2024-01-05 23:59:59\n"),
        "1 rows in day lie outside its span",
    ),
    "an end before the last bar": (write("instruments/all.txt", "BTC-USDT\t2024-01-01\t2024-01-02\n"), "never shown"),
    "an end before the start": (write("instruments/all.txt", "BTC-USDT\t2024-01-09\t2024-01-02\n"), "never shown"),
    "a symbol without values": (first_line("instruments/all.txt", "X-Y\t2024-01-01\t2024-01-05"), "without values"),
}  # fmt: skip

WARNINGS: dict[str, tuple[Damage, str]] = {
    "a sparse calendar": (_thin_out, "leaves out 1 bars"),
    "no vwap": (lambda folder: (folder / "features/btc-usdt/vwap.day.bin").unlink(), "VWAP0"),
    "no factor": (lambda folder: (folder / "features/btc-usdt/factor.day.bin").unlink(), "adjusted prices"),
    "a field that was left behind": (numbers(0, 1, 2), "updated without the others"),
    "a folder that nobody lists": (lambda folder: (folder / "features/x-y").mkdir(), "in no list"),
    "an end at midnight": (write("instruments/all.txt", "BTC-USDT\t2024-01-01\t2024-01-06\n"), "ends at midnight"),
}  # fmt: skip


def test_a_good_folder_has_no_findings(folder: Path) -> None:
    assert check_folder(folder) == []


@pytest.mark.parametrize("name", ERRORS)
def test_what_makes_qlib_fail_or_lie_is_an_error(folder: Path, name: str) -> None:
    damage, told = ERRORS[name]
    damage(folder)
    assert any(told in finding.what for finding in check_folder(folder) if finding.level == "error")


@pytest.mark.parametrize("name", WARNINGS)
def test_what_works_and_may_surprise_is_a_warning(folder: Path, name: str) -> None:
    damage, told = WARNINGS[name]
    damage(folder)
    findings = check_folder(folder)
    assert any(told in finding.what for finding in findings if finding.level == "warning")
    assert not [finding for finding in findings if finding.level == "error"]


def test_an_export_that_somebody_changed_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(_GOOD[0], tmp_path / "ours")
    numbers(0, 1, 2, 3, 4, 5)(tmp_path / "ours")
    (tmp_path / "ours" / "features" / "btc-usdt" / "vwap.1min.bin").unlink()
    told = {finding.where: finding.what for finding in check_folder(tmp_path / "ours") if "export" in finding.what}
    assert told[CLOSE].startswith("was changed")
    assert "is gone" in told["features/btc-usdt/vwap.1min.bin"]


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        check_folder(tmp_path / "nowhere")
    assert [finding.where for finding in check_folder(tmp_path)] == ["calendars", "instruments", "features"]
