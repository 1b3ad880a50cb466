"""Files of others are understood exactly or refused with a sentence: layouts, times, names, archives, broken lines."""

from __future__ import annotations

import gzip
import random
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chandlery.domain.candle import CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.rules import CONFLICTING, judge
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import DataValidationError
from chandlery.services.bulk_import.given import Told, find_sources
from chandlery.storage.sources import archives, lines
from chandlery.storage.sources.names import named_timeframe, symbol_in, timeframe_in
from imported import NOW, Kept, imported, tuples

START = 1_704_067_200_000  # 2024-01-01
MINUTE = 60_000
BTC = Series("okx", "BTC-USDT", TIMEFRAMES["1m"])
PLAIN = "timestamp,open,high,low,close,volume"
GOOD = f"{START},1,2,0.5,1.5,10"
CANDLE = (START, 1.0, 2.0, 0.5, 1.5, 10.0, -1)


def quoted(line: str) -> str:
    return ",".join(f'"{cell}"' for cell in line.split(","))


def write(folder: Path, *rows: str, name: str = "BTC-USDT_1m.csv", end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes(end.join([*rows, ""]).encode())
    return path


def only(sink: Kept, series: Series = BTC) -> list[tuple[float, ...]]:
    assert set(sink.candles) <= {series}
    return sink.candles.get(series, [])


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (PLAIN, GOOD),
        ("Date,Open,High,Low,Close,Volume", "2024-01-01,1,2,0.5,1.5,10"),
        ("open_time;open_price;high_price;low_price;close_price;base_volume", GOOD.replace(",", ";")),
        ("volume\tclose\tlow\thigh\topen\tts", f"10\t1.5\t0.5\t2\t1\t{START}"),
        (f"\ufeff{PLAIN}", GOOD),
        (quoted(PLAIN), quoted(GOOD)),
        (f"note,{PLAIN}", f'"a, ""b""",{GOOD}'),
        (f'"a, b",{PLAIN}', f",{GOOD}"),
        (PLAIN, GOOD.replace(",", " , ")),
        (PLAIN, f"{START}.0,1.0,2,.5,15e-1,10."),
    ],
)
def test_a_file_is_understood_by_its_header(tmp_path: Path, header: str, row: str) -> None:
    for end in ("\n", "\r\n"):
        sink, report = imported(write(tmp_path, header, row, end=end))
        assert report.error is None, report.error
        assert only(sink) == [CANDLE]
        assert sink.rejected == []


def test_a_file_without_header_is_understood_by_the_places_of_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path, f"{START},1,1.5,2,0.5,10")
    sink, _ = imported(path, columns="time=1,open=2,close=3,high=4,low=5,volume=6")
    assert only(sink) == [CANDLE]
    _, report = imported(path)
    assert "no header" in str(report.error)
    assert "--columns time=1" in str(report.error)


def test_columns_of_any_names_are_understood_when_they_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "T,O,H,L,C,V,volume", f"{GOOD},99")
    sink, _ = imported(path, columns="time=t,open=o,high=H,low=l,close=c,volume=V")
    assert only(sink) == [CANDLE]
    _, report = imported(path)
    assert "time, open, high, low, close" in str(report.error)
    _, report = imported(path, columns="time=when")
    assert "no column when" in str(report.error)
    with pytest.raises(DataValidationError, match="names no column"):
        Told.of(columns="time")


@pytest.mark.parametrize(
    ("symbol", "base", "turnover"), [("BTC-USDT", 7.0, 9.0), ("BTC-USDT-SWAP", 8.0, 9.0), ("BTC-USD-240628", 8.0, 9.0)]
)
def test_the_exchanges_own_files_have_contracts_for_derivatives(
    tmp_path: Path, symbol: str, base: float, turnover: float
) -> None:
    header = "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"
    running = f"{symbol},1,2,0.5,1.5,7,8,9,{START + MINUTE},0"
    path = write(
        tmp_path, header, f"{symbol},1,2,0.5,1.5,7,8,9,{START},1", running, name=f"{symbol}-candlesticks-2024-01-01.csv"
    )
    sink, _ = imported(path)
    assert only(sink, Series("okx", symbol, TIMEFRAMES["1m"])) == [(START, 1, 2, 0.5, 1.5, base, turnover)]
    assert sink.rejected == [(running, "unconfirmed")]


def test_collected_answers_of_the_exchange_are_known_by_their_volumes(tmp_path: Path) -> None:
    header, row = "ts,o,h,l,c,vol,volCcy,volCcyQuote,confirm", f"{START},1,2,0.5,1.5,7,8,9,1"
    columns = "open=o,high=h,low=l,close=c"
    swap = imported(write(tmp_path, header, row, name="ETH-USDT-SWAP_1h.csv"), columns=columns)[0]
    assert only(swap, Series("okx", "ETH-USDT-SWAP", TIMEFRAMES["1h"]))[0][5:] == (8, 9)
    without = imported(write(tmp_path, "ts,open,high,low,close,volume,volCcy", row[:-4]), columns=None)[0]
    assert only(without)[0][5:] == (7, 8), "of spot, volCcy is the turnover"


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        ("{0}", "s"),
        ("{0}000", "ms"),
        ("{0}000000", "us"),
        ("{0}000000000", "ns"),
        ("2024-01-01T00:00:00Z", "iso"),
        ("2024-01-01 00:00:00", "iso"),
        ("2024-01-01 08:00:00+08:00", "iso"),
        ("2024-01-01 00:00:00.000000+00", "iso"),
        ("20240101", "iso"),
    ],
)
def test_the_unit_of_times_is_found_out_and_told(tmp_path: Path, times: str, unit: str) -> None:
    time = times.format(START // 1000)
    for also in ([], [GOOD.replace(str(START), time).replace("0.5", "x")]):  # the fast way and the careful one
        sink, report = imported(write(tmp_path, PLAIN, GOOD.replace(str(START), time), *also))
        assert only(sink) == [CANDLE]
        assert report.unit == unit
        assert report.without_zone == (1 + len(also) if time in ("2024-01-01 00:00:00", "20240101") else 0)


def test_times_of_two_kinds_are_refused_until_somebody_says_which(tmp_path: Path) -> None:
    seconds = GOOD.replace(str(START), str(START // 1000 + 60))
    path = write(tmp_path, PLAIN, GOOD, GOOD, seconds)
    sink, report = imported(path)
    assert sink.deliveries == []
    assert "2 times like milliseconds and 1 times like seconds" in str(report.error)
    assert "--time-unit" in str(report.error)
    sink, report = imported(path, unit="ms")
    assert only(sink) == [CANDLE]
    assert sink.rejected == [(seconds, "time out of range")]
    assert "no times between 2009 and 2100, for example '42'" in str(
        imported(write(tmp_path, PLAIN, "42,1,2,0.5,1.5,10"))[1].error
    )


def test_local_times_need_their_zone_and_the_hour_that_comes_twice_is_rejected(tmp_path: Path) -> None:
    rows = [f"2024-10-27 {time},1,2,0.5,1.5,10" for time in ("01:59:00", "02:30:00", "03:00:00")]
    sink, report = imported(write(tmp_path, PLAIN, *rows), zone="Europe/Berlin")
    assert [row[0] for row in only(sink)] == [1_729_987_140_000, 1_729_994_400_000]
    assert sink.rejected == [(rows[1], "unreadable time")]
    assert (report.zone, report.without_zone) == ("Europe/Berlin", 3)
    with pytest.raises(DataValidationError, match="no name of an exchange"):
        Told.of(exchange="../okx")
    with pytest.raises(DataValidationError, match="no time zone"):
        Told.of(zone="Hong Kong")


def test_days_that_begin_in_hong_kong_are_named_as_such(tmp_path: Path) -> None:
    row = GOOD.replace(str(START), str(START - 8 * 60 * MINUTE))
    sink, _ = imported(write(tmp_path, PLAIN, row, name="BTC-USDT_1D.csv"))
    assert sink.rejected == [(row, "time is not the open of a 1d bar: it is one at UTC+8")]


BROKEN = {
    f"{START},1,2,0.5,1.5": "5 columns instead of 6",
    f"{GOOD},extra": "7 columns instead of 6",
    f"{START},1,2,x,1.5,10": "unreadable low",
    f"{START},1,2,nan,1.5,10": "unreadable low",
    f"{START},1,inf,0.5,1.5,10": "unreadable high",
    f"{START},1,2,,1.5,10": "low is not a number",
    f"{START},1,2,0.5,1_5,10": "unreadable close",
    f"{START},1,2,0.5,0x1,10": "unreadable close",
    f"{START},1,2,0.5,1.5,-1": "base_volume is negative",
    f"{START},1,0.7,0.5,1.5,10": "high is below open or close",
    f"{START + 1},1,2,0.5,1.5,10": "time is not the open of a 1m bar",
    ",1,2,0.5,1.5,10": "no time",
    "noon,1,2,0.5,1.5,10": "unreadable time",
    "0,1,2,0.5,1.5,10": "time out of range",
    "99999999999999999999,1,2,0.5,1.5,10": "time out of range",
    f"{NOW + 1},1,2,0.5,1.5,10": "not closed yet",
    f'{START},"1,2,0.5,1.5,10': "unreadable open",
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_line_is_set_aside_with_its_text_and_the_rest_is_taken(tmp_path: Path, line: str) -> None:
    rest = GOOD.replace(str(START), str(START + MINUTE))
    sink, report = imported(write(tmp_path, PLAIN, line, "", rest))
    assert [row[0] for row in only(sink)] == [START + MINUTE]
    [(raw, reason)] = sink.rejected
    assert raw == line
    assert BROKEN[line] in reason or (BROKEN[line].startswith("time out") and "time" in reason)
    assert report.rows == 2, "a blank line is no row"


def test_bytes_that_are_no_text_are_shown_and_nothing_else_suffers(tmp_path: Path) -> None:
    path = tmp_path / "BTC-USDT_1m.csv"
    path.write_bytes(f"{PLAIN}\n{GOOD}\n{START},1,\xff\x00,0.5,1.5,10\n".encode("latin-1"))
    sink, _ = imported(path)
    assert only(sink) == [CANDLE]
    assert sink.rejected == [(f"{START},1,\\xff\x00,0.5,1.5,10", "unreadable high")]


def test_text_in_utf_16_and_text_without_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "BTC-USDT_1m.csv"
    path.write_text(f"{PLAIN}\n{GOOD}\n", encoding="utf-16")
    assert "UTF-16" in str(imported(path)[1].error)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 64)
    path.write_bytes(b"7" * 200)
    assert "no line end" in str(imported(path)[1].error)
    path.write_text(f"{PLAIN}\n")
    report = imported(path)[1]
    assert (report.error, report.rows, report.unit) == (None, 0, None)
    path.write_bytes(b"")
    assert "is empty" in str(imported(path)[1].error)


def test_our_own_torn_last_line_is_no_candle_but_that_of_others_is(tmp_path: Path) -> None:
    torn = "2024-01-01T00:01:00Z,1,2,0.5,1.5,10,15190"
    path = tmp_path / "BTC-USDT_1m.csv"
    path.write_text(f"{PLAIN},quote_volume\n2024-01-01T00:00:00Z,1,2,0.5,1.5,10,\n{torn}")
    sink, _ = imported(path)
    assert only(sink) == [CANDLE]
    assert sink.rejected == [(torn, "torn line: its end is missing")]
    path.write_text(f"{PLAIN}\n{GOOD}")
    assert only(imported(path)[0]) == [CANDLE]


def test_numbers_with_more_digits_than_a_double_holds_are_counted(tmp_path: Path) -> None:
    rows = ["1.23456789012345678", "1.0000000000000002", "1.00000000000000000001", "0.00000000000000001"]
    values = [f"{START + n * MINUTE},1,2,0.5,1.5,{text}" for n, text in enumerate(rows)]
    sink, report = imported(write(tmp_path, PLAIN, *values))
    assert [row[5] for row in only(sink)] == [float(text) for text in rows]
    assert report.result.rounded == 2, "the first has lost its last digit, the third is 1"


@pytest.mark.parametrize(
    ("stem", "symbol", "bar"),
    [
        ("BTC-USDT_1m", "BTC-USDT", "1m"),
        ("BTC-USDT_1M", "BTC-USDT", "1M"),
        ("BTC-USDT_1mo", "BTC-USDT", "1M"),
        ("BTC-USDT-SWAP_1H", "BTC-USDT-SWAP", "1h"),
        ("BTC-USDT_1Dutc", "BTC-USDT", "1d"),
        ("BTC-USD_UM-SWAP_4h", "BTC-USD_UM-SWAP", "4h"),
        ("okx_BTC-USDT-SWAP_1m_2026-01", "BTC-USDT-SWAP", "1m"),
        ("BTCUSDT_1H", None, "1h"),
        ("BTC-USDT_ETH-USDT_1h_1d", None, None),
        ("btc_usdt_60min", None, None),
        ("candles", None, None),
    ],
)
def test_a_name_tells_a_series_only_where_it_can_mean_nothing_else(stem: str, symbol: str | None, bar: str) -> None:
    assert symbol_in(stem) == symbol
    assert timeframe_in(stem) == (TIMEFRAMES[bar] if bar else None)
    assert named_timeframe("1MO") is None or named_timeframe("1MO") != TIMEFRAMES["1m"]


def test_a_file_that_tells_no_series_asks_for_it(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN, GOOD, name="BTCUSDT_1H.csv")
    assert "tells the symbol" in str(imported(path)[1].error)
    sink, _ = imported(path, symbol="btc/usdt")
    assert only(sink, Series("okx", "BTC-USDT", TIMEFRAMES["1h"])) == [CANDLE]
    assert "the symbol and the timeframe" in str(imported(write(tmp_path, PLAIN, GOOD, name="a.csv"))[1].error)


def test_one_file_may_hold_many_series_and_each_row_goes_to_its_own(tmp_path: Path) -> None:
    rows = [
        f"{symbol},{interval},{START},1,2,0.5,1.5,10"
        for symbol, interval in (("BTC-USDT", "1m"), ("btc/usdt", "1h"), ("ETH-USDT", "1H"), ("BTC/USDT", "1m"))
    ]
    nameless = f"?,1m,{START},1,2,0.5,1.5,10"
    sink, report = imported(write(tmp_path, f"symbol,interval,{PLAIN}", *rows, nameless, name="dump.csv"))
    assert {str(series): len(found) for series, found in sink.candles.items()} == {
        "BTC-USDT 1m": 1,
        "BTC-USDT 1h": 1,
        "ETH-USDT 1h": 1,
    }
    assert report.result.unchanged == 1, "two spellings of one series"
    assert [raw for raw, _ in sink.rejected] == [nameless]
    sink, _ = imported(tmp_path / "dump.csv", symbol="ETH-USDT")
    assert [str(series) for series in sink.candles] == ["ETH-USDT 1h"]
    assert "BTC-USDT, not ETH-USDT" in sink.rejected[0][1]


def test_spellings_of_one_series_in_different_blocks_are_one_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 60)
    rows = [f"{symbol},{GOOD.replace('1.5', close)}" for symbol, close in (("BTC-USDT", "1.5"), ("btc/usdt", "1.6"))]
    sink, _ = imported(write(tmp_path, f"symbol,{PLAIN}", *rows, name="a_1m.csv"))
    assert sink.candles == {}
    assert sink.rejected == [(row, CONFLICTING) for row in rows]


def test_local_times_and_instants_that_mean_the_same_are_one_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 60)
    rows = ["2024-01-01 08:00:00,1,2,0.5,1.5,10", "2024-01-01 00:00:00Z,1,2,0.5,1.6,10"]
    sink, _ = imported(write(tmp_path, PLAIN, *rows), zone="Asia/Hong_Kong")
    assert sink.rejected == [(row, CONFLICTING) for row in rows]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["1.5", "1.6", "1.5", "x"])), min_size=1, max_size=40),
    st.integers(40, 400),
)
@example([(0, "1.5"), (0, "1.5"), (0, "1.5"), (0, "1.5"), (0, "1.6")], 40)
def test_rows_in_any_order_and_any_blocks_are_judged_as_one_table(rows: list[tuple[int, str]], block: int) -> None:
    """However a file is cut: equal rows are one candle, rows that disagree are all rejected."""
    texts = [f"{START + minute * MINUTE},1,2,0.5,{close},10" for minute, close in rows]
    table = [(START + m * MINUTE, 1, 2, 0.5, float(close), 10, np.nan) for m, close in rows if close != "x"]
    names = ("open_time", "open", "high", "low", "close", "base_volume", "quote_volume")
    columns = dict(zip(names, zip(*table, strict=True), strict=True)) if table else dict.fromkeys(names, ())
    expected = judge(CandleRows.of(BTC, columns), now=NOW, raw=str)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", block)
        sink, report = imported(write(Path(folder), PLAIN, *texts))
    assert only(sink) == tuples(expected.accepted)
    assert report.result.unchanged == expected.repeated
    reasons = [reason for _, reason in sink.rejected]
    assert reasons.count(CONFLICTING) == len(expected.rejected)
    assert len(reasons) == len(expected.rejected) + len(rows) - len(table)
    span = report.series[0].span if report.series else None
    assert span == expected.accepted.span
    if span is not None:
        missing = TIMEFRAMES["1m"].count(span) - len(expected.accepted)
        assert (report.series[0].gaps, report.series[0].missing) == (len(expected.accepted.runs()) - 1, missing)


ALPHABET = st.sampled_from([*"0123456789", *',;\t\n\r".-+eTZ: ', f"{START}", PLAIN, GOOD, "nan", "\x00", "é", "\ufeff"])


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=300), st.lists(ALPHABET, max_size=60).map(lambda parts: "".join(parts).encode())))
@example(f"{PLAIN}\n{GOOD}\n".encode())
@example(f'{PLAIN}\n"{GOOD}\n{GOOD}"\n'.encode())
def test_no_bytes_whatever_crash_it_or_bring_a_candle_that_breaks_a_rule(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "BTC-USDT_1m.csv"
        for content in (data, f"{PLAIN}\n".encode() + data):
            path.write_bytes(content)
            sink, report = imported(path)
            assert report.error is None or str(report.error)
            for delivery in sink.deliveries:
                again = judge(delivery.batch, now=NOW, raw=str)
                assert len(again.accepted) == len(delivery.batch)


@settings(max_examples=80)
@given(st.randoms(use_true_random=False))
def test_a_damaged_file_gives_only_candles_that_keep_every_rule(chance: random.Random) -> None:
    rows = [f"{START + n * MINUTE},1,2,0.5,1.5,{n}" for n in range(50)]
    data = bytearray("\n".join([PLAIN, *rows, ""]).encode())
    for _ in range(chance.randint(1, 20)):
        data[chance.randrange(len(data))] = chance.choice(b'0123456789,\n".x\xff')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "BTC-USDT_1m.csv"
        path.write_bytes(data)
        sink, report = imported(path)
    if report.error is None:
        assert report.rows == len(only(sink)) + report.result.unchanged + len(sink.rejected)
        assert all(len(judge(d.batch, now=NOW, raw=str).accepted) == len(d.batch) for d in sink.deliveries)


def test_folders_patterns_and_archives_are_searched_and_hidden_files_left_alone(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, PLAIN, GOOD)
    (tmp_path / "deep" / "ETH-USDT_1m.csv.gz").write_bytes(gzip.compress(f"{PLAIN}\n{GOOD}\n".encode()))
    with zipfile.ZipFile(tmp_path / "many.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/XRP-USDT_1m.csv", f"{PLAIN}\n{GOOD}\n")
        archive.writestr("../readme.txt", "hello")
    write(tmp_path, PLAIN, GOOD, name=".BTC-USDT_1m.csv.new.csv")
    write(tmp_path, "notes", name="notes.txt")
    found = [source.stem for source in find_sources([str(tmp_path)])]
    assert found == ["BTC-USDT_1m", "ETH-USDT_1m", "XRP-USDT_1m"]
    patterns = [f"{tmp_path}/**/*.gz", f"{tmp_path}/BTC*.csv"]
    assert [source.stem for source in find_sources(patterns)] == ["ETH-USDT_1m", "BTC-USDT_1m"]
    for name in ("deep/ETH-USDT_1m.csv.gz", "many.zip"):
        assert len(imported(tmp_path / name)[0].candles) == 1
    with pytest.raises(DataValidationError, match="nothing to import"):
        find_sources([str(tmp_path / "*.parquet")])


def test_our_own_files_of_other_environments_keep_their_exchange(tmp_path: Path) -> None:
    for folder, exchange in (("okx-demo", "okx-demo"), ("spot", "okx")):
        (tmp_path / folder).mkdir()
        sink, _ = imported(write(tmp_path / folder, PLAIN, GOOD))
        assert [series.exchange for series in sink.candles] == [exchange]
    sink, _ = imported(tmp_path / "spot" / "BTC-USDT_1m.csv", exchange="binance")
    assert [series.exchange for series in sink.candles] == ["binance"]


def test_what_unpacks_to_too_much_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "RATIO_COUNTS_FROM_BYTES", 10_000)
    bomb = f"{PLAIN}\n".encode() + b"0" * 3_000_000
    (tmp_path / "BTC-USDT_1m.csv.gz").write_bytes(gzip.compress(bomb))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTC-USDT_1m.csv", bomb)
    for name in ("BTC-USDT_1m.csv.gz", "bomb.zip"):
        sink, report = imported(tmp_path / name)
        assert sink.deliveries == []
        assert "unpacks to more than" in str(report.error)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 0)
    with pytest.raises(DataValidationError, match="1 members, more than 0"):
        find_sources([str(tmp_path / "bomb.zip")])


@pytest.mark.parametrize("name", ["BTC-USDT_1m.csv.gz", "BTC-USDT_1m.zip"])
def test_a_damaged_archive_stores_nothing(tmp_path: Path, name: str) -> None:
    rows = [f"{START + n * MINUTE},1,2,0.5,1.5,{n}" for n in range(2_000)]
    data = "\n".join([PLAIN, *rows, ""]).encode()
    path = tmp_path / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(data)[:-500])
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("BTC-USDT_1m.csv", data)
        packed = bytearray(path.read_bytes())
        packed[2_000] ^= 0xFF
        path.write_bytes(packed)
    sink, report = imported(path)
    assert sink.deliveries == []
    assert "cannot be unpacked" in str(report.error)
    path.write_bytes(b"neither")
    try:
        error = imported(path)[1].error
    except DataValidationError as refused:
        error = refused
    assert "cannot be unpacked" in str(error)
