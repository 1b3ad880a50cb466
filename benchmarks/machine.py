"""Where it was measured: described, never named."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psycopg

_LIBRARIES = (
    "adbc-driver-postgresql",
    "asyncpg",
    "connectorx",
    "duckdb",
    "numpy",
    "pandas",
    "psycopg",
    "pyarrow",
    "sqlalchemy",
)
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine and its server. ``memory_gib`` is None where the system does not tell.

    ``durable`` is whether a commit waits for the disk; ``load`` is how many processes wanted a core in the minute
    before the run, and in the one before its end.
    """

    cpu: str
    cores: int
    memory_gib: float | None
    system: str
    python: str
    postgresql: str
    durable: bool
    libraries: dict[str, str]
    load: tuple[float, float]


def load_now() -> float:
    """How many processes wanted a core in the last minute, 0 where the system does not tell."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return 0.0


def machine_of(conninfo: str, load_before: float) -> Machine:
    """This machine and the server, at the end of a run."""
    with psycopg.connect(conninfo) as connection:
        settings: dict[str, str] = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gib=_memory_gib(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        postgresql=settings["server_version"],
        durable=settings["fsync"] == "on" and settings["synchronous_commit"] != "off",
        libraries={name: version for name in _LIBRARIES if (version := _version(name))},
        load=(load_before, load_now()),
    )


def _cpu() -> str:
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, OSError):
        return None


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
