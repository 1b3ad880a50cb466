"""From settings to working parts: the exchange, the stores, and the embedded server where no other is configured."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chandlery.services.metrics.measuring import Unmeasured
from chandlery.settings import Settings
from chandlery.storage.database import DatabaseOptions
from chandlery.storage.postgres import PostgreSQLStorage

if TYPE_CHECKING:
    from chandlery.domain.instrument import Instrument, Series
    from chandlery.exchange.okx.settings import OkxSettings
    from chandlery.exchange.shared_pace import TakeSlots
    from chandlery.exchange.stream import CandleStream
    from chandlery.services.outputs import CsvOutput, Output


_READER_WAITS_S = 1.0


@contextlib.contextmanager
def open_storage(settings: Settings, *, exchange: str | None = None, apply: bool = True) -> Iterator[PostgreSQLStorage]:
    """The configured database, or the embedded server with its schema brought up to date if ``apply``.

    Raises ConfigurationError or DatabaseError.
    """
    from chandlery.storage.embedded import EmbeddedServer, default_folder
    from chandlery.storage.schema import apply_schema

    chosen = settings.database
    config = chosen.postgres()
    with contextlib.ExitStack() as stack:
        if config is not None:
            conninfo = config.conninfo()
        else:
            folder = settings.data.folder or default_folder()
            conninfo = stack.enter_context(EmbeddedServer(folder)).conninfo
        storage = PostgreSQLStorage(
            conninfo,
            DatabaseOptions(
                **{f.name: getattr(chosen, f.name) for f in fields(DatabaseOptions) if hasattr(chosen, f.name)}
            ),
            exchange=exchange,
            on_revision=chosen.on_revision,
            batch_size=chosen.batch_size,
            supported_intervals=chosen.supported_intervals,
        )
        stack.enter_context(storage)
        if config is None and apply:  # nobody else decides about our own server
            apply_schema(storage.database)
        yield storage


@contextlib.contextmanager
def open_reading_storage(settings: Settings) -> Iterator[PostgreSQLStorage]:
    """The same on connections that only read, which the server itself sees to.

    Raises SchemaError also where there is no schema yet.
    """
    from chandlery.storage.schema import require_schema

    with open_storage(settings) as storage:
        read_only = _read_only(storage.database.conninfo)
        # somebody waits for the answer, and a write that is refused is refused for good
        options = replace(storage.database.options, patience_s=_READER_WAITS_S)
        with PostgreSQLStorage(read_only, options) as reading:
            require_schema(reading.database, create=False)
            yield reading


def _read_only(conninfo: str) -> str:
    known = conninfo_to_dict(conninfo)
    options = f"{known.get('options') or ''} -c default_transaction_read_only=on".strip()
    # a session that only reads counts as read-only, so every server of several would be passed over
    return make_conninfo(conninfo, options=options, target_session_attrs="any")


@contextlib.contextmanager
def open_patient_storage(settings: Settings, told: Unmeasured | None = None) -> Iterator[PostgreSQLStorage]:
    """The same for who collects: waits for a database that is away as long as it takes; Ctrl-C ends the wait.

    ``told`` hears of its failures, and may measure it.
    """
    told = told or Unmeasured()
    with open_storage(settings) as storage, told.of_storage(storage):
        storage.require_schema()
        storage.database.persistence.patience_s = math.inf
        storage.database.persistence.on_setback = told.database_setback
        yield storage


@contextlib.contextmanager
def open_output(settings: Settings, told: Unmeasured | None = None) -> Iterator[Output]:
    """Where candles go by the one setting ``data.output``: PostgreSQL, CSV files, or both; ``told`` may measure it."""
    from chandlery.services.outputs import BothOutputs, PostgresOutput

    choice, told = settings.data.output, told or Unmeasured()
    if choice == "csv":
        yield told.output(_csv_output(settings))
        return
    with open_patient_storage(settings, told) as storage:
        postgres = PostgresOutput(storage)
        yield told.output(BothOutputs(postgres, _csv_output(settings)) if choice == "both" else postgres)


def _csv_output(settings: Settings) -> CsvOutput:
    from chandlery.services.outputs import CsvOutput
    from chandlery.storage.csv_files import CsvStore

    return CsvOutput(CsvStore(settings.data.csv_folder))


def okx_streaming(settings: Settings) -> Callable[[Sequence[tuple[Instrument, Series]]], CandleStream]:
    """What makes a stream of chosen series of the same exchange."""
    from chandlery.exchange.okx.stream import OkxStream
    from chandlery.exchange.okx.stream_settings import StreamSettings

    reach = okx_settings(settings)
    stream = StreamSettings(channels_per_connection=settings.data_collection.stream_channels, share=reach.share)
    return lambda series: OkxStream(series, reach, stream=stream)


def shared_pace(settings: Settings, output: Output) -> TakeSlots:
    """How to keep one pace with all collectors behind this machine's address that use the same database."""
    from chandlery.exchange.shared_pace import nobody_shares
    from chandlery.storage.pace import PaceLine

    chosen = settings.data_collection
    if not chosen.share_pace:
        return nobody_shares
    address = chosen.address_name or socket.gethostname()

    async def take(endpoint: str, interval_s: float, count: int) -> float | None:
        line = PaceLine(host=urlsplit(chosen.base_url).netloc, address=address, endpoint=endpoint)
        return await asyncio.to_thread(output.take_slots, line, interval_s, count)

    return take


def okx_settings(settings: Settings) -> OkxSettings:
    """How to reach the exchange."""
    from chandlery.exchange.okx.settings import Endpoint, OkxSettings
    from chandlery.exchange.pacing import RateLimit

    chosen = settings.data_collection
    requests = {
        Endpoint.CANDLES: chosen.candles_limit,
        Endpoint.HISTORY_CANDLES: chosen.history_limit,
        Endpoint.INSTRUMENTS: chosen.instruments_limit,
        Endpoint.TIME: chosen.time_limit,
        Endpoint.FILE_LISTING: chosen.file_listing_limit,
        Endpoint.FILES: chosen.files_limit,
    }
    return OkxSettings(
        base_url=chosen.base_url,
        demo=chosen.demo,
        share=chosen.rate_share,
        page_size=chosen.page_size,
        limits={endpoint: RateLimit(requests=count, window_s=2.0) for endpoint, count in requests.items()},
        timeout_s=chosen.request_timeout_s,
        attempts=chosen.attempts,
    )
