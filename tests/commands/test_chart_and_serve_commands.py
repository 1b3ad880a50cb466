"""``chandlery chart`` draws what is stored; ``chandlery serve`` serves until it is told to stop."""

from __future__ import annotations

import http.client
import re
import signal
from collections.abc import Callable

import pytest
from market import MIDNIGHT, MINUTE, series

from candles import candles
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from plain_json import utc
from processes import Running, Shell, as_url


@pytest.fixture
def stored(storage: PostgreSQLStorage) -> PostgreSQLStorage:
    storage.require_schema()
    batch = candles(series("BTC-USDT"), 500, start=MIDNIGHT)
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])
    return storage


def ask(address: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    connection.request("GET", path, headers=headers)
    return connection.getresponse().status


def first_line(serving: Running) -> str:
    assert serving.process.stdout is not None
    return serving.process.stdout.readline()


def test_the_newest_candles_are_drawn_in_the_size_asked_for(shell: Shell, stored: PostgreSQLStorage) -> None:
    drawn = shell.run("chart", "BTC-USDT", "--width", 60, "--height", 12)
    assert drawn.code == 0
    title, *lines = drawn.out.rstrip("\n").splitlines()
    assert title.startswith("BTC-USDT 1m   2024-03-01 08:19 UTC   close ")
    assert len(lines) == 12
    assert re.search("[┃╽╿╻╹]", drawn.out)
    assert "46 candles" in drawn.err


def test_where_the_terminal_has_no_blocks_it_is_plain(shell: Shell, stored: PostgreSQLStorage) -> None:
    assert shell.run("chart", "BTC-USDT", "--ascii").out.isascii()
    assert shell.run("chart", "BTC-USDT", LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0").out.isascii()


def test_what_would_be_drawn_is_given_as_json(shell: Shell, stored: PostgreSQLStorage) -> None:
    told = shell.run("chart", "BTC-USDT", "--width", 60, "--until", "2024-03-01T01:00:00Z", "--json").json
    assert told["open_time"] == [utc(MIDNIGHT + minute * MINUTE) for minute in range(15, 61)]


def test_what_is_not_stored_is_said_in_a_sentence(shell: Shell, stored: PostgreSQLStorage) -> None:
    assert "No candles of BTC-USDT 1d" in shell.run("chart", "BTC-USDT", "-t", "1d").out
    unknown = shell.run("chart", "BTC-USDC")
    assert unknown.code == 2
    assert "Did you mean BTC-USDT" in unknown.err


def test_it_serves_until_ctrl_c(shell: Shell, stored: PostgreSQLStorage) -> None:
    serving = shell.start("serve", "--port", 0)
    [address] = re.findall(r"http://127\.0\.0\.1:\d+", first_line(serving))
    assert ask(address, "/") == 200
    stopped = serving.interrupt(signal.SIGINT, within_s=10)
    assert stopped.code == 0
    assert "Traceback" not in stopped.err


def test_beyond_loopback_a_token_is_made_and_shown(shell: Shell, stored: PostgreSQLStorage) -> None:
    serving = shell.start("serve", "--host", "0.0.0.0", "--port", 0)
    line = first_line(serving)
    [(port, token)] = re.findall(r":(\d+)/login\?token=([\w-]{40,})", line)
    address = f"http://127.0.0.1:{port}"
    assert ask(address, "/api/series") == 401
    assert ask(address, "/api/series", Authorization=f"Bearer {token}") == 200
    assert "not encrypted" in serving.interrupt(signal.SIGTERM, within_s=10).err


def test_a_token_that_was_set_is_asked_for_and_never_shown(shell: Shell, stored: PostgreSQLStorage) -> None:
    serving = shell.start("serve", "--port", 0, CHANDLERY_SERVE_TOKEN="0123456789abcdef")
    [address] = re.findall(r"http://127\.0\.0\.1:\d+", line := first_line(serving))
    assert ask(address, "/api/series") == 401
    assert ask(address, "/api/series", Authorization="Bearer 0123456789abcdef") == 200
    assert "0123456789abcdef" not in line + serving.interrupt(signal.SIGTERM, within_s=10).text


def test_what_cannot_be_is_said_in_a_sentence(shell: Shell, stored: PostgreSQLStorage) -> None:
    short = shell.run("serve", CHANDLERY_SERVE_TOKEN="short-secret")
    assert short.code == 2
    assert "CHANDLERY_SERVE_TOKEN" in short.err
    assert "short-secret" not in short.text
    elsewhere = shell.run("serve", "--host", "192.0.2.1")
    assert elsewhere.code == 2
    assert "nothing can listen at 192.0.2.1" in elsewhere.err


def test_a_database_without_tables_is_told_of_and_left_alone(shell: Shell, new_database: Callable[..., str]) -> None:
    url = as_url(new_database(empty=True))
    done = shell.run("serve", "--port", 0, CHANDLERY_DATABASE_URL=url)
    assert done.code == 3
    assert "chandlery schema apply" in done.err
