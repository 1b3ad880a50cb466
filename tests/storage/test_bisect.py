"""Rows that the server refuses are set aside with its reason; the rest of the batch is stored, in one transaction."""

from __future__ import annotations

import json

import numpy as np
import pytest

from candles import candles, changed, series
from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.span import Span
from chandlery.errors import DatabaseError
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery, SaveResult, Writer

EVER = Span(0, 4_102_444_800_000)
REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.base_volume = {mark} THEN RAISE EXCEPTION 'of_the_owner: not this one'; END IF;
        RETURN NEW;
    END $$;
    CREATE {kind} of_the_owner {when} INSERT OR UPDATE ON chandlery.candle_1m {how}
        FOR EACH ROW EXECUTE FUNCTION refuse()
"""
RULES = {
    "check": "ALTER TABLE chandlery.candle_1m ADD CONSTRAINT of_the_owner CHECK (base_volume <> {mark})",
    "trigger": REFUSE.replace("{kind}", "TRIGGER").replace("{when}", "BEFORE").replace("{how}", ""),
    "deferred trigger": REFUSE.replace("{kind}", "CONSTRAINT TRIGGER")
    .replace("{when}", "AFTER")
    .replace("{how}", "DEFERRABLE INITIALLY DEFERRED"),
}
MARK = 77.25


def own_rule(storage: PostgreSQLStorage, rule: str) -> None:
    storage.database.transact(lambda c: c.execute(RULES[rule].replace("{mark}", str(MARK))))  # type: ignore[call-overload]


def marked(batch: CandleBatch, *rows: int) -> CandleBatch:
    """The same candles, with the volume that the owner forbids in some rows."""
    volume = batch.base_volume.copy()
    volume[list(rows)] = MARK
    return CandleBatch.of(batch.series, {**batch.columns(), "base_volume": volume})


def delivery(batch: CandleBatch) -> Delivery:
    return Delivery(batch=batch, covered=batch.runs())


def assert_stored_but(storage: PostgreSQLStorage, batch: CandleBatch, *bad: int) -> None:
    good = batch.take(np.setdiff1d(np.arange(len(batch)), bad))
    stored = storage.reader.candles(batch.series, EVER)
    assert np.array_equal(stored.open_time, good.open_time)
    assert same_values(stored, good).all()
    assert storage.ledger.covered(batch.series) == good.runs()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bad", [(0,), (299,), (7, 8, 150), tuple(range(300))], ids=["first", "last", "some", "all"])
def test_the_good_rows_are_stored_and_the_bad_ones_kept_with_the_servers_reason(
    storage: PostgreSQLStorage, rule: str, bad: tuple[int, ...]
) -> None:
    own_rule(storage, rule)
    batch = marked(candles(series(), 300), *bad)
    result = storage.writer.write([delivery(batch)])
    assert result == SaveResult(inserted=300 - len(bad), rejected=len(bad))
    assert_stored_but(storage, batch, *bad)
    rows = storage.database.transact(
        lambda c: c.execute(
            "SELECT extract(epoch FROM open_time)::float8 * 1000, reason, raw"
            "  FROM chandlery.rejected ORDER BY open_time"
        ).fetchall()
    )
    assert [row[0] for row in rows] == batch.open_time[list(bad)].tolist()
    assert all("of_the_owner" in reason for _, reason, _ in rows)
    assert [json.loads(raw)["close"] for _, _, raw in rows] == batch.close[list(bad)].tolist()


def test_other_series_of_the_same_write_lose_nothing(storage: PostgreSQLStorage) -> None:
    own_rule(storage, "check")
    batches = [candles(series("A-USDT"), 50), marked(candles(series("B-USDT"), 50), 3), candles(series("C-USDT"), 50)]
    result = storage.writer.write([delivery(batch) for batch in batches])
    assert result == SaveResult(inserted=149, rejected=1)
    for batch, bad in zip(batches, [(), (3,), ()], strict=True):
        assert_stored_but(storage, batch, *bad)


def test_a_row_that_is_refused_in_one_copy_does_not_cost_the_other_copies(storage: PostgreSQLStorage) -> None:
    own_rule(storage, "check")
    batch = marked(candles(series(), 1_000), 5, 555)
    writer = Writer(storage.database, storage.catalog, rows_per_copy=100)
    assert writer.write([delivery(batch)]) == SaveResult(inserted=998, rejected=2)
    assert_stored_but(storage, batch, 5, 555)


def test_a_revision_that_is_refused_leaves_the_stored_values(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 100)
    storage.writer.write([delivery(batch)])
    own_rule(storage, "trigger")
    later = marked(changed(batch, slice(40, 43)), 41)
    assert storage.writer.write([delivery(later)]) == SaveResult(unchanged=97, revised=2, rejected=1)
    stored = storage.reader.candles(batch.series, EVER)
    assert stored.close[41] == batch.close[41]
    assert stored.close[[40, 42]].tolist() == later.close[[40, 42]].tolist()


def test_seen_again_they_are_counted_and_once_permitted_they_are_stored(storage: PostgreSQLStorage) -> None:
    own_rule(storage, "check")
    batch = marked(candles(series(), 20), 4)
    for _ in range(2):
        storage.writer.write([delivery(batch)])
    seen = storage.database.transact(lambda c: c.execute("SELECT times_seen FROM chandlery.rejected").fetchall())
    assert seen == [(2,)]
    storage.database.transact(lambda c: c.execute("ALTER TABLE chandlery.candle_1m DROP CONSTRAINT of_the_owner"))
    assert storage.writer.write([delivery(batch)]) == SaveResult(inserted=1, unchanged=19)
    assert_stored_but(storage, batch)


def test_a_failure_that_is_not_about_rows_is_not_searched_for_in_them(storage: PostgreSQLStorage) -> None:
    storage.database.transact(lambda c: c.execute("ALTER TABLE chandlery.candle DROP COLUMN base_volume CASCADE"))
    with pytest.raises(DatabaseError):
        storage.writer.write([delivery(candles(series(), 300))])
    assert not storage.ledger.covered(series())
