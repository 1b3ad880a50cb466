"""Every way in which OKX, or something in between, fails to answer: which error it becomes, and what is tried again."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from aiohttp import ClientError
from small_okx import MINUTE, NOW, Answer, SmallOkx, candle, envelope, hangs, instrument, resets, says, series, serving

from chandlery.domain.span import Span
from chandlery.errors import ExchangeError, ExchangeUnavailable, RateLimited, RequestRefused
from chandlery.exchange.okx import Endpoint, OkxSource
from chandlery.exchange.okx.codes import retry_after_s
from chandlery.exchange.pacing import RateLimit

OPEN = MINUTE.floor(NOW) - 60 * 60_000
ASKED = Span(OPEN, OPEN + 60_000)

SHORT_WINDOWS = {endpoint: RateLimit(requests=50, window_s=0.05) for endpoint in Endpoint}


def fails_with(*answers: Answer, **settings: object) -> tuple[ExchangeError, int]:
    """The error of a page that gets ``answers``, and the number of attempts."""

    async def run() -> tuple[ExchangeError, int]:
        okx = SmallOkx.with_candles(OPEN)
        okx.script(*answers)
        async with serving(okx, **({"attempts": 1} | settings)) as given, OkxSource(given) as source:
            with pytest.raises(ExchangeError) as caught:
                await source.page(instrument(), series(), ASKED)
        return caught.value, len(okx.asked())

    return asyncio.run(run())


def recovers_after(*answers: Answer, **settings: object) -> int:
    """The number of attempts for a page that gets ``answers`` and then an honest one."""

    async def run() -> int:
        okx = SmallOkx.with_candles(OPEN)
        okx.script(*answers)
        async with serving(okx, **settings) as given, OkxSource(given) as source:
            page = await source.page(instrument(), series(), ASKED)
            assert page.rows.open_time.tolist() == [OPEN]
            assert list(page.answered) == [ASKED]
        return len(okx.asked())

    return asyncio.run(run())


TRANSIENT = [
    ("50011", 429, RateLimited),
    ("50011", 200, RateLimited),
    ("50013", 429, RateLimited),
    ("50001", 503, ExchangeUnavailable),
    ("50004", 400, ExchangeUnavailable),
    ("50026", 500, ExchangeUnavailable),
    ("50005", 410, ExchangeUnavailable),
    ("59999", 502, ExchangeUnavailable),
]
LASTING = [
    ("50014", 400), ("50015", 400), ("50016", 400), ("50024", 400), ("50025", 400), ("50039", 200), ("50047", 200),
    ("50121", 200), ("50051", 200), ("50030", 200), ("50038", 200), ("50100", 400), ("50110", 401), ("50115", 405),
    ("51000", 400), ("51001", 200), ("51014", 200), ("51015", 200), ("59999", 200),
]  # fmt: skip


@pytest.mark.parametrize(("code", "status", "kind"), TRANSIENT)
def test_a_passing_trouble_is_tried_again_until_it_passes(code: str, status: int, kind: type[ExchangeError]) -> None:
    trouble = says(code=code, status=status)
    error, _ = fails_with(trouble)
    assert type(error) is kind
    assert error.transient
    assert error.code == code
    assert recovers_after(trouble, trouble, limits=SHORT_WINDOWS) == 3


@pytest.mark.parametrize(("code", "status"), LASTING)
def test_a_refusal_is_raised_at_once_with_its_code(code: str, status: int) -> None:
    error, attempts = fails_with(says(code=code, status=status), attempts=8)
    assert type(error) is RequestRefused
    assert not error.transient
    assert error.code == code
    assert f"error {code}" in str(error)
    assert attempts == 1


GZIP = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
TRUNCATED_GZIP = gzip.compress(json.dumps(envelope([candle(OPEN)])).encode())[:-20]
NOT_THE_PROTOCOL = {
    "an HTML body with 502": says(b"<html>Bad Gateway</html>", status=502),
    "an HTML body with 200": says(b"<html>Welcome</html>"),
    "503 without a body": says(b"", status=503),
    "408": says(b"", status=408),
    "nothing": says(b""),
    "truncated JSON": says(json.dumps(envelope([candle(OPEN)])).encode()[:-40]),
    "JSON of another shape": says(b"[1, 2, 3]"),
    "no code": says(b'{"data": []}'),
    "code 0 without data": says(b'{"code": "0", "msg": ""}'),
    "code 0 with a wrong shape": says({"rows": []}),
    "code 0 with 500": says([], status=500),
    "bytes that are no text": says(b"\xff\xfe{}"),
    "gzip that is not": says(b"plain", headers=GZIP),
    "truncated gzip": says(TRUNCATED_GZIP, headers=GZIP),
    "a reset": resets,
}


@pytest.mark.parametrize("trouble", NOT_THE_PROTOCOL.values(), ids=NOT_THE_PROTOCOL.keys())
def test_what_is_not_the_protocol_counts_as_unavailable_and_is_tried_again(trouble: Answer) -> None:
    error, _ = fails_with(trouble)
    assert type(error) is ExchangeUnavailable
    assert recovers_after(trouble, trouble) == 3


def test_an_answer_that_does_not_come_in_time_is_tried_again() -> None:
    error, _ = fails_with(hangs, timeout_s=0.1)
    assert type(error) is ExchangeUnavailable
    assert "0.1 s" in str(error)
    assert recovers_after(hangs, timeout_s=0.1) == 2


def test_a_server_that_is_not_there_is_unavailable_and_its_cause_is_kept() -> None:
    async def run() -> None:
        async with serving(SmallOkx(), attempts=2) as given:
            pass
        async with OkxSource(given) as source:
            with pytest.raises(ExchangeUnavailable, match="cannot be reached") as caught:
                await source.page(instrument(), series(), ASKED)
        assert isinstance(caught.value.__cause__, ClientError)

    asyncio.run(run())


def test_an_answer_without_end_is_cut_off() -> None:
    error, _ = fails_with(says(b"[" * 50_000), largest_body=10_000)
    assert type(error) is ExchangeUnavailable
    assert "10000 bytes" in str(error)


@pytest.mark.parametrize("status", [301, 302, 403, 404, 451])
def test_a_page_of_somebody_else_is_refused_with_a_hint_and_not_hammered(status: int) -> None:
    error, attempts = fails_with(
        says(b"<html>", status=status, headers={"Location": "https://example.com/"}), attempts=8
    )
    assert type(error) is RequestRefused
    assert "base_url" in error.hint
    assert attempts == 1


def test_429_without_json_is_a_rate_limit() -> None:
    error, _ = fails_with(says(b"Too Many Requests", status=429))
    assert type(error) is RateLimited
    assert error.retry_after_s is None


@pytest.mark.parametrize("trouble", [says(b"slow", status=429, headers={"Retry-After": "45"}),
                                     says(code="50011", status=429, headers={"Retry-After": "45"}),
                                     says(code="50011", headers={"Retry-After": "45"})])  # fmt: skip
def test_a_rate_limit_tells_when_to_come_back(trouble: Answer) -> None:
    error, _ = fails_with(trouble)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 45.0


def test_what_is_asked_for_is_capped() -> None:
    error, _ = fails_with(says(b"", status=429, headers={"Retry-After": "86400"}))
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 60.0


def test_foreign_text_in_a_message_is_cut_and_made_printable() -> None:
    error, _ = fails_with(says(json.dumps(envelope([], "51000", "\x1b[31mred\n" + "x" * 5000)).encode()))
    assert str(error).isprintable()
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("5", 5.0), (" 7 ", 7.0), ("soon", None), ("-3", None), ("１２", None), ("9" * 400, 999_999_999.0)],
)
def test_retry_after_is_read_as_a_number(header: str | None, expected: float | None) -> None:
    assert retry_after_s(header, 0.0) == expected


def test_retry_after_is_read_as_a_date_and_never_lies_in_the_past() -> None:
    date = format_datetime(datetime(2026, 1, 1, tzinfo=UTC), usegmt=True)
    at = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert retry_after_s(date, at - 20) == 20.0
    assert retry_after_s(date, at + 20) == 0.0
