"""Where metrics can be read: over HTTP while the process runs, and in a file when it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile

from chandlery.errors import ConfigurationError

if TYPE_CHECKING:
    from chandlery.setting_sections import MetricsSettings


@contextlib.contextmanager
def exposed(registry: CollectorRegistry, settings: MetricsSettings) -> Iterator[None]:
    """Serve the registry inside the block, and write it at its end. Raises ConfigurationError."""
    with contextlib.ExitStack() as stack:
        if settings.file is not None:
            stack.callback(_write, registry, settings.file)
        if settings.port is not None:
            stack.enter_context(_served(registry, settings.host, settings.port))
        yield


@contextlib.contextmanager
def _served(registry: CollectorRegistry, host: str, port: int) -> Iterator[None]:
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigurationError(
            f"metrics cannot be served at {host}:{port}: {error.strerror or error}.",
            hint="Choose another --metrics-port or --metrics-host.",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _write(registry: CollectorRegistry, path: Path) -> None:
    """Readers see the old file or the new one, whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise ConfigurationError(
            f"the metrics file {path} cannot be written: {error.strerror}.", hint="Choose another --metrics-file."
        ) from error
