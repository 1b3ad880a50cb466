from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_okx import MINUTE, NOW, candle, series

from chandlery.domain.candle import VALUE_COLUMNS
from chandlery.domain.instrument import Kind
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import BadPage, ExchangeUnavailable
from chandlery.exchange.okx import wire

OPEN = MINUTE.floor(NOW)
PLACE = {"open": 1, "high": 2, "low": 3, "close": 4, "base_volume": 5, "quote_volume": 7}


def raw(data: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(data, ensure_ascii=False).encode())


def read(rows: object, kind: Kind = Kind.SPOT) -> wire.CandleAnswer:
    return wire.candles(raw(rows), series(), kind)


def test_every_timeframe_is_asked_for_in_its_utc_aligned_spelling() -> None:
    names = [wire.bar(frame) for frame in TIMEFRAMES.values()]
    assert names == ["1m", "3m", "5m", "15m", "30m", "1H", "2H", "4H", "6Hutc", "12Hutc", "1Dutc", "1Wutc", "1Mutc"]


def test_the_volume_of_spot_is_its_vol_and_of_a_derivative_its_volume_in_currency() -> None:
    assert read([candle(OPEN)], Kind.SPOT).rows.base_volume == [7.5]
    for kind in (Kind.SWAP, Kind.FUTURES):
        assert read([candle(OPEN)], kind).rows.base_volume == [752.5]
        assert read([candle(OPEN)], kind).rows.quote_volume == [753.25]


def test_the_confirm_flag_is_kept_per_row() -> None:
    answer = read([candle(OPEN, "0"), candle(OPEN - 60_000, "1")])
    assert answer.confirmed.tolist() == [False, True]


def test_an_empty_answer_has_no_rows() -> None:
    assert len(read([]).rows) == 0


def test_further_columns_that_okx_may_add_one_day_are_ignored() -> None:
    assert len(read([[*candle(OPEN), "news"]]).rows) == 1


BAD_NUMBERS = [
    "NaN",
    "Infinity",
    "-inf",
    "0x10",
    "1_000",
    "１２",
    "",
    " 1",
    "1 ",
    "1,5",
    "+1",
    ".5",
    "5.",
    "1e",
    "١",
    "1\n",
]


@pytest.mark.parametrize("column", VALUE_COLUMNS)
@pytest.mark.parametrize("text", [*BAD_NUMBERS, None, True, 3, 1.5, [], {}, ["1"]])
def test_a_value_that_is_no_plain_decimal_text_spoils_its_own_cell_and_no_other(column: str, text: object) -> None:
    bad = candle(OPEN)
    bad[PLACE[column]] = text  # type: ignore[call-overload]
    rows = read([bad, candle(OPEN - 60_000)]).rows
    assert np.isnan(getattr(rows, column)).tolist() == [True, False]
    assert sum(np.isnan(getattr(rows, name)).sum() for name in VALUE_COLUMNS) == 1


def test_raw_gives_a_row_as_the_exchange_wrote_it_also_after_taking_and_joining() -> None:
    text = f'[ [ "{OPEN}" , "\\u0031","1","1","NaN","1","1","1","1"],{json.dumps(candle(OPEN - 60_000))}]'
    answer = wire.candles(msgspec.Raw(text.encode()), series(), Kind.SPOT)
    assert answer.raw(0) == f'[ "{OPEN}" , "\\u0031","1","1","NaN","1","1","1","1"]'
    second = answer.take(np.array([False, True]))
    assert json.loads(second.raw(0)) == candle(OPEN - 60_000)
    both = second.followed_by(answer)
    assert [both.raw(i) for i in range(3)] == [answer.raw(1), answer.raw(0), answer.raw(1)]
    assert both.rows.open_time.tolist() == [OPEN - 60_000, OPEN, OPEN - 60_000]


@pytest.mark.parametrize("time", ["", "now", "1e12", "-60000", "1.5", "１２", "9" * 17, None, 1700000000000, "1_0"])
def test_a_row_whose_time_cannot_be_read_makes_the_page_bad(time: object) -> None:
    with pytest.raises(BadPage, match="open time"):
        read([candle(OPEN), [time, *candle(OPEN)[1:]]])


@pytest.mark.parametrize("flag", ["", "2", "true", None, 1])
def test_a_row_that_does_not_tell_whether_it_is_confirmed_makes_the_page_bad(flag: object) -> None:
    with pytest.raises(BadPage, match="confirmed"):
        read([[*candle(OPEN)[:8], flag]])


def test_a_row_of_eight_values_makes_the_page_bad() -> None:
    with pytest.raises(BadPage, match="fewer than 9"):
        read([candle(OPEN)[:8]])


@pytest.mark.parametrize("shape", [None, {}, "text", 5, ["row"], [{"ts": "1"}], [None]])
def test_data_that_are_no_rows_at_all_are_not_the_protocol(shape: object) -> None:
    with pytest.raises(ExchangeUnavailable, match="protocol"):
        read(shape)


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_a_number_is_read_to_the_nearest_double_as_python_reads_it(value: float) -> None:
    row = candle(OPEN)
    row[1] = repr(value)
    assert read([row]).rows.open.tolist() == [value]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=30))
def test_no_json_at_all_breaks_the_reader(data: object) -> None:
    for reader in (wire.open_times, wire.server_time, lambda raw: wire.candles(raw, series(), Kind.SPOT)):
        try:
            reader(raw(data))
        except (BadPage, ExchangeUnavailable):
            continue


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_envelope(body: bytes) -> None:
    with pytest.raises(ExchangeUnavailable):
        wire.data_of(200, body)


def test_deep_nesting_is_nonsense_and_no_crash() -> None:
    for body in (b"[" * 200_000, b'{"code":"0","data":' + b"[" * 200_000):
        with pytest.raises(ExchangeUnavailable):
            wire.data_of(200, body)


SPOT = {
    "instType": "SPOT", "instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "settleCcy": "", "uly": "",
    "tickSz": "0.1", "lotSz": "0.00000001", "ctVal": "", "ctMult": "", "listTime": "1548133413000", "expTime": "",
    "state": "live",
}  # fmt: skip
SWAP = {
    "instType": "SWAP", "instId": "BTC-USD-SWAP", "baseCcy": "", "quoteCcy": "", "settleCcy": "BTC", "uly": "BTC-USD",
    "tickSz": "0.1", "lotSz": "1", "ctVal": "100", "ctMult": "1", "listTime": "1548133413000", "expTime": "",
    "state": "live", "upcChg": [{"param": "tickSz"}], "instIdCode": 7,
}  # fmt: skip


def test_instruments_carry_what_okx_says_of_them() -> None:
    spot, swap = wire.instruments(raw([SPOT, SWAP]), "okx")
    assert (spot.symbol, spot.kind, spot.base, spot.quote, spot.settle) == ("BTC-USDT", Kind.SPOT, "BTC", "USDT", "")
    assert (spot.tick_size, spot.lot_size, spot.contract_value) == ("0.1", "0.00000001", None)
    assert (spot.listed_at, spot.expires_at, spot.state, spot.exchange) == (1548133413000, None, "live", "okx")
    assert (swap.kind, swap.base, swap.quote, swap.settle) == (Kind.SWAP, "BTC", "USD", "BTC")
    assert swap.contract_value == 100.0


def test_a_listing_before_its_opening_may_have_empty_fields() -> None:
    (listing,) = wire.instruments(
        raw([{"instType": "SPOT", "instId": "NEW-USDT", "baseCcy": "", "listTime": None, "state": "preopen"}]), "okx"
    )
    assert (listing.base, listing.quote, listing.state, listing.listed_at) == ("NEW", "USDT", "preopen", None)


@pytest.mark.parametrize("symbol", ["", None, "../etc", "btc-usdt", "ＢＴＣ-USDT", "A" * 100, "BTC\0", "=cmd()", "A'B"])
def test_an_instrument_without_a_usable_name_is_passed_over(symbol: object) -> None:
    assert wire.instruments(raw([SPOT | {"instId": symbol}]), "okx") == []


@pytest.mark.parametrize("kind", ["OPTION", "MARGIN", "EVENTS", "SOMETHING-NEW"])
def test_an_instrument_of_an_unknown_type_is_passed_over(kind: str) -> None:
    assert wire.instruments(raw([SPOT | {"instType": kind}]), "okx") == []


@pytest.mark.parametrize("data", [[], [{"ts": ""}], [{"ts": "soon"}], [{}], [{"ts": "1"}, {"ts": "2"}], {}])
def test_a_clock_that_cannot_be_read_is_not_the_protocol(data: object) -> None:
    with pytest.raises(ExchangeUnavailable):
        wire.server_time(raw(data))
