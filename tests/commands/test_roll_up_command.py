"""``chandlery collect --from``: coarser candles are made of finer ones, and only what these cannot make is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
from market import DAY, HOUR, MIDNIGHT, MINUTE, asked, assert_complete, days, market_candles, series

from candles import changed
from chandlery.cli import main
from chandlery.domain.candle import same_values
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.simulator import Simulator
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from processes import Shell

COARSE = ("5m", "1h", "1d")
TWO_DAYS = ("--since", "2024-02-28", "--until", "2024-02-29")


def test_what_minutes_make_is_not_fetched_and_equals_what_the_exchange_has(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    done = shell.run("collect", "BTC-USDT", "-t", "1h,1m,5m,1d", "--from", "1m", *TWO_DAYS, "--json")
    assert done.code == 0, done.text
    reports = {report["timeframe"]: report for report in done.json["series"]}
    assert list(reports) == ["1h", "1m", "5m", "1d"], "the order asked for"
    assert {name: report["derived"] for name, report in reports.items()} == {"1h": 48, "1m": 0, "5m": 576, "1d": 2}
    assert all(report["complete"] for report in reports.values())
    for name in COARSE:
        assert asked(exchange, series("BTC-USDT", name)) == []
        assert_complete(storage, exchange, series("BTC-USDT", name), days(2))

    status = {row["timeframe"]: row for row in shell.run("status", "--json").json}
    assert {name: row["derived"] for name, row in status.items()} == {"1m": 0, "5m": 1, "1h": 1, "1d": 1}

    again = shell.run("collect", "BTC-USDT", "-t", "1m,5m,1h,1d", "--from", "1m", *TWO_DAYS, "--json")
    assert all((row["inserted"], row["derived"], row["complete"]) == (0, 0, True) for row in again.json["series"])


def test_what_the_minutes_do_not_reach_is_fetched(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    """Older than the minutes, and the hour in which they begin: from the exchange, as without --from."""
    hours = series("BTC-USDT", "1h")
    begin = MIDNIGHT - DAY + 7 * MINUTE
    assert shell.run("collect", "BTC-USDT", "--since", "2024-02-29T00:07:00Z", "--until", "2024-02-29").code == 0
    exchange.journal.clear()
    done = shell.run("collect", "BTC-USDT", "-t", "1h", "--from", "1m", *TWO_DAYS)
    assert done.code == 0, done.text
    assert "derived" in done.out
    whole = Span(MIDNIGHT - DAY + HOUR, MIDNIGHT)
    assert begin not in whole
    assert Spans(asked(exchange, hours)) == Spans([days(2)]) - Spans([whole])
    assert asked(exchange, series("BTC-USDT")) == [], "minutes are not collected unless they are asked for"
    assert_complete(storage, exchange, hours, days(2))
    [entry] = [entry for entry in storage.ledger.entries() if entry.series == hours]
    assert entry.derived == Spans([whole])


def test_a_minute_revised_between_two_runs_changes_its_hour_in_the_second(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    command = ["collect", "BTC-USDT", "-t", "1m,1h", "--from", "1m", "--since", "2024-02-29", "--until", "2024-02-29"]
    assert shell.run(*command).code == 0
    minutes = storage.reader.candles(series("BTC-USDT"), days(1))
    revised = changed(minutes, slice(100, 101), by=1_000.0).take(slice(100, 101))
    storage.writer.write([Delivery(batch=revised, covered=revised.runs())])
    exchange.journal.clear()
    done = shell.run(*command, "--json")
    assert [(row["revised"], row["derived"], row["complete"]) for row in done.json["series"]] == [
        (0, 0, True),
        (1, 1, True),
    ]
    assert storage.reader.candles(series("BTC-USDT", "1h"), days(1)).high[1] == revised.high[0]
    assert not asked(exchange, series("BTC-USDT", "1h"))


@pytest.mark.parametrize("output", ["csv", "both"])
def test_files_are_rolled_up_too(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage, tmp_path: Path, output: str
) -> None:
    """What is on file is what is known: the hours are made of the minutes there, to the last bit."""
    arguments = ["-t", "1m,5m,1h,1d", "--from", "1m", "--since", "2024-02-29T00:07:00Z", "--until", "2024-02-29"]
    done = shell.run("collect", "BTC-USDT", *arguments, "--output", output, "--json")
    assert done.code == 0, done.text
    assert [row["derived"] for row in done.json["series"]] == [0, 286, 23, 0]
    store = CsvStore(tmp_path / "data/klines")
    for name in COARSE:
        one = series("BTC-USDT", name)
        span = one.timeframe.aligned(Span(MIDNIGHT - DAY + 7 * MINUTE, MIDNIGHT))
        assert asked(exchange, one) == []
        if span is not None:
            market = market_candles(exchange, one, span)
            stored = store.read(one)
            assert stored.open_time.tolist() == market.open_time.tolist()
            assert same_values(stored, market).all()
            assert output == "csv" or same_values(storage.reader.candles(one, span), market).all()


@pytest.mark.parametrize("option", ["--timeframe", "--from"])
def test_a_timeframe_that_is_none_is_refused_with_those_there_are(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", "BTC-USDT", option, "7m"]) == 2
    assert f"'7m' is not a timeframe. Use one of {', '.join(TIMEFRAMES)}." in capsys.readouterr().err


def test_from_a_timeframe_that_makes_none_of_those_asked_for_everything_is_fetched(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    """Five minutes are no whole number of three."""
    since = ("--since", "2024-02-29T12:00:00Z", "--until", "2024-02-29")
    assert shell.run("collect", "BTC-USDT", "-t", "3m,5m", "--from", "3m", *since).code == 0
    assert_complete(storage, exchange, series("BTC-USDT", "5m"), Span(MIDNIGHT - 12 * HOUR, MIDNIGHT))
    assert sum(span.length for span in asked(exchange, series("BTC-USDT", "5m"))) == 12 * HOUR
