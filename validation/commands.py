"""``chandlery`` as whole processes, as a shell runs them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from validation.failing import PATIENCE_S, Failed, require


def utc_ms(text: str) -> int:
    """The UTC milliseconds of a time in what ``--json`` wrote."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Chandlery:
    """Runs commands in ``folder`` with ``variables`` and nothing else of the caller's environment."""

    folder: Path
    variables: Mapping[str, str]

    def run(self, *arguments: object, code: int = 0, **variables: str) -> Any:
        """Run a command to its end: what it wrote, decoded with ``--json``. Raises Failed for another exit code."""
        done = subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env=self._environment(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode != code:
            said = " ".join((done.stderr + done.stdout).split())[-500:]
            raise Failed(f"chandlery {' '.join(map(str, arguments))} ended with {done.returncode}, not {code}: {said}")
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    @contextlib.contextmanager
    def running(self, *arguments: object, output: Path, **variables: str) -> Iterator[None]:
        """A command that runs until it is told to stop, at the end of the block; it has to end with 0.

        What it writes goes into the file ``output``, and what it complains of into one beside it.
        """
        with output.open("w") as out, output.with_suffix(".err").open("w") as err:
            process = subprocess.Popen(
                self._command(arguments),
                cwd=self.folder,
                env=self._environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            try:
                yield
                process.send_signal(signal.SIGTERM)
                code = process.wait(PATIENCE_S)
                said = output.with_suffix(".err").read_text()[-500:]
                require(code == 0, f"chandlery {arguments[0]} ended with {code}: {said}")
            finally:
                process.kill()
                process.wait()

    def status(self) -> dict[tuple[str, str], Any]:
        """What ``chandlery status`` says of each series, by symbol and timeframe."""
        return {(row["symbol"], row["timeframe"]): row for row in self.run("status", "--json")}

    def _command(self, arguments: tuple[object, ...]) -> list[str]:
        return [sys.executable, "-m", "chandlery", *map(str, arguments)]

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "PYTHONPATH") if name in os.environ}
        return {**kept, "HOME": str(self.folder), "LANG": "C.UTF-8", **self.variables, **variables}
