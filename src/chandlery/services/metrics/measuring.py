"""The seam between a command and its metrics: the command tells everything, and if nobody measures nothing happens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chandlery.services import error_log

if TYPE_CHECKING:
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.exchange.okx.session import ExchangeEvent
    from chandlery.services.live.recorder import Recorder
    from chandlery.services.live.store import LiveStore
    from chandlery.services.outputs import Output
    from chandlery.settings import Settings
    from chandlery.storage.postgres import PostgreSQLStorage
    from chandlery.storage.resilience import Setback


class Unmeasured:
    """What a command tells of its work: failures go to the error log, and that is all."""

    def exchange_event(self, event: ExchangeEvent) -> None:
        """Something happened to a request."""
        error_log.exchange_event(event)

    def database_setback(self, setback: Setback) -> None:
        """A failure of the database is being waited out."""
        error_log.database_setback(setback)

    @contextlib.contextmanager
    def of_storage(self, storage: PostgreSQLStorage) -> Iterator[None]:  # noqa: ARG002
        """This database is used inside the block."""
        yield

    def of_source(self, source: OkxSource) -> None:
        """This exchange is asked."""

    def of_recorder(self, recorder: Recorder) -> None:
        """This stream is recorded."""

    def output(self, output: Output) -> Output:
        """What to hand pages to instead of ``output``."""
        return output

    def live_store(self, store: LiveStore) -> LiveStore:
        """What to hand pushed candles to instead of ``store``."""
        return store


@contextlib.contextmanager
def measuring(settings: Settings) -> Iterator[Unmeasured]:
    """Whom a command should tell: somebody who counts and exposes it, if the settings say where.

    Raises ConfigurationError if the port cannot be had or the file not be written.
    """
    if settings.metrics.port is None and settings.metrics.file is None:
        yield Unmeasured()
        return
    from chandlery.services.metrics.exposing import exposed
    from chandlery.services.metrics.measured import Measured

    measured = Measured(settings)
    with exposed(measured.registry, settings.metrics):
        yield measured
