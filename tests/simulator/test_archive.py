"""The files of candles: which are listed when, under which links, and what is in them."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from simulator_client import Asker, Reply

from candles import candles, series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, TIMEFRAMES
from chandlery.simulator import FILE_FAULTS, FaultKind, FixedClock, ReplayMarket, SeededMarket, Simulator
from chandlery.simulator.archive_files import HEADER
from chandlery.simulator.bars import BARS
from chandlery.simulator.endpoints import FILE_LISTING, FILES

NOW = 1_709_251_230_000  # 2024-03-01 00:00:30 UTC
SPOT = {"module": "2", "instType": "SPOT", "instIdList": "BTC-USDT", "dateAggrType": "daily"}
SWAP = {"module": "2", "instType": "SWAP", "instFamilyList": "BTC-USDT", "dateAggrType": "daily"}


def at(text: str) -> int:
    """A time in UTC+8, where the files' days begin at midnight."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000) - 8 * HOUR_MS


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(SeededMarket(7), clock=FixedClock(NOW)).run_in_thread() as running:
        yield running


@pytest.fixture
def exchange(simulator: Simulator) -> Asker:
    return Asker(simulator.base_url)


def listed(exchange: Asker, **parameters: object) -> list[dict[str, str]]:
    """The links of the first instrument of a listing."""
    (listing,) = exchange.get(FILE_LISTING, **({"begin": at("2024-02-25"), "end": at("2024-02-26")} | parameters)).data
    return listing["details"][0]["groupDetails"] if listing["details"] else []


def fetched(exchange: Asker, link: dict[str, str]) -> Reply:
    return exchange.send("GET", urlsplit(link["url"]).path)


def rows_of(body: bytes) -> list[dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        (name,) = archive.namelist()
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def test_files_are_listed_newest_first_with_absolute_links(exchange: Asker):
    names = [link["filename"] for link in listed(exchange, **SPOT, begin=at("2024-02-24"))]
    assert names == [f"BTC-USDT-candlesticks-2024-02-{day}.zip" for day in (26, 25, 24)]
    link = listed(exchange, **SPOT)[0]
    assert link["url"] == f"{exchange.base_url}{FILES}/daily/20240226/BTC-USDT-candlesticks-2024-02-26.zip"
    assert link["dateTs"] == str(at("2024-02-26"))


def test_begin_and_end_count_by_their_dates_in_utc_plus_8_both_included(exchange: Asker):
    late = listed(exchange, **SPOT, begin=at("2024-02-25T23:59"), end=at("2024-02-26T00:00"))
    assert [link["filename"][-14:-4] for link in late] == ["2024-02-26", "2024-02-25"]


def test_a_day_is_listed_when_a_whole_day_has_passed_since_its_end(exchange: Asker):
    """At 2024-03-01 08:00 in UTC+8 the file of the 28th is there, and that of the 29th not yet."""
    links = listed(exchange, **SPOT, begin=at("2024-02-27"), end=at("2024-03-01"))
    assert [link["filename"][-14:-4] for link in links] == ["2024-02-28", "2024-02-27"]
    assert exchange.get(f"{FILES}/daily/20240229/BTC-USDT-candlesticks-2024-02-29.zip").status == 404


def test_files_begin_in_july_2023_unless_told_otherwise(exchange: Asker):
    monthly = SPOT | {"dateAggrType": "monthly", "begin": at("2023-05-01"), "end": at("2023-08-01")}
    assert [link["filename"][-11:-4] for link in listed(exchange, **monthly)] == ["2023-08", "2023-07"]
    with Simulator(SeededMarket(7), clock=FixedClock(NOW), archive_starts_at=at("2023-06-01")).run_in_thread() as other:
        assert len(listed(Asker(other.base_url), **monthly)) == 3


@pytest.mark.parametrize("name", ["module", "instType", "instIdList", "dateAggrType", "begin", "end"])
def test_every_parameter_is_required(exchange: Asker, name: str):
    given = SPOT | {"begin": at("2024-02-25"), "end": at("2024-02-26")}
    del given[name]
    reply = exchange.get(FILE_LISTING, **given)
    assert (reply.status, reply.code) == (400, "50014")


def test_swaps_and_futures_are_asked_for_by_family(exchange: Asker):
    assert exchange.get(FILE_LISTING, **SPOT | {"instType": "SWAP", "begin": 1, "end": 1}).code == "50014"
    assert listed(exchange, **SWAP)[0]["filename"] == "BTC-USDT-SWAP-candlesticks-2024-02-26.zip"
    chain = listed(exchange, **SWAP | {"instType": "FUTURES"})[0]
    assert chain["filename"] == "BTC-USDT-futureschain-candlesticks-2024-02-26.zip"
    assert {row["instrument_name"] for row in rows_of(fetched(exchange, chain).body)} == {"BTC-USDT-240329"}


@pytest.mark.parametrize(("period", "last"), [("daily", "2024-02-20"), ("monthly", "2025-09-01")])
def test_twenty_periods_are_the_most(exchange: Asker, period: str, last: str):
    given = SPOT | {"dateAggrType": period, "begin": at("2024-02-01"), "end": at(last)}
    assert exchange.get(FILE_LISTING, **given).code == "0"
    beyond = exchange.get(FILE_LISTING, **given | {"end": at(last) + 31 * DAY_MS})
    assert (beyond.status, beyond.code) == (400, "50076")


@pytest.mark.parametrize(
    "wrong",
    [
        {"module": "1"},
        {"instType": "OPTION"},
        {"dateAggrType": "weekly"},
        {"instIdList": ",".join("ABCDEFGHIJK")},
        {"instIdList": "ANY", "dateAggrType": "monthly"},
        {"begin": at("2024-02-27")},
        {"begin": "yesterday"},
    ],
)
def test_what_makes_no_sense_is_refused(exchange: Asker, wrong: dict[str, object]):
    given = SPOT | {"begin": at("2024-02-25"), "end": at("2024-02-26")} | wrong
    assert exchange.get(FILE_LISTING, **given).code == "51000"


def test_any_lists_every_instrument_of_a_day(exchange: Asker):
    (listing,) = exchange.get(
        FILE_LISTING, **SPOT | {"instIdList": "ANY", "begin": at("2024-02-25"), "end": at("2024-02-25")}
    ).data
    names = {detail["instId"] for detail in listing["details"]}
    assert {"BTC-USDT", "ETH-BTC"} <= names
    assert not names & {"LUNA-USDT", "NEWT-USDT"}, "no candles, no file"


@pytest.mark.parametrize("query", [SPOT, SWAP])
def test_a_file_holds_what_the_history_has_in_its_day_oldest_first(exchange: Asker, query: dict[str, str]):
    link = listed(exchange, **query)[0]
    body = fetched(exchange, link).body
    rows = rows_of(body)
    symbol = link["filename"].partition("-candle")[0]
    assert ",".join(rows[0]) == HEADER
    assert {row["instrument_name"] for row in rows} == {symbol}
    assert [int(row["open_time"]) for row in rows] == list(range(at("2024-02-26"), at("2024-02-27"), 60_000))
    history = exchange.history(instId=symbol, after=at("2024-02-27"), limit=300).data
    columns = ("open_time", "open", "high", "low", "close", "vol", "vol_ccy", "vol_quote", "confirm")
    assert [[row[name] for name in columns] for row in reversed(rows[-300:])] == history


def test_a_month_begins_eight_hours_before_it_does_in_utc(exchange: Asker):
    (link,) = listed(exchange, **SPOT | {"dateAggrType": "monthly", "begin": at("2024-01-01"), "end": at("2024-01-31")})
    times = [int(row["open_time"]) for row in rows_of(fetched(exchange, link).body)]
    assert (times[0], times[-1], len(times)) == (at("2024-01-01"), at("2024-02-01") - 60_000, 31 * 1_440)


def test_recordings_of_coarser_candles_have_no_files():
    for name, expected in (("1m", 1), ("5m", 0)):
        step_ms = TIMEFRAMES[name].step_ms or 0
        recording = candles(series(interval=name), 5 * DAY_MS // step_ms, start=at("2024-02-25"))
        with Simulator(ReplayMarket([recording])).run_in_thread() as running:
            assert len(listed(Asker(running.base_url), **SPOT | {"end": at("2024-02-25")})) == expected


def test_a_recording_comes_back_in_its_files():
    recording = candles(series(), 4 * 1_440, start=at("2024-02-25"))
    with Simulator(ReplayMarket([recording])).run_in_thread() as running:
        exchange = Asker(running.base_url)
        rows = rows_of(fetched(exchange, listed(exchange, **SPOT, end=at("2024-02-25"))[0]).body)
    assert [float(row["close"]) for row in rows] == recording.close[:1_440].tolist()
    assert [float(row["vol_quote"]) for row in rows] == recording.quote_volume[:1_440].tolist()


@pytest.mark.parametrize(
    "path",
    [
        "daily/20240226/BTC-USDT-candlesticks-2024-02-25.zip",
        "daily/20240230/BTC-USDT-candlesticks-2024-02-30.zip",
        "monthly/20240226/BTC-USDT-candlesticks-2024-02-26.zip",
        "daily/20240226/NO-SUCHTHING-candlesticks-2024-02-26.zip",
        "daily/20240226/BTC-USDT-240329-candlesticks-2024-02-26.zip",
        "daily/20240226/../../../../etc/passwd",
    ],
)
def test_other_files_are_404(exchange: Asker, path: str):
    assert exchange.send("GET", f"{FILES}/{path}").status == 404


def spoilt(simulator: Simulator, exchange: Asker, kind: FaultKind) -> Reply:
    simulator.arm(kind, endpoint=FILES)
    reply = fetched(exchange, listed(exchange, **SPOT)[0])
    assert [request.fault for request in simulator.journal.requests] == [None, kind.value]
    return reply


def test_damaged_files_are_damaged_as_their_fault_says(simulator: Simulator, exchange: Asker):
    true = fetched(exchange, listed(exchange, **SPOT)[0]).body
    simulator.journal.clear()
    assert spoilt(simulator, exchange, FaultKind.FILE_MISSING).status == 404
    simulator.journal.clear()
    assert spoilt(simulator, exchange, FaultKind.TRUNCATED_ZIP).body == true[: len(true) // 2]
    simulator.journal.clear()
    bomb = spoilt(simulator, exchange, FaultKind.ZIP_BOMB).body
    assert len(bomb) * 100 < zipfile.ZipFile(io.BytesIO(bomb)).infolist()[0].file_size
    simulator.journal.clear()
    assert len(zipfile.ZipFile(io.BytesIO(spoilt(simulator, exchange, FaultKind.MANY_MEMBERS).body)).namelist()) > 1_000
    simulator.journal.clear()
    assert "open_time" not in rows_of(spoilt(simulator, exchange, FaultKind.WRONG_HEADER).body)[0]


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (FaultKind.CORRUPT_ROW, range(1, 3)),
        (FaultKind.UNCONFIRMED_ROWS, range(960, 961)),
        (FaultKind.UNTOLD_VOLUMES, range(1_440, 1_441)),
        (FaultKind.REPEATED_ROW, range(1)),
        (FaultKind.CONFLICTING_ROWS, range(1, 2)),
    ],
)
def test_spoilt_rows_are_as_many_as_their_fault_says(
    simulator: Simulator, exchange: Asker, kind: FaultKind, changed: range
):
    true = {tuple(row.values()) for row in rows_of(fetched(exchange, listed(exchange, **SPOT)[0]).body)}
    simulator.journal.clear()
    rows = [tuple(row.values()) for row in rows_of(spoilt(simulator, exchange, kind).body)]
    assert len([row for row in rows if row not in true]) in changed
    assert len(rows) == 1_440 + (kind in (FaultKind.REPEATED_ROW, FaultKind.CONFLICTING_ROWS))


def test_a_file_that_is_being_made_again_has_no_link(simulator: Simulator, exchange: Asker):
    simulator.arm(FaultKind.BACKFILL)
    assert [bool(link["url"]) for link in listed(exchange, **SPOT)] == [False, True]


def test_the_journal_names_the_files_and_only_files_meet_their_faults(simulator: Simulator, exchange: Asker):
    for kind in FILE_FAULTS:
        simulator.arm(kind)
    exchange.history()
    fetched(exchange, listed(exchange, **SPOT)[0])
    *others, file = simulator.journal.requests
    assert [request.fault for request in others] == [None, None]
    assert (file.endpoint, file.inst_id, file.file) == (FILES, "BTC-USDT", "BTC-USDT-candlesticks-2024-02-26.zip")
    assert file.fault is not None


def test_the_market_of_the_files_is_the_one_of_the_pages(simulator: Simulator, exchange: Asker):
    """The last bit agrees: both are made of the same candles."""
    rows = rows_of(fetched(exchange, listed(exchange, **SPOT)[0]).body)
    truth = simulator.market.newest("BTC-USDT", BARS["1m"], Span(at("2024-02-26"), at("2024-02-27")), 2**31)
    assert [float(row["vol"]) for row in rows] == truth.base_volume.tolist()
    assert [float(row["vol_quote"]) for row in rows] == truth.quote_volume.tolist()
