"""Foreign zips: one member comes out whole, or BadPage does; nothing else, whatever the bytes."""

from __future__ import annotations

import contextlib
import io
import random
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.errors import BadPage
from chandlery.exchange.okx import unzip

CONTENT = b"".join(b"%d,some text,%d\n" % (n, n * 7919 % 10_007) for n in range(2_000))


def zip_of(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as made:
        for number, content in enumerate(members):
            made.writestr(f"{number}.csv", content)
    return body.getvalue()


def content_of(body: bytes) -> bytes:
    with unzip.opened(body) as stream:
        return stream.read()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_only_member_is_read_whatever_its_name(method: int) -> None:
    assert content_of(zip_of(CONTENT, method=method)) == CONTENT
    named = io.BytesIO()
    with zipfile.ZipFile(named, "w") as made:
        made.writestr("../../etc/passwd", CONTENT)
    assert content_of(named.getvalue()) == CONTENT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"PK\x05\x06" + bytes(18),
        b"<html>not here</html>",
        zip_of(),
        zip_of(b"one", b"two"),
        zip_of(*[b""] * 5_000),
        zip_of(CONTENT, method=zipfile.ZIP_BZIP2),
        zip_of(CONTENT, method=zipfile.ZIP_LZMA),
    ],
    ids=["nothing", "no entries", "a web page", "no member", "two", "thousands", "bzip2", "lzma"],
)
def test_what_is_no_file_of_candles_is_refused(body: bytes) -> None:
    with pytest.raises(BadPage):
        content_of(body)


def test_an_encrypted_member_is_refused() -> None:
    body = bytearray(zip_of(CONTENT))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(mark) + offset] |= 1
    with pytest.raises(BadPage, match="packed"):
        content_of(bytes(body))


def test_a_bomb_is_given_up_before_it_fills_the_memory() -> None:
    bomb = zip_of(bytes(64 * 2**20))
    tracemalloc.start()
    with pytest.raises(BadPage, match="unpacks to more"), unzip.opened(bomb) as stream:
        list(iter(lambda: len(stream.read(2**16)), 0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_a_bomb_that_declares_a_small_size_does_not_fit_its_checksum() -> None:
    body = bytearray(zip_of(bytes(10 * 2**20)))
    start = body.index(b"PK\x01\x02") + 24
    body[start : start + 4] = (100).to_bytes(4, "little")
    with pytest.raises(BadPage):
        content_of(bytes(body))


def test_a_file_too_large_to_be_one_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unzip, "LARGEST_ZIP", 100)
    with pytest.raises(BadPage, match="larger"):
        content_of(zip_of(CONTENT))


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_damage_is_noticed_wherever_it_is(seed: int) -> None:
    """Cut, or with some bits turned: the true content or BadPage, never other content, never another error."""
    rng = random.Random(seed)
    body = bytearray(zip_of(CONTENT, method=rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    if rng.random() < 0.3:
        del body[rng.randrange(len(body)) :]
    for _ in range(rng.randrange(4) if body else 0):
        # half of the time near the end, where the entries are
        at = rng.choice([rng.randrange(len(body)), -1 - rng.randrange(min(90, len(body)))])
        body[at] ^= 1 << rng.randrange(8)
    with contextlib.suppress(BadPage):
        assert content_of(bytes(body)) == CONTENT


@settings(max_examples=200)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_a_zip_or_refused(noise: bytes, behind: bool) -> None:
    body = zip_of(CONTENT) + noise if behind else noise + zip_of(CONTENT)[-22:]
    with contextlib.suppress(BadPage):
        assert content_of(body) == CONTENT
