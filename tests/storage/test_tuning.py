"""``doctor --tune``: what the server has, what would be better here, and the SQL for it."""

from __future__ import annotations

import pytest

from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.tuning import Facts, advice, advised, shown

GOOD = {
    "shared_buffers": 2.0**30,
    "max_wal_size": 2.0**31,
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "max_locks_per_transaction": 64.0,
    "max_connections": 100.0,
    "max_prepared_transactions": 0.0,
}


def test_good_settings_are_left_alone() -> None:
    assert not advised(Facts(relations=600, settings=GOOD))


@pytest.mark.parametrize(
    ("setting", "value", "better"),
    [
        ("shared_buffers", 128 * 2.0**20, "256MB"),
        ("max_wal_size", 256 * 2.0**20, "1GB"),
        ("fsync", "off", "on"),
        ("autovacuum", "off", "on"),
    ],
)
def test_a_bad_one_is_told(setting: str, value: float | str, better: str) -> None:
    assert advised(Facts(relations=600, settings=GOOD | {setting: value})) == {setting: better}


def test_locks_must_hold_every_partition_and_key_twice() -> None:
    assert advised(Facts(relations=3_200, settings=GOOD)) == {}
    assert advised(Facts(relations=3_201, settings=GOOD)) == {"max_locks_per_transaction": "128"}


def test_sizes_are_shown_as_people_write_them() -> None:
    assert [shown("16384", "8kB"), shown("-1", "8kB"), shown("300", "s"), shown("on", None)] == [
        "128MB",
        "-1",
        "300s",
        "on",
    ]


def test_sql_is_shown_only_where_it_would_help(storage: PostgreSQLStorage) -> None:
    """The command that starts the suite's server makes it fast and not durable; ALTER SYSTEM would be overruled."""
    found = {one.name: one for one in advice(storage.database)}
    assert (found["work_mem"].advised, found["work_mem"].statement) == (None, "")
    durable = found["fsync"]
    assert durable.advised in (None, "on")
    if durable.advised:
        assert durable.statement == "ALTER SYSTEM SET fsync = 'on';" or "command that starts" in durable.why
