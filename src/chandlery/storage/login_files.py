"""Files from which a login comes, so that it stands neither in the configuration nor on a command line.

A password may have a file of its own. A service is a database that a file describes, in libpq's way:

    [candles]
    host=db.example.org
    dbname=market
    user=collector
    password=...

That file is the one that PGSERVICEFILE names, else ``~/.pg_service.conf``; a service that is not there is looked for in
``pg_service.conf`` of the folder PGSYSCONFDIR. It is read here, and not left to libpq alone, because what it says of
the server decides how the connection is protected.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from chandlery.errors import ConfigurationError

LARGEST_FILE = 1 << 20
"""Bytes; a service takes about 100, a password less."""


def with_service(given: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """libpq parameters with those of the service they name filled in; what is given itself holds.

    Raises ConfigurationError for a service that is in no file.
    """
    left = dict(given)
    name = left.pop("service", environ.get("PGSERVICE", ""))
    return {**service(name, environ), **left} if name else left


def service(name: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The parameters of one service. Raises ConfigurationError."""
    for path in _files(environ):
        found = _section(_text(path), name)
        if found is not None:
            return found
    files = " or ".join(map(str, _files(environ)))
    raise ConfigurationError(f"there is no service {name!r}.", hint=f"Write a section [{name}] into {files}.")


def password_in(path: Path) -> str:
    """The password that is all that stands in a file, but for white space around it. Raises ConfigurationError."""
    password = _text(path).strip()
    if not password:
        raise ConfigurationError(f"the password file {path} is empty or absent.", hint="Write the password into it.")
    return password


def _files(environ: Mapping[str, str]) -> list[Path]:
    own = environ.get("PGSERVICEFILE") or Path("~/.pg_service.conf").expanduser()
    shared = environ.get("PGSYSCONFDIR")
    return [Path(own), *([Path(shared) / "pg_service.conf"] if shared else [])]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigurationError(f"{path} is larger than {LARGEST_FILE:,} bytes.", hint="Name the right file.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):  # without its cause, which may quote a piece of a password
        raise ConfigurationError(f"{path} cannot be read.", hint="It should be yours, and UTF-8.") from None


def _section(text: str, name: str) -> dict[str, str] | None:
    lines = list(_lines(text))
    if f"[{name}]" not in lines:
        return None
    found: dict[str, str] = {}
    for line in lines[lines.index(f"[{name}]") + 1 :]:
        if line.startswith("["):
            break
        key, _, value = line.partition("=")
        found.setdefault(key.strip(), value.strip())
    return found


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))
