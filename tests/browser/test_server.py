"""Who is let in and who is not, and that answers are what is stored: asked as a program would."""

from __future__ import annotations

import http.client
import json
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
from served import GAP, save, served

from candles import START, candles, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, MINUTE_MS
from chandlery.errors import DatabaseError
from chandlery.services.browsing.coverage_map import coverage_map
from chandlery.services.browsing.window import window
from chandlery.services.opening import open_reading_storage
from chandlery.services.seal import Sealer
from chandlery.settings import load_settings
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.web.server import ServeOptions
from processes import as_url

TOKEN = "a token of more than sixteen characters"
BTC = {"exchange": "okx", "symbol": "BTC-USDT", "timeframe": "1h"}


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(address: str, path: str, headers: Mapping[str, str] = {}, **parameters: object) -> Answer:
    asked = f"{path}?{urlencode(parameters)}" if parameters else path
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    connection.request("GET", asked, headers=dict(headers))
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


@contextmanager
def locked(storage: PostgreSQLStorage) -> Iterator[str]:
    with served(storage, ServeOptions(token=TOKEN)) as address:
        yield address


@pytest.mark.parametrize("path", ["/", "/api/candles", "/static/../api.py"])
def test_every_answer_forbids_what_the_page_does_not_need(address: str, path: str) -> None:
    headers = get(address, path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


def test_only_this_machines_names_are_answered(address: str) -> None:
    port = urlsplit(address).port
    for name in ("evil.example", "localhost.evil.example", "192.0.2.7", "", "127.0.0.1.evil.example"):
        assert get(address, "/api/series", {"Host": f"{name}:{port}"}).status == 421, name
    for name in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST"):
        assert get(address, "/api/series", {"Host": f"{name}:{port}"}).status == 200, name


def test_names_that_were_set_are_answered(storage: PostgreSQLStorage) -> None:
    storage.require_schema()
    with served(storage, ServeOptions(names=("candles.example",))) as address:
        assert get(address, "/api/series", {"Host": "candles.example"}).status == 200


def test_without_the_token_nothing_is_told(storage: PostgreSQLStorage) -> None:
    with locked(storage) as address:
        for path in ("/api/series", "/api/events", "/api/state", "/static/app.js", "/nothing"):
            assert get(address, path).status == 401
            assert get(address, path, {"Authorization": f"Bearer {TOKEN}x"}).status == 401
            assert get(address, path, {"Cookie": f"chandlery={TOKEN}"}).status == 401, "the cookie is not the token"
            assert get(address, path, token=TOKEN).status == 401, "it is no parameter"


def test_the_token_opens_by_header_and_by_login(storage: PostgreSQLStorage) -> None:
    storage.require_schema()
    with locked(storage) as address:
        assert get(address, "/api/series", {"Authorization": f"Bearer {TOKEN}"}).status == 200
        assert get(address, "/").headers["Location"] == "/login"
        assert b"<form" in get(address, "/login").body
        assert get(address, "/login", token="wrong").status == 403
        told = get(address, "/login", token=TOKEN)
        assert (told.status, told.headers["Location"]) == (303, "/")
        cookie = told.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert get(address, "/api/series", {"Cookie": cookie.partition(";")[0]}).status == 200


def test_the_database_itself_refuses_writes(database_url: str) -> None:
    settings = load_settings(environ={"CHANDLERY_DATABASE_URL": as_url(database_url)})
    with open_reading_storage(settings) as storage, pytest.raises(DatabaseError, match="read-only"):
        storage.catalog.ensure("okx", "NEW-USDT")


WRONG: list[dict[str, object]] = [
    {"count": 0}, {"count": 50_001}, {"count": "ten"}, {"end": -1}, {"end": "9" * 40}, {"timeframe": "1H"},
    {"count": "١٠"}, {"start": "1e5"},
]  # fmt: skip


def test_a_wrong_question_is_refused_with_a_sentence(address: str) -> None:
    for wrong in WRONG:
        answer = get(address, "/api/candles", **(BTC | wrong))
        assert answer.status == 400, wrong
        assert answer.body.endswith(b".\n")


def test_an_unknown_series_has_no_candles(address: str) -> None:
    answer = get(address, "/api/candles", **(BTC | {"symbol": "'; DROP TABLE chandlery.candle; --"}))
    assert answer.json["open_time"] == []


def test_candles_are_those_that_are_stored(address: str, filled: PostgreSQLStorage) -> None:
    answer = get(address, "/api/candles", **BTC, count=10).json
    stored = filled.get_candles("BTC-USDT", "1h").take(slice(-10, None))
    assert answer["open_time"] == stored.open_time.tolist()
    assert answer["close"] == stored.close.tolist()
    assert answer["volume"] == stored.base_volume.tolist()
    assert answer["step_ms"] == HOUR_MS


def test_series_map_and_state_are_told(address: str) -> None:
    assert [(one["symbol"], one["timeframe"]) for one in get(address, "/api/series").json] == [
        ("BTC-USDT", "1h"), ("BTC-USDT", "1m"), ("ETH-USDT", "1h"),
    ]  # fmt: skip
    told = get(address, "/api/coverage", cells=100, filter="eth").json
    assert (told["series"], len(told["rows"])) == (1, 1)
    assert told["rows"][0]["cells"] == "c" * (GAP.start // 10) + "gg" + "c" * 28
    assert told["rows"][0]["gap_spans"] == [[START + GAP.start * HOUR_MS, START + GAP.stop * HOUR_MS]]
    assert get(address, "/api/state").json["failed"] == 0
    assert get(address, "/api/quiet", **BTC, start=START, end=START + DAY_MS).json == []


def test_what_is_stored_is_pushed(address: str, filled: PostgreSQLStorage) -> None:
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
        connection.request("GET", "/api/events")
        response = connection.getresponse()
        while line := response.readline():
            lines.put(line.decode().strip())

    threading.Thread(target=read, daemon=True).start()
    while lines.get(timeout=20) != "data: true":
        pass
    filled.writer.notify = True
    save(filled, candles(series("BTC-USDT", "1m"), 1, start=START + 3_000 * MINUTE_MS))
    while (line := lines.get(timeout=20)) != "event: stored":
        pass
    assert json.loads(lines.get(timeout=20).removeprefix("data: "))["symbol"] == "BTC-USDT", line


def holed(storage: PostgreSQLStorage) -> CandleBatch:
    """100 hours: 40 to 59 not covered, 70 to 74 covered and without candles."""
    batch = candles(series(interval="1h"), 100)
    hour = np.arange(100)
    kept = batch.take((hour < 40) | ((hour >= 60) & (hour < 70)) | (hour >= 75))
    known = Spans([Span(START, START + 40 * HOUR_MS), Span(START + 60 * HOUR_MS, START + 100 * HOUR_MS)])
    save(storage, kept, known)
    return kept


def test_a_window_passes_over_holes_and_tells_them(storage: PostgreSQLStorage) -> None:
    storage.require_schema()
    kept = holed(storage)
    found = window(storage, series(interval="1h"), 50)
    assert found.candles.open_time.tolist() == kept.open_time[-50:].tolist()
    assert found.gaps == Spans([Span(START + 40 * HOUR_MS, START + 60 * HOUR_MS)])
    assert found.empty == Spans([Span(START + 70 * HOUR_MS, START + 75 * HOUR_MS)])
    onwards = window(storage, series(interval="1h"), 12, start=START + 35 * HOUR_MS)
    assert onwards.candles.open_time.tolist() == kept.open_time[35:47].tolist()
    before = window(storage, series(interval="1h"), 5, end=START + 55 * HOUR_MS)
    assert before.candles.open_time.tolist() == kept.open_time[35:40].tolist()
    assert len(window(storage, series(interval="1h"), 500).candles) == len(kept)
    assert not len(window(storage, series(interval="1h"), 5, end=START).candles)
    assert not len(window(storage, series(interval="1h"), 5, start=START + 200 * HOUR_MS).candles)


def test_sealed_months_are_shown_as_such_and_read(storage: PostgreSQLStorage) -> None:
    storage.require_schema()
    batch = candles(series(interval="15m"), 5_000)
    save(storage, batch)
    [entry] = entries = storage.ledger.entries()
    sealer = Sealer(storage)
    sealer.seal(entry, before=START + 40 * DAY_MS)
    sealer.drop_rows(entry)
    [row] = coverage_map(storage, entries, Span(START, START + 50 * DAY_MS), 50)
    assert row.cells.startswith("s" * 31 + "c")
    assert len(window(storage, series(interval="15m"), 5_000).candles) == 5_000


def test_cells_add_up_whatever_the_spans(storage: PostgreSQLStorage) -> None:
    storage.require_schema()
    holed(storage)
    entries = storage.ledger.entries()
    [row] = coverage_map(storage, entries, Span(START - 20 * HOUR_MS, START + 120 * HOUR_MS), 14)
    assert row.cells == ".." + "cccc" + "gg" + "cccc" + ".."
    [row] = coverage_map(storage, entries, Span(START, START + 100 * HOUR_MS), 3)
    assert row.cells == "cpc"
