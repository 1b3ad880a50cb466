"""``chandlery collect`` as a process: everything wanted is stored, and only what is missing is asked for."""

from __future__ import annotations

import socket

import pytest
from market import DAY, HOUR, MIDNIGHT, MINUTE, asked, assert_complete, days, series

from chandlery.cli import main
from chandlery.domain.span import Span, Spans
from chandlery.simulator import FaultKind, FixedClock, Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell, as_url, postgres_variables

SECRET = "hunter2-never-shown"


def test_many_series_in_every_spelling_are_collected_and_reported_as_json(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    """However several symbols and timeframes are written."""
    several = ("BTC-USDT,BTC/USDT:USDT", "eth/usdt", "-t", "1m,1h", "-t", "1d")
    done = shell.run("collect", *several, "--since", "2024-02-29", "--until", "2024-02-29", "--json")
    assert done.code == 0, done.text
    reports = {(report["symbol"], report["timeframe"]): report for report in done.json["series"]}
    assert len(reports) == 9
    for symbol in ("BTC-USDT", "BTC-USDT-SWAP", "ETH-USDT"):
        for interval, count in (("1m", 1_440), ("1h", 24), ("1d", 1)):
            report = reports[symbol, interval]
            assert (report["inserted"], report["complete"], report["missing"]) == (count, True, [])
            assert (report["start"], report["end"]) == ("2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z")
            assert_complete(storage, exchange, series(symbol, interval), days(1))
    assert done.json["requests"] == len(exchange.journal.requests)
    assert exchange.journal.served_twice() == []


def test_a_second_run_asks_for_nothing_and_extensions_to_both_sides_for_what_is_new(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    one = series("BTC-USDT")
    first = ["collect", "BTC-USDT", "--since", "2024-02-27", "--until", "2024-02-28"]
    assert shell.run(*first).code == 0
    exchange.journal.clear()

    again = shell.run(*first)
    assert again.code == 0
    assert "Complete: nothing is missing." in again.out
    assert not any(request.bar for request in exchange.journal.requests), "a covered candle was asked for"

    wider = shell.run("collect", "BTC-USDT", "--since", "2024-02-26T12:00:00Z")
    assert wider.code == 0
    wanted = Span(MIDNIGHT - 4 * DAY + 12 * HOUR, MIDNIGHT)
    new = Spans([wanted]) - Spans([days(3, 1)])
    assert Spans(asked(exchange, one)) == new
    assert sum(span.length for span in asked(exchange, one)) == new.length, "a candle was asked for twice"
    assert_complete(storage, exchange, one, wanted)


def test_a_hole_in_the_middle_is_all_that_is_fetched(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    for since, until in (("2024-02-26", "2024-02-26"), ("2024-02-28", "2024-02-28")):
        assert shell.run("collect", "BTC-USDT", "--since", since, "--until", until).code == 0
    exchange.journal.clear()
    assert shell.run("collect", "BTC-USDT", "--since", "2024-02-26", "--until", "2024-02-28").code == 0
    assert Spans(asked(exchange, series("BTC-USDT"))) == Spans([days(3, 2)])
    assert_complete(storage, exchange, series("BTC-USDT"), days(4, 1))


def test_without_since_it_starts_where_history_begins_which_is_probed_once(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    monthly = series("BTC-USDT", "1M")
    assert shell.run("collect", "BTC-USDT", "-t", "1M").code == 0
    begins = storage.ledger.beginning(monthly)
    listing = exchange.market.listings["BTC-USDT"]
    assert begins == monthly.timeframe.floor(listing.history_start)
    exchange.journal.clear()
    assert shell.run("collect", "BTC-USDT", "-t", "1M").code == 0
    assert not any(request.bar for request in exchange.journal.requests)
    assert storage.get_candles("BTC-USDT", "1M").open_time[0] == begins


def test_the_candle_that_is_still_open_is_not_stored(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    exchange.clock.advance(90 * MINUTE)
    assert shell.run("collect", "BTC-USDT", "-t", "1m,1h", "--since", "2024-02-29").code == 0
    assert storage.reader.latest_open_time(series("BTC-USDT", "1h")) == MIDNIGHT
    assert storage.reader.latest_open_time(series("BTC-USDT", "1m")) == MIDNIGHT + 89 * MINUTE


def test_an_unknown_symbol_is_a_usage_error_that_names_near_ones(shell: Shell, exchange: Simulator) -> None:
    done = shell.run("collect", "BTC-USDTT", "--since", "2024-02-29")
    assert done.code == 2
    assert "does not list BTC-USDTT" in done.err
    assert "Did you mean BTC-USDT" in done.err
    assert done.out == ""
    assert not any(request.bar for request in exchange.journal.requests)


def test_a_series_that_fails_does_not_stop_the_others_and_the_run_says_incomplete(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    exchange.arm(FaultKind.HTTP_500, count=1_000, inst_id="ETH-USDT")
    done = shell.run(
        *("collect", "BTC-USDT", "ETH-USDT", "--since", "2024-02-29", "--until", "2024-02-29"),
        CHANDLERY_DATA_COLLECTION_ATTEMPTS="2",
    )
    assert done.code == 1
    assert "ETH-USDT 1m:" in done.err
    assert "Run the same again to fetch what is missing." in done.out
    assert_complete(storage, exchange, series("BTC-USDT"), days(1))


def test_what_no_run_can_bring_is_not_worth_the_same_again(
    shell: Shell, exchange: Simulator, clock: FixedClock
) -> None:
    """A future that has expired is complete as far as it can be; another series may go on."""
    future, since = "BTC-USDT-240329", ("-t", "1d", "--since", "2024-02-20")
    assert shell.run("collect", future, "ETH-USDT", *since).code == 0
    clock.advance(40 * DAY)
    alone = shell.run("collect", future, *since)
    assert "does not list BTC-USDT-240329 any more" in alone.err
    assert f"Repeating it brings nothing of {future} 1d: the error says why." in alone.out
    assert "again" not in alone.out
    exchange.arm(FaultKind.HTTP_500, count=1_000, inst_id="ETH-USDT")
    both = shell.run("collect", future, "ETH-USDT", *since, CHANDLERY_DATA_COLLECTION_ATTEMPTS="1")
    assert f"Run the same again to fetch what is missing. Repeating it brings nothing of {future} 1d" in both.out


def test_an_exchange_that_cannot_be_reached_ends_it_with_its_own_code_and_a_sentence(shell: Shell) -> None:
    done = shell.run(
        *("collect", "BTC-USDT", "--base-url", f"http://127.0.0.1:{unused_port()}"),
        CHANDLERY_DATA_COLLECTION_ATTEMPTS="2",
    )
    assert done.code == 4
    assert "cannot be reached" in done.err
    assert "Check the network" in done.err
    assert "Traceback" not in done.err


def test_a_database_that_cannot_be_reached_ends_it_at_once(shell: Shell, exchange: Simulator) -> None:
    url = f"postgresql://quant:{SECRET}@127.0.0.1:{unused_port()}/candles"
    done = shell.run("collect", "BTC-USDT", CHANDLERY_DATABASE_URL=url)
    assert done.code == 3
    assert done.seconds < 10
    assert "PostgreSQL cannot be reached" in done.err
    assert SECRET not in done.text
    assert "Traceback" not in done.err
    assert not exchange.journal.requests


def test_a_wrong_password_ends_it_at_once_and_is_not_shown(shell: Shell, database_url: str) -> None:
    done = shell.run("collect", "BTC-USDT", CHANDLERY_DATABASE_URL=as_url(database_url, password=SECRET))
    assert done.code == 3
    assert done.seconds < 10
    assert "password authentication failed" in done.err
    assert SECRET not in done.text


def test_the_password_of_the_database_shows_in_no_output_however_it_is_logged(
    shell: Shell, exchange: Simulator, database_url: str
) -> None:
    password = postgres_variables(database_url).get("POSTGRES_PASSWORD", SECRET)
    exchange.arm(FaultKind.HTTP_500, count=2, endpoint="candles")
    done = shell.run(
        *("collect", "BTC-USDT", "--since", "2024-02-29", "--json"),
        CHANDLERY_DATABASE_URL=as_url(database_url, password=password),
        CHANDLERY_LOGGING_LEVEL="debug",
        CHANDLERY_LOGGING_FILE="errors.log",
    )
    assert done.code == 0
    logged = (shell.folder / "errors.log").read_text()
    assert "HTTP 500" in logged
    assert password not in done.text + logged


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-t", "7m"), "Use one of 1m, 3m, 5m"),
        (("--since", "yesterday"), "the option --since is 'yesterday': it should be a time such as 2024, 2024-01,"),
        (("--since", "2024-02-02", "--until", "2024-02-01"), "until"),
        (("--output", "xml"), "'postgres', 'csv' or 'both'"),
        (("--concurrency", "0"), "greater than or equal to 1"),
        (("--concurrency", "many"), "Invalid value for '--concurrency'"),
        (("--base-url", "ftp://okx"), "an address such as https://openapi.okx.com"),
        (("--config", "no-such.json"), "no-such.json"),
        (("--nonsense",), "No such option"),
        (("BTC USDT",), "'BTC USDT' is not a symbol"),
    ],
)
def test_a_bad_option_is_a_usage_error_that_names_what_is_permitted(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert main(["collect", "BTC-USDT", *arguments]) == 2
    written = capsys.readouterr()
    assert said in written.err
    assert written.out == ""


def test_a_bad_option_reaches_the_shell_as_code_two(shell: Shell) -> None:
    done = shell.run("collect", "BTC-USDT", "--since", "yesterday")
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
