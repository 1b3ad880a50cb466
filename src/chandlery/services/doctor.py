"""Is everything fit for collecting? Configuration, database, disk, exchange: a line each, with what to do."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chandlery.errors import ChandleryError, ExchangeError
from chandlery.services.opening import okx_settings, open_storage
from chandlery.settings import Settings
from chandlery.storage.embedded import default_folder
from chandlery.storage.health import Check, examine

if TYPE_CHECKING:
    from chandlery.exchange.okx.settings import OkxSettings

LARGEST_CLOCK_OFFSET_S = 5.0
"""Candles are closed by the exchange's clock, so ours may be off; beyond this, logs and lag mislead."""

SMALLEST_FREE_BYTES = 2 * 10**9


async def diagnose(settings: Settings) -> list[Check]:
    """Look at everything that collecting needs, without changing anything that is stored."""
    return [
        Check(name="configuration", ok=True, found=_configuration(settings)),
        *_stores(settings),
        *[check async for check in _exchange(settings)],
    ]


def _configuration(settings: Settings) -> str:
    database = "the embedded server" if settings.database.embedded else "a server of your own"
    return f"output {settings.data.output}, {database}, {settings.data_collection.base_url}"


def _stores(settings: Settings) -> Iterator[Check]:
    if settings.data.output in ("postgres", "both"):
        try:
            with open_storage(settings) as storage:
                yield from examine(storage.database).checks
        except ChandleryError as error:
            yield Check(name="connection", ok=False, found=str(error.args[0]), hint=error.hint)
        if settings.database.embedded:
            yield _disk(settings.data.folder or default_folder())
        else:
            yield Check(name="disk", ok=True, found="not visible from here; watch the server's own")
    if settings.data.output in ("csv", "both"):
        yield _disk(settings.data.csv_folder)


def _disk(folder: Path) -> Check:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    enough = free >= SMALLEST_FREE_BYTES
    # a 1m candle takes about 120 bytes with its key, so a year of one series is about 63 MB
    hint = "" if enough else "Free some space: a year of 1m candles of one series takes about 63 MB."
    return Check(name="disk", ok=enough, found=f"{free / 1e9:.1f} GB free for {folder}", hint=hint)


async def _exchange(settings: Settings) -> AsyncIterator[Check]:
    from chandlery.exchange.okx.rest import OkxSource

    chosen = okx_settings(settings)
    try:
        async with OkxSource(replace(chosen, attempts=1)) as source:
            await source.now()
            offset_s = source.clock_offset_s
    except ExchangeError as error:
        yield Check(
            name="exchange", ok=False, found=str(error.args[0]), hint=error.hint or "Check network and base_url."
        )
        return
    yield Check(name="exchange", ok=True, found=f"{chosen.base_url} answers; candles are stored as {chosen.exchange}")
    yield _clock(offset_s)
    yield Check(name="rate limits", ok=True, found=_limits(chosen))


def _clock(offset_s: float) -> Check:
    near = abs(offset_s) <= LARGEST_CLOCK_OFFSET_S
    found = f"the exchange is {abs(offset_s):.1f} s {'ahead of' if offset_s > 0 else 'behind'} this machine"
    return Check(
        name="clock", ok=near, found=found, hint="" if near else "Set this machine's clock, for example by NTP."
    )


def _limits(chosen: OkxSettings) -> str:
    shown = (
        f"{endpoint.value.rsplit('/', 1)[-1]} {limit.requests * chosen.share / limit.window_s:g}/s"
        for endpoint, limit in chosen.limits.items()
    )
    return f"{chosen.share:.0%} of each: {', '.join(shown)}"
