"""Writing a few candles of many series at once ends as writing them one by one does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest

from candles import candles, changed, series
from chandlery.domain.candle import CandleBatch, Rejected
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery, SaveResult

SYMBOLS = [f"COIN{number}-USDT" for number in range(12)]


def delivery(batch: CandleBatch, rejected: Rejected | None = None) -> Delivery:
    return Delivery(batch=batch, covered=batch.runs(), rejected=rejected)


def everything(storage: PostgreSQLStorage, of: Series) -> list[tuple[float, ...]]:
    batch = storage.reader.candles(of, Span(0, 4_102_444_800_000))
    return list(zip(*(column.tolist() for column in batch.columns().values()), strict=True))


def test_every_candle_of_a_micro_batch_is_stored_and_covered(storage: PostgreSQLStorage) -> None:
    batches = [candles(series(symbol, bar), 2, seed=n) for n, symbol in enumerate(SYMBOLS) for bar in ("1m", "1h")]

    result = storage.writer.write([delivery(batch) for batch in batches])

    assert result == SaveResult(inserted=2 * len(batches))
    for batch in batches:
        stored = storage.reader.candles(batch.series, Span(0, 4_102_444_800_000))
        assert stored.open_time.tolist() == batch.open_time.tolist()
        assert stored.close.tolist() == batch.close.tolist()
        assert storage.ledger.covered(batch.series) == batch.runs()


def test_a_micro_batch_again_changes_nothing(storage: PostgreSQLStorage) -> None:
    deliveries = [delivery(candles(series(symbol), 1)) for symbol in SYMBOLS]
    storage.writer.write(deliveries)

    assert storage.writer.write(deliveries) == SaveResult(unchanged=len(SYMBOLS))


def test_a_candle_twice_in_one_micro_batch_is_stored_once(storage: PostgreSQLStorage) -> None:
    twice = [delivery(candles(series(symbol), 1)) for symbol in SYMBOLS for _ in range(2)]
    assert storage.writer.write(twice) == SaveResult(inserted=len(SYMBOLS), unchanged=len(SYMBOLS))


@pytest.mark.parametrize("seed", range(4))
def test_together_and_one_by_one_give_the_same(new_database: Callable[..., str], seed: int) -> None:
    """Known, revised, rejected and many candles among plainly new ones."""
    together, one_by_one = PostgreSQLStorage(new_database()), PostgreSQLStorage(new_database())
    rng = np.random.default_rng(seed)
    sources = {symbol: candles(series(symbol), 60, seed=n) for n, symbol in enumerate(SYMBOLS)}
    with together, one_by_one:
        for _ in range(6):
            deliveries = [_anything(sources[symbol], rng) for symbol in rng.choice(SYMBOLS, size=8, replace=False)]
            at_once = together.writer.write(deliveries)
            singly = sum((one_by_one.writer.write([one]) for one in deliveries), SaveResult())
            assert at_once == singly
        for source in sources.values():
            assert everything(together, source.series) == everything(one_by_one, source.series)
            assert together.ledger.covered(source.series) == one_by_one.ledger.covered(source.series)


def _anything(source: CandleBatch, rng: np.random.Generator) -> Delivery:
    start, count = int(rng.integers(0, 30)), int(rng.choice([1, 2, 30]))
    part = source.take(slice(start, start + count))
    if rng.random() < 0.3:
        part = changed(part, slice(0, 1))
    broken = Rejected(series=part.series, open_time=[None], reason=["no readable time"], raw=["?"])
    return delivery(part, broken if rng.random() < 0.2 else None)


def test_writers_of_the_same_micro_batches_store_each_candle_once(storage: PostgreSQLStorage) -> None:
    minutes = [[delivery(candles(series(symbol), 30).take(slice(m, m + 1))) for symbol in SYMBOLS] for m in range(30)]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: [storage.writer.write(minute) for minute in minutes], range(4)))

    for symbol in SYMBOLS:
        assert storage.reader.candles(series(symbol), Span(0, 4_102_444_800_000)).open_time.tolist() == (
            candles(series(symbol), 30).open_time.tolist()
        )


def test_one_that_the_server_refuses_does_not_keep_the_others_out(storage: PostgreSQLStorage) -> None:
    """A constraint of the owner's: its row is set aside, the rest of the micro-batch is stored."""
    storage.require_schema()
    with psycopg.connect(storage.database.conninfo, autocommit=True) as owner:
        owner.execute("ALTER TABLE chandlery.candle ADD CONSTRAINT not_dear CHECK (close < 1e6)")
    good = [candles(series(symbol), 1) for symbol in SYMBOLS[1:]]
    dear = changed(candles(series(SYMBOLS[0]), 1), slice(0, 1), by=1e7)

    result = storage.writer.write([delivery(batch) for batch in (dear, *good)])

    assert result == SaveResult(inserted=len(good), rejected=1)
    assert not storage.ledger.covered(dear.series)
