"""Files of candles: which are asked for, what of them is believed, and where links may lead."""

from __future__ import annotations

import asyncio
import io
import os
import zipfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_okx import FAST, SmallOkx, instrument, says, serving

from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.instrument import Instrument, Kind, Series
from chandlery.domain.resilience import Backoff
from chandlery.domain.rules import judge
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, MINUTE_MS, TIMEFRAMES
from chandlery.errors import BadPage, ExchangeError, RequestRefused
from chandlery.exchange.okx import Endpoint, OkxSettings, OkxSource, candle_files
from chandlery.exchange.okx.archive import _is_trusted
from chandlery.exchange.okx.periods import FIRST_FILE_MS, date_of, periods_of
from chandlery.exchange.source import CandleFile, FilePage, FilePeriod
from chandlery.simulator import FaultKind, FixedClock, SeededMarket, Simulator
from chandlery.simulator.endpoints import FILES

T = TypeVar("T")
MINUTE = TIMEFRAMES["1m"]
NOW = 1_709_251_230_000  # 2024-03-01 00:00:30 UTC
HEADER = ",".join(candle_files.COLUMNS)
SWAP = "BTC-USDT-SWAP"


def at(text: str) -> int:
    """A time in UTC+8."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000) - 8 * HOUR_MS


DAY = Span(at("2024-02-20"), at("2024-02-21"))
FILE = CandleFile(name="BTC-USDT-candlesticks-2024-02-20.zip", url="", span=DAY)


def series_of(symbol: str = "BTC-USDT") -> Series:
    return Series("okx-simulated", symbol, MINUTE)


def row(minute: int, *, name: str = "BTC-USDT", confirm: str = "1", **cells: str) -> str:
    values = {"open": "100.1", "high": "101.2", "low": "99.3", "close": "100.4"}
    values |= {"vol": "7.5", "vol_ccy": "752.5", "vol_quote": "753.25"}
    values |= {"instrument_name": name, "open_time": str(DAY.start + minute * MINUTE_MS), "confirm": confirm} | cells
    return ",".join(values[column] for column in candle_files.COLUMNS)


def zipped(*lines: str) -> bytes:
    return zipped_bytes("".join(f"{line}\n" for line in lines).encode())


def zipped_bytes(content: bytes) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("any name.csv", content)
    return body.getvalue()


def read(*lines: str, kind: Kind = Kind.SPOT, symbol: str = "BTC-USDT", wanted: Span = DAY) -> FilePage:
    return candle_files.read(zipped(*lines), FILE, series_of(symbol), kind, Spans([wanted]))


def minutes(first: int, last: int) -> Span:
    return Span(DAY.start + first * MINUTE_MS, DAY.start + (last + 1) * MINUTE_MS)


# what a file proves


def test_a_file_proves_the_bars_that_it_has_and_no_others() -> None:
    page = read(HEADER, *map(row, [0, 1, 2, 5, 6, 1_439]))
    assert page.answered == Spans([minutes(0, 2), minutes(5, 6), minutes(1_439, 1_439)])
    assert page.rows.base_volume.tolist() == [7.5] * 6
    assert page.rows.quote_volume.tolist() == [753.25] * 6
    assert page.raw(3) == row(5)
    assert (page.rows_in_file, page.doubtful) == (6, 0)


def test_an_empty_file_proves_nothing() -> None:
    page = read(HEADER)
    assert (len(page.rows), page.answered, page.rows_in_file) == (0, Spans(), 0)


def test_only_what_was_wanted_is_taken_out_of_a_file() -> None:
    page = read(HEADER, *map(row, range(10)), wanted=minutes(3, 5))
    assert page.answered == Spans([minutes(3, 5)])


def test_rows_that_are_not_confirmed_are_left_to_the_pages() -> None:
    """Files of the time before July 2024 were seen to have confirm 0 throughout, others in part."""
    page = read(HEADER, row(0, confirm="0"), row(1, confirm="0"), row(2))
    assert page.answered == Spans([minutes(2, 2)])
    assert (page.rows_in_file, page.doubtful) == (3, 2)


@pytest.mark.parametrize("volume", ["None", "0", "", "nan", "abc"])
@pytest.mark.parametrize("column", ["vol_ccy", "vol_quote"])
def test_volumes_that_were_not_told_are_left_to_the_pages(volume: str, column: str) -> None:
    """Older files were seen without the volumes in currency: nothing is computed in their place."""
    page = read(HEADER, row(0, name=SWAP, **{column: volume}), row(1, name=SWAP), kind=Kind.SWAP, symbol=SWAP)
    assert page.answered == Spans([minutes(1, 1)])


def test_a_quiet_minute_has_no_volume_and_is_taken() -> None:
    none = {"vol": "0", "vol_ccy": "0", "vol_quote": "0"}
    assert read(HEADER, row(0, **none)).rows.base_volume.tolist() == [0.0]
    assert read(HEADER, row(0, name=SWAP, **none), kind=Kind.SWAP, symbol=SWAP).answered


@pytest.mark.parametrize(("kind", "volume"), [(Kind.SPOT, 7.5), (Kind.SWAP, 752.5), (Kind.FUTURES, 752.5)])
def test_the_base_volume_is_that_of_the_kind_of_instrument(kind: Kind, volume: float) -> None:
    assert read(HEADER, row(0), kind=kind).rows.base_volume.tolist() == [volume]


def test_a_file_of_a_family_is_read_for_one_of_its_instruments() -> None:
    lines = [row(n, name=name) for name in ("BTC-USDT-240329", "BTC-USDT-240628") for n in range(3)]
    page = read(HEADER, *lines, kind=Kind.FUTURES, symbol="BTC-USDT-240628")
    assert page.answered == Spans([minutes(0, 2)])
    assert page.raw(0) == row(0, name="BTC-USDT-240628")


def test_columns_are_known_by_their_names() -> None:
    """A file of trades was seen to gain a column in the course of the years."""
    shuffled = ["confirm", *candle_files.COLUMNS[:-1], "source"]
    cells = row(0).split(",")
    page = read(",".join(shuffled), ",".join([cells[-1], *cells[:-1], "x"]))
    assert page.rows.close.tolist() == [100.4]
    assert page.raw(0) == row(0)


def test_rows_that_break_a_rule_come_out_to_be_set_aside() -> None:
    page = read(HEADER, row(0, close="4#.1"), row(1, high="1"), row(2), row(3), row(3), row(4), row(4, close="100.5"))
    verdict = judge(page.rows, now=NOW, raw=page.raw)
    assert verdict.accepted.open_time.tolist() == [DAY.start + n * MINUTE_MS for n in (2, 3)]
    assert verdict.repeated == 1
    assert verdict.rejected.reason[0] == "close is not a number"
    assert "high is below low" in verdict.rejected.reason[1]
    assert verdict.rejected.reason[2:] == ["conflicting duplicate"] * 2
    assert verdict.rejected.raw[0] == row(0, close="4#.1")


# what makes a file worthless


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [HEADER.replace("open_time", "time"), row(0)],
        [HEADER.replace("high", "open"), row(0)],
        [HEADER + ",open", row(0) + ",1"],
        [row(0), row(1)],
        [HEADER, row(0), row(1)[:-2]],
        [HEADER, row(0), row(1) + ",1"],
        [HEADER, row(0), row(1, name="ETH-USDT")],
        [HEADER, row(0), row(-1)],
        [HEADER, row(0), row(1_440)],
        [HEADER, row(0), row(0, open_time=str(DAY.start + 1))],
        [HEADER, row(0), row(0, open_time="1e12")],
        [HEADER, row(0), row(0, open_time="")],
        [HEADER, row(0), row(0, confirm="true")],
        [HEADER, *map(row, [0] * 3_000)],
    ],
    ids=[
        *("nothing", "no time", "a column gone", "a column twice", "no header", "a cell less", "a cell more"),
        *("another instrument", "the day before", "the day after", "between bars", "no number", "no time in a row"),
        *("no flag", "the same again and again"),
    ],
)
def test_a_file_that_contradicts_its_listing_is_worthless(lines: list[str]) -> None:
    with pytest.raises(BadPage):
        read(*lines)


TRUE = "".join(f"{line}\n" for line in [HEADER, *map(row, range(200))]).encode()


@settings(max_examples=100)
@given(st.data())
def test_any_bytes_give_good_rows_or_badpage(data: st.DataObject) -> None:
    """A true file with foreign bytes in it: no other error, and what the rules accept is a candle of the day."""
    content = bytearray(TRUE)
    for _ in range(data.draw(st.integers(1, 3))):
        at_ = data.draw(st.integers(0, len(content)))
        content[at_ : at_ + data.draw(st.integers(0, 40))] = data.draw(
            st.binary(max_size=30)
            | st.sampled_from([b"\n", b",", b"\r\n", b'"', b"\x00", b"inf", b"-", b"1e999", b"NaN"])
        )
    try:
        page = candle_files.read(zipped_bytes(bytes(content)), FILE, series_of(), Kind.SPOT, Spans([DAY]))
    except BadPage:
        return
    accepted = judge(page.rows, now=NOW, raw=page.raw).accepted
    assert all(time in DAY for time in accepted.open_time.tolist())
    assert np.isfinite(accepted.close).all()
    assert np.isfinite(accepted.quote_volume).all()
    assert (page.answered - Spans([DAY])) == Spans()
    [page.raw(n) for n in range(len(page.rows))]


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300))
def test_noise_is_no_file(noise: bytes) -> None:
    for content in (noise, HEADER.encode() + b"\n" + noise):
        try:
            page = candle_files.read(zipped_bytes(content), FILE, series_of(), Kind.SPOT, Spans([DAY]))
        except BadPage:
            continue
        assert len(page.rows) == 0


def test_a_turned_bit_is_noticed_although_the_rows_still_look_good() -> None:
    """The checksum is verified to the end: here one digit of a price changes, in a zip that is not even packed."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.csv", TRUE)
    body = made.getvalue()
    assert len(candle_files.read(body, FILE, series_of(), Kind.SPOT, Spans([DAY])).rows) == 200
    for price in (b"100.1", b"100.4"):
        at_ = body.rindex(price)
        turned = body[:at_] + b"101" + body[at_ + 3 :]
        with pytest.raises(BadPage):
            candle_files.read(turned, FILE, series_of(), Kind.SPOT, Spans([DAY]))


# which files there are


def test_days_and_months_begin_eight_hours_before_those_of_utc() -> None:
    missing = Spans([Span(at("2024-01-31T20:00"), at("2024-02-02T00:00"))])
    (february_1, january_31) = periods_of(FilePeriod.DAY, missing, NOW)
    assert (january_31.start, february_1.end) == (at("2024-01-31"), at("2024-02-02"))
    february, january = periods_of(FilePeriod.MONTH, missing, NOW + 30 * DAY_MS)
    assert (january, february) == (
        Span(at("2024-01-01"), at("2024-02-01")),
        Span(at("2024-02-01"), at("2024-03-01")),
    )
    assert date_of(FilePeriod.MONTH, january) == "2024-01"
    assert date_of(FilePeriod.DAY, january_31) == "2024-01-31"


def test_nothing_is_asked_for_that_cannot_be_there() -> None:
    ever = Spans([Span(0, NOW)])
    days = periods_of(FilePeriod.DAY, ever, NOW)
    assert days[-1].start == FIRST_FILE_MS
    assert days[0] == Span(at("2024-02-28"), at("2024-02-29")), "a day later is not listed before two days have passed"
    months = periods_of(FilePeriod.MONTH, ever, NOW)
    assert (date_of(FilePeriod.MONTH, months[0]), date_of(FilePeriod.MONTH, months[-1])) == ("2024-01", "2023-07")


def test_demo_trading_has_no_files_for_they_hold_real_candles() -> None:
    ever = Spans([Span(0, NOW)])
    assert OkxSource(OkxSettings()).files.periods(FilePeriod.DAY, ever, NOW)
    assert OkxSource(OkxSettings(demo=True)).files.periods(FilePeriod.DAY, ever, NOW) == []


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://static.okx.com/cdn/okex/traderecords/a.zip?v=1", True),
        ("https://okx.com/a.zip", True),
        ("https://static.okx.com:443/a.zip", True),
        ("http://static.okx.com/a.zip", False),
        ("https://static.okx.com:8443/a.zip", False),
        ("https://okx.com.evil.example/a.zip", False),
        ("https://notokx.com/a.zip", False),
        ("https://okx.com@evil.example/a.zip", False),
        ("https://user@static.okx.com/a.zip", False),
        ("https://169.254.169.254/latest/meta-data", False),
        ("http://127.0.0.1:5432/", False),
        ("file:///etc/passwd", False),
        ("//static.okx.com/a.zip", False),
        ("https://[::1", False),
        ("", False),
    ],
)
def test_a_listing_cannot_send_us_elsewhere(url: str, trusted: bool) -> None:
    assert _is_trusted(url, OkxSettings()) is trusted
    assert _is_trusted(url, OkxSettings(base_url="http://127.0.0.1:8080")) is False


def test_links_of_this_machine_lead_to_the_configured_address_alone() -> None:
    simulated = OkxSettings(base_url="http://127.0.0.1:8080")
    assert _is_trusted("http://127.0.0.1:8080/a.zip", simulated)
    for other in ("http://127.0.0.1:8081/a.zip", "http://localhost:8080/a.zip", "https://127.0.0.1:8080/a.zip"):
        assert not _is_trusted(other, simulated)


# over real sockets


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(SeededMarket(7), clock=FixedClock(NOW)).run_in_thread() as running:
        yield running


def asking(simulator: Simulator, act: Callable[[OkxSource], Awaitable[T]]) -> T:
    async def run() -> T:
        given = OkxSettings(base_url=simulator.base_url, limits=FAST, backoff=Backoff(base_s=0.001, cap_s=0.01))
        async with OkxSource(given) as source:
            return await act(source)

    return asyncio.run(run())


def known(simulator: Simulator, symbol: str) -> Instrument:
    return simulator.market.listings[symbol].instrument


def days_before(count: int, last: str = "2024-02-28") -> list[Span]:
    return [Span(at(last) - n * DAY_MS, at(last) - (n - 1) * DAY_MS) for n in range(count)]


async def all_of(source: OkxSource, one: Instrument, period: FilePeriod, spans: Sequence[Span]) -> list[FilePage]:
    files = await source.files.listed(one, period, spans)
    of = series_of(one.symbol)
    return [await source.files.page(one, of, file, Spans([file.span])) for file in files]


@pytest.mark.parametrize("symbol", ["BTC-USDT", "BTC-USDT-SWAP", "BTC-USD-SWAP", "BABYDOGE-USDT", "BTC-USDT-240329"])
def test_a_file_and_the_pages_say_the_same(simulator: Simulator, symbol: str) -> None:
    one = known(simulator, symbol)
    pages = asking(simulator, lambda source: all_of(source, one, FilePeriod.DAY, days_before(1)))
    (page,) = pages
    assert page.answered == Spans([page.asked])

    async def by_pages(source: OkxSource) -> CandleBatch:
        asked = source.pages(series_of(symbol), page.answered)
        answers = [await source.page(one, series_of(symbol), span) for span in asked]
        batches = [judge(answer.rows, now=NOW, raw=answer.raw).accepted for answer in answers]
        return CandleBatch.joined(series_of(symbol), batches[::-1])

    truth = asking(simulator, by_pages)
    accepted = judge(page.rows, now=NOW, raw=page.raw).accepted
    assert np.array_equal(accepted.open_time, truth.open_time)
    assert same_values(accepted, truth).all()


def test_a_month_is_one_file(simulator: Simulator) -> None:
    one = known(simulator, "BTC-USDT-SWAP")
    january = Span(at("2024-01-01"), at("2024-02-01"))
    (page,) = asking(simulator, lambda source: all_of(source, one, FilePeriod.MONTH, [january]))
    assert page.answered == Spans([january])
    assert len(page.rows) == 31 * 1_440


def test_a_listing_is_asked_for_ten_periods_at_once_and_holes_between_them_cost_nothing(simulator: Simulator) -> None:
    one = known(simulator, "BTC-USDT")
    spans = days_before(25)
    del spans[3:6]
    files = asking(simulator, lambda source: source.files.listed(one, FilePeriod.DAY, spans))
    assert [file.span for file in files] == spans
    assert [request.endpoint for request in simulator.journal.requests] == [Endpoint.FILE_LISTING] * 3


def test_files_that_do_not_exist_are_not_listed(simulator: Simulator) -> None:
    one = known(simulator, "BTC-USDT")
    simulator.arm(FaultKind.BACKFILL)
    files = asking(simulator, lambda source: source.files.listed(one, FilePeriod.DAY, days_before(4, "2024-02-29")))
    assert [file.name for file in files] == [f"BTC-USDT-candlesticks-2024-02-{day}.zip" for day in (27, 26)]


@pytest.mark.parametrize(
    "kind",
    [
        *(FaultKind.FILE_MISSING, FaultKind.TRUNCATED_ZIP, FaultKind.ZIP_BOMB, FaultKind.MANY_MEMBERS),
        *(FaultKind.WRONG_HEADER, FaultKind.TRUNCATED_JSON),
    ],
)
def test_a_damaged_file_is_an_error_of_the_exchange(simulator: Simulator, kind: FaultKind) -> None:
    simulator.arm(kind, endpoint=FILES)
    with pytest.raises(ExchangeError):
        asking(simulator, lambda source: all_of(source, known(simulator, "BTC-USDT"), FilePeriod.DAY, days_before(1)))
    assert [request.endpoint for request in simulator.journal.requests].count(FILES) == 1, "it stays damaged"


@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.HTML_502, FaultKind.RATE_LIMIT, FaultKind.WRONG_ENCODING])
def test_a_download_that_broke_is_tried_again(simulator: Simulator, kind: FaultKind) -> None:
    simulator.arm(kind, endpoint=FILES)
    one = known(simulator, "BTC-USDT")
    (page,) = asking(simulator, lambda source: all_of(source, one, FilePeriod.DAY, days_before(1)))
    assert page.answered == Spans([page.asked])


def test_files_that_cannot_be_had_do_not_keep_pages_waiting(simulator: Simulator) -> None:
    """They have a circuit breaker of their own, and are given up after three attempts."""
    simulator.arm(FaultKind.HTTP_500, endpoint="market-data-history", count=1_000)
    one = known(simulator, "BTC-USDT")

    async def act(source: OkxSource) -> int:
        with pytest.raises(ExchangeError):
            await source.files.listed(one, FilePeriod.DAY, days_before(1))
        page = await source.page(one, series_of(), Span(DAY.start, DAY.start + MINUTE_MS))
        return len(page.rows)

    assert asking(simulator, act) == 1
    asked = [request.endpoint for request in simulator.journal.requests]
    assert (asked.count(Endpoint.FILE_LISTING), asked.count(Endpoint.HISTORY_CANDLES)) == (3, 1)


def listing_with(url: str, name: str = FILE.name) -> list[dict[str, object]]:
    return [{"details": [{"groupDetails": [{"filename": name, "url": url, "sizeMB": "1"}]}]}]


def fetched_from(okx: SmallOkx, url: str) -> FilePage:
    async def run() -> FilePage:
        async with serving(okx) as given, OkxSource(given) as source:
            target = url.replace("BASE", given.base_url)
            okx.script(says(listing_with(target)), endpoint=Endpoint.FILE_LISTING)
            (page,) = await all_of(source, instrument(), FilePeriod.DAY, [DAY])
            return page

    return asyncio.run(run())


def test_a_redirect_is_not_followed() -> None:
    okx = SmallOkx()
    okx.script(says(b"", status=302, headers={"Location": "http://127.0.0.1:1/"}), endpoint=Endpoint.FILES)
    with pytest.raises(RequestRefused):
        fetched_from(okx, f"BASE{FILES}")
    assert len(okx.asked(Endpoint.FILES)) == 1


def test_a_foreign_link_is_refused_without_a_request() -> None:
    okx = SmallOkx()
    with pytest.raises(RequestRefused, match="not the exchange"):
        fetched_from(okx, "https://static.okx.com/a.zip")
    assert len(okx.requests) == 1


def test_a_scripted_file_is_read() -> None:
    okx = SmallOkx()
    okx.script(says(zipped(HEADER, *map(row, range(5)))), endpoint=Endpoint.FILES)
    assert fetched_from(okx, f"BASE{FILES}").answered == Spans([minutes(0, 4)])


@pytest.mark.parametrize("data", [[], [{}], [{"details": []}], [{"details": [{"groupDetails": [{"filename": "x"}]}]}]])
def test_a_listing_may_be_empty(data: list[object]) -> None:
    async def run() -> list[CandleFile]:
        okx = SmallOkx()
        okx.script(says(data), endpoint=Endpoint.FILE_LISTING)
        async with serving(okx) as given, OkxSource(given) as source:
            return await source.files.listed(instrument(), FilePeriod.DAY, [DAY])

    assert asyncio.run(run()) == []


@pytest.mark.parametrize("data", [{}, "x", [1], [{"details": {}}], [{"details": [{"groupDetails": [{"url": "x"}]}]}]])
def test_a_listing_that_is_none_is_an_error(data: object) -> None:
    async def run() -> None:
        okx = SmallOkx()
        okx.script(*[says(data)] * 3, endpoint=Endpoint.FILE_LISTING)  # type: ignore[list-item]
        async with serving(okx) as given, OkxSource(given) as source:
            await source.files.listed(instrument(), FilePeriod.DAY, [DAY])

    with pytest.raises(ExchangeError):
        asyncio.run(run())


@pytest.mark.skipif(
    os.environ.get("CHANDLERY_TEST_REAL_EXCHANGE") != "1",
    reason="asks the real exchange, for which a network is needed; CHANDLERY_TEST_REAL_EXCHANGE=1 permits it",
)
@pytest.mark.parametrize(("symbol", "kind"), [("BTC-USDT", Kind.SPOT), ("BTC-USDT-SWAP", Kind.SWAP)])
def test_the_real_exchange_has_files_that_agree_with_its_pages(symbol: str, kind: Kind) -> None:
    one = replace(instrument(kind), exchange="okx", symbol=symbol)
    of = Series("okx", symbol, MINUTE)
    january = Span(at("2025-01-01"), at("2025-02-01"))

    async def run() -> None:
        async with OkxSource() as source:
            (file,) = await source.files.listed(one, FilePeriod.MONTH, [january])
            page = await source.files.page(one, of, file, Spans([january]))
            assert page.answered == Spans([january])
            asked = Span(january.start, january.start + 300 * MINUTE_MS)
            truth = judge((answer := await source.page(one, of, asked)).rows, now=NOW * 2, raw=answer.raw).accepted
            accepted = judge(page.rows, now=NOW * 2, raw=page.raw).accepted.take(slice(0, 300))
            assert np.array_equal(accepted.open_time, truth.open_time)
            assert same_values(accepted, truth).all()

    asyncio.run(run())
