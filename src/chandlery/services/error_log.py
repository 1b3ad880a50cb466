"""The error log: one structured event a failure, for people or as JSON, on standard error and in a file if asked for.

Where a failure is met nobody knows the series; who knows the series does not meet the failure. So a job binds series
and span to its context (``about``), and whatever is logged beneath carries them. No payload and no secret is logged.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sys
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import structlog

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.redaction import redact

if TYPE_CHECKING:
    from chandlery.errors import ExchangeError
    from chandlery.exchange.okx.session import ExchangeEvent
    from chandlery.setting_sections import LoggingSettings
    from chandlery.storage.resilience import Setback

_NAME = "chandlery"
_log = structlog.stdlib.get_logger(_NAME)
_told: set[tuple[str, ...]] = set()
"""What standard error has heard of, where it hears of everything once."""


def configure(settings: LoggingSettings, *, each_once: bool = False) -> None:
    """Send events where the settings say; called once by a command.

    ``each_once`` is for those who run for ever: standard error hears of the same failure once until ``all_well``. The
    file gets every event.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logger = logging.getLogger(_NAME)
    logger.handlers.clear()
    logger.setLevel(settings.level.upper())
    logger.propagate = False
    _told.clear()
    shown = _with(_StandardError(), as_json=settings.format == "json")
    if each_once:
        shown.addFilter(_not_told_yet)
    logger.addHandler(shown)
    if settings.file is not None:
        settings.file.parent.mkdir(parents=True, exist_ok=True)
        kept = logging.handlers.RotatingFileHandler(
            settings.file, maxBytes=settings.file_bytes, backupCount=settings.file_count, encoding="utf-8"
        )
        logger.addHandler(_with(kept, as_json=True))
    # the driver tells its own story of every broken connection; ours has the series and the next step
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)


def all_well() -> bool:
    """Whatever failed is over: what fails from now on is told again. Whether there was anything."""
    failed = bool(_told)
    _told.clear()
    return failed


@contextlib.contextmanager
def about(series: Series, span: Span | None = None) -> Iterator[None]:
    """Everything logged inside concerns this series, and this span of it."""
    with structlog.contextvars.bound_contextvars(series=str(series), span=span and [span.start, span.end]):
        yield


def database_setback(setback: Setback) -> None:
    """A failure of the database that is being waited out."""
    error = setback.error
    _log.warning(
        "database failed, trying again",
        attempt=setback.attempt,
        wait_s=round(setback.wait_s, 2),
        sqlstate=error.sqlstate,
        failure_class=error.kind,
        breaker="open" if setback.breaker_open else "closed",
        error=error.args[0],
        next_step=error.hint or "none: it is tried again until it succeeds",
    )


def exchange_event(event: ExchangeEvent) -> None:
    """Whatever happened to a request; answers are told at the level debug only."""
    if event.error is None:
        _log.debug("exchange " + event.kind.value, endpoint=event.endpoint.value, attempt=event.attempt)
        return
    _log.warning(
        f"exchange failed, {event.kind.value}",
        endpoint=event.endpoint.value,
        attempt=event.attempt,
        wait_s=round(event.wait_s, 2),
        code=event.code or None,
        failure_class=type(event.error).__name__,
        error=event.error.args[0],
        next_step=event.error.hint or "none: it is tried again",
    )


def file_left(error: ExchangeError, name: str | None = None) -> None:
    """A file of candles, or the list of them, that could not be used."""
    _log.warning(
        "files cannot be listed" if name is None else "file not used",
        file=name,
        code=error.code or None,
        failure_class=type(error).__name__,
        error=error.args[0],
        next_step="none: what it was to bring stays missing, and is asked for in another way where that is allowed",
    )


def file_doubtful(name: str, doubtful: int, rows: int) -> None:
    """A file of candles of which only a part could be used."""
    _log.info("file used in part", file=name, rows=rows, unfinished=doubtful)


def series_failed(error: Exception) -> None:
    """A series that is given up in this run."""
    _log.error(
        "series failed",
        failure_class=type(error).__name__,
        error=error.args[0] if error.args else "",
        next_step=getattr(error, "hint", "") or "run the same command again",
    )


def stream_lost(reason: str, series_count: int) -> None:
    """A connection of the candle stream that is made anew."""
    _log.warning(
        "stream lost, connecting again",
        series_count=series_count,
        error=reason,
        next_step="none: what is missed meanwhile is read by REST",
    )


def stream_unreadable(reason: str, count: int, text: str) -> None:
    """Messages of the stream that were passed over."""
    _log.warning("stream message passed over", count=count, error=reason, text=text)


def _not_told_yet(record: logging.LogRecord) -> bool:
    event: Any = record.msg
    what = tuple(str(event.get(name)) for name in ("event", "endpoint", "failure_class", "sqlstate", "code"))
    new = what not in _told
    _told.add(what)
    return new


class _StandardError(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what standard error is now, which a progress bar may have taken over."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """The stream of this moment."""
        return sys.stderr


def _with(handler: logging.Handler, *, as_json: bool) -> logging.Handler:
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redacted, renderer]
        )
    )
    return handler


def _redacted(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last look before anything is written: no password leaves, and nothing that says nothing."""
    return {
        key: redact(value) if isinstance(value, str) else value for key, value in event.items() if value is not None
    }
