"""Commands as real processes: started in a clean environment, waited for, interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict

from plain_json import assert_plain

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A process that ended: its exit code, what it wrote, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        """What ``--json`` wrote; its times must be as promised."""
        value = json.loads(self.out)
        assert_plain(value)
        return value


@dataclass(slots=True, kw_only=True)
class Running:
    """A process under way."""

    process: subprocess.Popen[str]
    began: float = field(default_factory=time.monotonic)

    def done(self, within_s: float = PATIENCE_S) -> Done:
        """Wait for its end; it fails the test if that does not come in time."""
        try:
            out, err = self.process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"not done within {within_s} s; it wrote: {out}{err}") from None
        return Done(code=self.process.returncode, out=out, err=err, seconds=time.monotonic() - self.began)

    def interrupt(self, number: signal.Signals, within_s: float = PATIENCE_S) -> Done:
        """Send a signal and wait for the end; ``seconds`` counts from the signal."""
        assert self.process.poll() is None, "it ended before it could be interrupted"
        self.process.send_signal(number)
        self.began = time.monotonic()
        return self.done(within_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Starts Python programs with ``variables`` and nothing else of the tester's environment, in ``folder``."""

    folder: Path
    variables: Mapping[str, str]

    def start(self, *arguments: object, **variables: str) -> Running:
        """``python -m chandlery`` with these arguments; further environment variables by name."""
        return self._start(["-m", "chandlery", *map(str, arguments)], variables)

    def run(self, *arguments: object, **variables: str) -> Done:
        """The same, to its end."""
        return self.start(*arguments, **variables).done()

    def script(self, name: str, *arguments: object, **variables: str) -> Done:
        """One of the programs in ``scripts``, to its end."""
        return self.start_script(name, *arguments, **variables).done()

    def start_script(self, name: str, *arguments: object, **variables: str) -> Running:
        """One of the programs in ``scripts``."""
        return self._start([str(REPOSITORY / "scripts" / name), *map(str, arguments)], variables)

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on commands that are called in the tester's process find the folder and the variables."""
        monkeypatch.chdir(self.folder)
        for name, value in self.variables.items():
            monkeypatch.setenv(name, value)

    def _start(self, arguments: list[str], variables: Mapping[str, str]) -> Running:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**self._clean(), **self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Running(process=process)

    def _clean(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        kept["PYTHONPATH"] = str(REPOSITORY / "src")
        return kept | {"HOME": str(self.folder), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def as_url(conninfo: str, **changes: str) -> str:
    """A connection string as a URL, with other values for some of its parts."""
    known = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()} | changes
    login = quote(known.pop("user"), safe="")
    if "password" in known:
        login += ":" + quote(known.pop("password"), safe="")
    name = quote(known.pop("dbname"), safe="")
    return f"postgresql://{login}@/{name}?{urlencode(known)}"


def postgres_variables(conninfo: str) -> dict[str, str]:
    """A database as the POSTGRES_* variables name it."""
    known = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    if "passfile" in known:
        known["password"] = Path(known["passfile"]).read_text().strip().rpartition(":")[2]
    names = {"host": "HOST", "port": "PORT", "dbname": "DB", "user": "USER", "password": "PASSWORD"}
    return {f"POSTGRES_{name}": known[key] for key, name in names.items() if key in known}
