"""The schema is made once, whoever asks; it is changed only when its owner says so; a newer one is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from chandlery.errors import SchemaError
from chandlery.storage.database import Database
from chandlery.storage.migrations import head
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.schema import SchemaStatus, apply_schema, require_schema, schema_status


def test_an_empty_database_gets_the_schema_on_first_use(new_database: Callable[..., str]) -> None:
    with PostgreSQLStorage(new_database(empty=True)) as storage:
        assert schema_status(storage.database) == SchemaStatus(applied=None, head=head())
        assert storage.get_available_intervals("BTC-USDT") == []
        assert schema_status(storage.database) == SchemaStatus(applied=head(), head=head())


def test_applying_twice_and_at_once_is_harmless(new_database: Callable[..., str]) -> None:
    url, outcomes = new_database(empty=True), []

    def apply() -> None:
        database = Database(url)
        outcomes.append(apply_schema(database).applied)
        database.close()

    threads = [threading.Thread(target=apply) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    apply()
    assert outcomes == [head()] * 5


@pytest.mark.parametrize(("revision", "step"), [("9999", "newer chandlery"), ("0000", "chandlery schema apply")])
def test_another_schema_is_refused_with_the_next_step(database_url: str, revision: str, step: str) -> None:
    database = Database(database_url)
    database.transact(lambda c: c.execute("UPDATE chandlery.schema_version SET version_num = %s", [revision]))
    with pytest.raises(SchemaError, match=step):
        require_schema(database)
    if revision == "9999":
        with pytest.raises(SchemaError, match=step):
            apply_schema(database)
    database.close()


def test_every_timeframe_has_its_table_and_columns_leave_no_padding(database_url: str) -> None:
    database = Database(database_url)
    tables = database.transact(
        lambda c: c.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'chandlery.candle'::regclass"
        ).fetchall()
    )
    assert len(tables) == 13
    assert ("candle_1mo",) in tables
    widths = database.transact(
        lambda c: c.execute(
            "SELECT attlen FROM pg_attribute"
            " WHERE attrelid = 'chandlery.candle'::regclass AND attnum > 0 ORDER BY attnum"
        ).fetchall()
    )
    assert [width for (width,) in widths] == [8] * 7 + [4, -1]
    database.close()
