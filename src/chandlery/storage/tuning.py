"""Settings of the server that matter for candles: what they are, what they should be, and why; docs/tuning.md measures.

Only what helps here is advised: a rule that finds a setting good enough leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg

from chandlery.storage.database import Database
from chandlery.storage.sql import query

_KIB, _MIB, _GIB = 2**10, 2**20, 2**30
_BYTES = {"B": 1, "kB": _KIB, "8kB": 8 * _KIB, "MB": _MIB}
_LOCKING = ("max_connections", "max_prepared_transactions")
"""With the locks of each transaction they make up how many locks there can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One setting: its value ``now``, the value ``advised`` or None where it is good as it is, and why it matters.

    ``statement`` is what a superuser types, empty if nothing is advised or where SQL cannot change the setting, because
    the command that starts the server has it. ``restart`` says whether the server must be restarted for it.
    """

    name: str
    now: str
    advised: str | None
    why: str
    statement: str = ""
    restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rules go by: how many tables and keys there are, and settings by name, in bytes or as plain values."""

    relations: int
    settings: Mapping[str, float | str]

    def number(self, name: str) -> float:
        """A setting that is a number."""
        return float(self.settings[name])


Rule = Callable[[Facts], str | None]
"""The value to advise, None if the present one is good."""


def advice(database: Database) -> list[Advice]:
    """One for every setting that matters here. Raises DatabaseError."""
    return database.transact(_look)


def advised(facts: Facts) -> dict[str, str]:
    """The better values of those settings that are not good."""
    found = {name: rule(facts) for name, (rule, _) in _RULES.items()}
    return {name: value for name, value in found.items() if value is not None}


def _look(connection: psycopg.Connection) -> list[Advice]:
    names = [*_RULES, *_LOCKING]
    rows = connection.execute(query("server_settings"), {"names": names}).fetchall()
    counted = connection.execute(query("count_relations")).fetchone()
    facts = Facts(
        relations=counted[0] if counted else 0,
        settings={name: _value(setting, unit) for name, setting, unit, *_ in rows},
    )
    found, better = {row[0]: row for row in rows}, advised(facts)
    return [_advice(found[name], better.get(name), why) for name, (_, why) in _RULES.items()]


def _advice(row: tuple[str, ...], better: str | None, why: str) -> Advice:
    name, setting, unit, context, source = row
    changeable = better is not None and source != "command line"
    return Advice(
        name=name,
        now=shown(setting, unit),
        advised=better,
        why=why if changeable or better is None else f"{why} The command that starts the server sets it.",
        statement=f"ALTER SYSTEM SET {name} = '{better}';" if changeable else "",
        restart=better is not None and context == "postmaster",
    )


def _value(setting: str, unit: str | None) -> float | str:
    try:
        return float(setting) * _BYTES.get(unit or "", 1)
    except ValueError:
        return setting


def shown(setting: str, unit: str | None) -> str:
    """A setting of ``pg_settings`` as people write it, such as 256MB."""
    if not unit or int(setting) <= 0:  # numbers that are none mean something of their own
        return setting
    return _size(int(setting) * _BYTES[unit]) if unit in _BYTES else f"{setting}{unit}"


def _size(count: int) -> str:
    units = ((_GIB, "GB"), (_MIB, "MB"), (_KIB, "kB"), (1, "B"))
    return next(f"{count // unit}{name}" for unit, name in units if count % unit == 0)


def _bytes(name: str, least: int) -> Rule:
    return lambda facts: _size(least) if facts.number(name) < least else None


def _is(name: str, wanted: str) -> Rule:
    return lambda facts: wanted if facts.settings[name] != wanted else None


def _fine(_: Facts) -> None:
    """Measured, or looked at, and found to make no difference here."""


def _enough_locks(facts: Facts) -> str | None:
    """Half of all locks are left to others."""
    transactions = sum(facts.number(name) for name in _LOCKING)
    wanted = 64
    while wanted * transactions < 2 * facts.relations:
        wanted *= 2
    return str(wanted) if facts.number("max_locks_per_transaction") < wanted else None


_RULES: dict[str, tuple[Rule, str]] = {
    "shared_buffers": (
        _bytes("shared_buffers", 256 * _MIB),
        "The newest partitions should fit. With 32MB, SQL over a million candles took 1.4 times as long; 2GB brought "
        "nothing over 256MB.",
    ),
    "max_wal_size": (
        _bytes("max_wal_size", _GIB),
        "A candle writes 149 bytes of WAL, so a large import begins a checkpoint every few million candles.",
    ),
    "checkpoint_timeout": (_fine, "Candles are appended: hardly a page is written again after a checkpoint."),
    "wal_compression": (_fine, "New pages need no images, so it saved 1 byte in 149."),
    "fsync": (_is("fsync", "on"), "Without it, a crash of the machine can destroy the database."),
    "full_page_writes": (_is("full_page_writes", "on"), "Without it, a crash of the machine can leave torn pages."),
    "synchronous_commit": (
        _fine,
        "Off saved nothing in a large save. It would lose the latest commits in a crash, ledger and candles alike, and "
        "they would be fetched again.",
    ),
    "work_mem": (_fine, "Reads walk the key and sort nothing."),
    "maintenance_work_mem": (_fine, "A partition's key is small: 15MB for a month of ten series."),
    "effective_cache_size": (_fine, "The plans of all reads are the same with any."),
    "random_page_cost": (_fine, "The plans of all reads are the same from 1.1 to 4."),
    "max_locks_per_transaction": (
        _enough_locks,
        "A backup, and SQL over everything, lock each partition and its key at once.",
    ),
    "jit": (_fine, "Reads are too cheap to be compiled; only SQL over many millions of candles may be."),
    "autovacuum": (
        _is("autovacuum", "on"),
        "It learns what partitions hold, and it freezes them once instead of all at a bad moment.",
    ),
    "autovacuum_vacuum_insert_scale_factor": (
        _fine,
        "The default of 0.2 visits a growing month some twenty times, and a closed one never again.",
    ),
}
