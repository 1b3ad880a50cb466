"""The database of the life: the embedded server in a folder of its own, which may be killed and destroyed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

from chandlery.storage.embedded import EmbeddedServer


class Cluster:
    """Commands find the server by its folder, and share it; held from here, it does not stop between two commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = EmbeddedServer(folder)

    def start(self) -> None:
        """Start it, and make it first if there is none."""
        self._server.start()

    def kill(self) -> None:
        """kill -9 of the server and of every process that it started: a power cut, but for the disk."""
        postmaster = int((self.folder / "pgdata" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):  # it ended by itself a moment ago
                os.kill(pid, signal.SIGKILL)

    def start_again(self) -> None:
        """Start it after ``kill``."""
        self._server.stop()
        self._server.start()

    def destroy(self) -> None:
        """Stop it and delete everything that it has."""
        self._server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
