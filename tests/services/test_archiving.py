"""Archived months are read like all others, by us and by DuckDB; what cannot be read is an error, never a hole."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pa_parquet
import pytest

from candles import START, candles, changed, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Span
from chandlery.errors import ConfigurationError, DamagedDataError, StorageError
from chandlery.services import archive as archive_service
from chandlery.services.archive import Archiver, ArchiveReport
from chandlery.services.retention import Action, Keeper, policy_of
from chandlery.services.seal import Sealer, SealReport
from chandlery.storage import archive_places
from chandlery.storage.archive_places import place_of
from chandlery.storage.archived import ArchiveFile, decoded
from chandlery.storage.candle_files import candle_table
from chandlery.storage.delivery import Delivery
from chandlery.storage.kept import KeptSeries
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import identical
from s3_server import bucket

__all__ = ["bucket"]

ROOT = Path(__file__).resolve().parents[2]
DAY = 86_400_000
FIRST = START + 305 * DAY
"""2024-11-01 UTC."""
EVER = Span(0, 4_102_444_800_000)
HALF_HOURS = series(interval="30m")


@pytest.fixture
def months(storage: PostgreSQLStorage) -> CandleBatch:
    """Two sealed months in half hours and a day, with unknown quote volumes and a hole."""
    batch = candles(HALF_HOURS, 62 * 48, start=FIRST)
    quote = np.where(np.arange(len(batch)) % 7 == 0, np.nan, batch.quote_volume)
    batch = CandleBatch.of(batch.series, {**batch.columns(), "quote_volume": quote})
    covered = batch.runs()
    batch = batch.take(np.arange(len(batch)) % 500 != 3)
    storage.writer.write([Delivery(batch=batch, covered=covered)])
    sealer = Sealer(storage)
    for entry in sealer.entries():
        sealer.seal(entry, before=EVER.end)
    return batch


def archive(storage: PostgreSQLStorage, place: str | Path) -> ArchiveReport:
    archiver = Archiver(storage, str(place))
    reports = [archiver.archive(entry, before=EVER.end) for entry in storage.ledger.entries()]
    return sum(reports, ArchiveReport())


def leave_to_archive(storage: PostgreSQLStorage) -> None:
    """All that is archived lives there alone."""
    keeper = Keeper(storage, policy_of({}, {"30m": 1}, None, None), EVER.end)
    keeper.run(keeper.plan())


def everything(storage: PostgreSQLStorage) -> CandleBatch:
    return storage.reader.candles(HALF_HOURS, EVER)


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def months_of(folder: Path) -> list[str]:
    """As DuckDB would see them."""
    return [path.name.split(".")[0] for path in files_of(folder)]


def test_a_folder_of_files_holds_what_is_stored_to_the_last_bit(
    storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path
) -> None:
    report = archive(storage, tmp_path)
    assert (report.files, report.candles) == (2, len(months) - 48)
    names = [str(path.relative_to(tmp_path)) for path in files_of(tmp_path)]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files_of(tmp_path)]
    where = "exchange=okx/timeframe=30m/symbol=BTC-USDT"
    assert names == [f"{where}/2024-11.{hashes[0]}.parquet", f"{where}/2024-12.{hashes[1]}.parquet"]
    assert report.bytes == sum(path.stat().st_size for path in files_of(tmp_path))
    leave_to_archive(storage)
    assert identical(everything(storage), months)


def test_a_bucket_does_as_well(storage: PostgreSQLStorage, months: CandleBatch, bucket: str) -> None:
    assert archive(storage, bucket).files == 2
    leave_to_archive(storage)
    assert identical(everything(storage), months)
    part = Span(FIRST + 10 * DAY + 1, FIRST + 40 * DAY)
    inside = (months.open_time >= part.start) & (months.open_time < part.end)
    assert identical(storage.reader.candles(HALF_HOURS, part), months.take(inside))
    table = storage.reader.read([HALF_HOURS], part, ["close"])
    assert np.array_equal(table.rows["close"].to_numpy(), months.close[inside])


def test_archiving_again_writes_nothing(storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path) -> None:
    archive(storage, tmp_path)
    written = [path.stat().st_mtime_ns for path in files_of(tmp_path)]
    assert archive(storage, tmp_path) == ArchiveReport(known=2)
    assert [path.stat().st_mtime_ns for path in files_of(tmp_path)] == written


def test_an_archive_can_be_moved(storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path) -> None:
    archive(storage, tmp_path / "old")
    leave_to_archive(storage)
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(StorageError, match=r"is not there\. Look whether the disk is mounted.*chandlery archive"):
        everything(storage)
    assert archive(storage, tmp_path / "new") == ArchiveReport(known=2)
    assert identical(everything(storage), months)


def test_a_changed_byte_is_never_read(storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path) -> None:
    archive(storage, tmp_path)
    leave_to_archive(storage)
    path = files_of(tmp_path)[1]
    data = bytearray(path.read_bytes())
    data[1_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedDataError, match=r"BTC-USDT 30m from 2024-12-01 are damaged.*SHA-256"):
        everything(storage)
    november = Span(FIRST, FIRST + 30 * DAY)
    assert len(storage.reader.candles(HALF_HOURS, november)), "the other month is whole"


def test_a_damaged_file_is_no_reason_to_drop_the_segment(
    storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path
) -> None:
    archive(storage, tmp_path)
    for path in files_of(tmp_path):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedDataError):
        leave_to_archive(storage)
    assert identical(everything(storage), months)


def test_a_store_out_of_reach_is_an_error_that_says_what_to_do(
    storage: PostgreSQLStorage, months: CandleBatch, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(storage, bucket)
    leave_to_archive(storage)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"s3://candles/okx.* cannot be read: .*Look at AWS_ENDPOINT_URL"):
        everything(storage)


def test_a_write_to_an_archived_month_brings_it_back_first(
    storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path
) -> None:
    archive(storage, tmp_path)
    leave_to_archive(storage)
    same = storage.writer.write([Delivery(batch=months, covered=months.runs())])
    assert (same.inserted, same.revised) == (0, 0)
    revised = changed(months, slice(5, 6))
    assert storage.writer.write([Delivery(batch=revised, covered=revised.runs())]).revised == 1
    for path in files_of(tmp_path)[:1]:
        path.unlink()  # nobody relies on it any more
    assert identical(everything(storage), revised)


def test_archived_months_are_unsealed_like_others(
    storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path
) -> None:
    archive(storage, tmp_path)
    leave_to_archive(storage)
    sealer = Sealer(storage)
    report = sum((sealer.unseal(entry, EVER) for entry in sealer.entries()), SealReport())
    assert report.candles == len(months) - 48
    for path in files_of(tmp_path):
        path.unlink()
    assert identical(everything(storage), months)


def test_duckdb_reads_the_folder_with_the_line_of_the_documentation(
    storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    archive(storage, tmp_path / "archive")
    archived = months.take(months.open_time < FIRST + 61 * DAY)
    line = re.search(r"^SELECT .*read_parquet\('archive.*$", (ROOT / "docs/retention.md").read_text(), re.MULTILINE)
    assert line is not None
    monkeypatch.chdir(tmp_path)
    [row] = duckdb.sql(line[0]).fetchall()
    assert row == ("BTC-USDT", "30m", len(archived), archived.high.max())
    close = duckdb.sql("SELECT close FROM read_parquet('archive/**/*.parquet') ORDER BY timestamp").fetchnumpy()
    assert np.array_equal(close["close"], archived.close)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no name"),
        ("ftp://host/path", "neither a folder nor like s3://"),
        ("s3://", "neither a folder nor like s3://"),
        ("s3://key:hunter2@bucket/path", "holds a login"),
        ("s3://bucket/path?endpoint_override=host", "neither a folder nor like s3://"),
    ],
)
def test_a_place_that_cannot_be_one_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        place_of(text)
    assert "hunter2" not in str(caught.value)


def test_a_month_that_changes_before_its_turn_is_passed_over(
    storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path
) -> None:
    """Somebody writes to it after it was listed; it is sealed and archived again later."""
    [entry] = storage.ledger.entries()
    number = entry.instrument_id
    listed = storage.database.transact(lambda c: KeptSeries(c, number, HALF_HOURS).sealed_months())
    storage.writer.write([Delivery(batch=changed(months, slice(5, 6)), covered=months.runs())])
    archiver = Archiver(storage, str(tmp_path))
    assert [archiver.archive_month(entry, kept).files for kept in listed] == [0, 1]
    assert months_of(tmp_path) == ["2024-12"]


def revise(storage: PostgreSQLStorage, months: CandleBatch) -> CandleBatch:
    """A candle of November changes, and the month is sealed again."""
    revised = changed(months, slice(5, 6))
    storage.writer.write([Delivery(batch=revised, covered=revised.runs())])
    sealer = Sealer(storage)
    for entry in sealer.entries():
        sealer.seal(entry, before=EVER.end)
    return revised


def registered(storage: PostgreSQLStorage) -> list[ArchiveFile]:
    [entry] = storage.ledger.entries()
    kept = storage.database.transact(lambda c: KeptSeries(c, entry.instrument_id, HALF_HOURS).sealed_months())
    return [one.file for one in kept if one.file is not None]


def test_an_archiver_that_was_held_up_harms_no_month_that_another_has_archived_since(
    storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has November in hand while it changes, another archives it, and leaves it to the file. Then he goes on."""
    in_hand, go_on = threading.Event(), threading.Event()
    put = archive_places.put

    def held_up(file: str, data: bytes) -> None:
        if threading.current_thread() is slow and not in_hand.is_set():
            in_hand.set()
            assert go_on.wait(30)
        put(file, data)

    monkeypatch.setattr(archive_places, "put", held_up)
    slow = threading.Thread(target=archive, args=(storage, tmp_path))
    slow.start()
    assert in_hand.wait(30)
    revised = revise(storage, months)
    archive(storage, tmp_path)
    leave_to_archive(storage)
    go_on.set()
    slow.join(30)
    assert identical(everything(storage), revised)
    assert months_of(tmp_path) == ["2024-11", "2024-12"]


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Somewhere to archive to, empty."""
    return str(tmp_path) if request.param == "folder" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


def test_archivers_at_the_same_time_need_to_know_nothing_of_each_other(
    storage: PostgreSQLStorage, months: CandleBatch, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are of three releases, so the same candles give other bytes. Of each month one file can be seen."""
    start, of_release = threading.Barrier(4), threading.local()

    def encoded(of: CandleBatch) -> bytes:
        file = io.BytesIO()
        pa_parquet.write_table(candle_table(of), file, compression=of_release.codec)
        return file.getvalue()

    def run(codec: str) -> int:
        of_release.codec = codec
        start.wait()
        return archive(storage, place).files

    monkeypatch.setattr(archive_service, "encoded", encoded)
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(run, ["zstd", "zstd", "snappy", "gzip"])) >= 2
    files = registered(storage)
    seen = {name for name in archive_places.names_in(files[0].name.rpartition("/")[0]) if name.endswith(".parquet")}
    assert seen == {file.name.rpartition("/")[2] for file in files}
    leave_to_archive(storage)
    assert identical(everything(storage), months)


def test_a_database_brought_back_from_a_backup_still_finds_the_file_of_its_time(
    storage: PostgreSQLStorage, months: CandleBatch, place: str
) -> None:
    """Its month has been written anew since. Other programs see the new file and not the old one."""
    archive(storage, place)
    before = registered(storage)
    revised = revise(storage, months)
    assert archive(storage, place).files == 1
    now = registered(storage)
    assert (now[0] != before[0], now[1]) == (True, before[1])
    folder, _, replaced = before[0].name.rpartition("/")
    assert {f"{folder}/{name}" for name in archive_places.names_in(folder) - {f"{replaced}.old"}} == {
        file.name for file in now
    }
    inside = months.open_time < FIRST + 30 * DAY
    assert identical(decoded(HALF_HOURS, before[0].fetched()), months.take(inside))
    assert identical(decoded(HALF_HOURS, now[0].fetched()), revised.take(inside))


def test_files_of_the_first_version_stay_and_are_set_aside_in_their_time(
    storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path
) -> None:
    """Their names say nothing of their bytes."""
    archive(storage, tmp_path)
    for path in files_of(tmp_path):
        path.rename(path.with_name(path.name.split(".")[0] + ".parquet"))
    rename = "UPDATE chandlery.sealed SET archive_file = regexp_replace(archive_file, '[.][0-9a-f]{16}[.]', '.')"
    storage.database.transact(lambda c: c.execute(rename))  # type: ignore[call-overload]
    assert archive(storage, tmp_path) == ArchiveReport(known=2)
    leave_to_archive(storage)
    assert identical(everything(storage), months)
    revise(storage, months)
    archive(storage, tmp_path)
    assert months_of(tmp_path) == ["2024-11", "2024-12"]
    assert [path.name for path in tmp_path.rglob("*.old")] == ["2024-11.parquet.old"]


def test_a_segment_that_is_no_more_when_its_turn_comes_is_left_to_the_next_run(
    storage: PostgreSQLStorage, months: CandleBatch, tmp_path: Path
) -> None:
    archive(storage, tmp_path)
    keeper = Keeper(storage, policy_of({"30m": 1}, {"30m": 1}, None, None), EVER.end)
    steps = [step for step in keeper.plan() if step.action is Action.DROP_SEGMENT]
    Sealer(storage).unseal(steps[0].entry, steps[0].unit)
    assert keeper.run(steps[:1]).changed == 1
    assert identical(everything(storage), months)


def test_a_file_that_is_set_aside_while_it_is_read_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In S3 a file can be opened and be gone before its first byte is read."""
    file = str(tmp_path / "month.parquet")
    archive_places.put(file + archive_places.ASIDE, b"candles")
    opened = archive_places._opened

    class Gone(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise OSError("AWS Error RESOURCE_NOT_FOUND during GetObject operation")

    monkeypatch.setattr(archive_places, "_opened", lambda name: Gone() if name == file else opened(name))
    assert archive_places.fetch(file, 100) == b"candles"
