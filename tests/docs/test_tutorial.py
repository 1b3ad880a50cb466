"""The tutorial works word for word: every block is run in order, and what it shows is what comes out.

Two ports differ, since those that the page names may be taken on the machine that tests.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.pages import ROOT, blocks

STAYS = ("chandlery simulate", "chandlery serve")
"""Commands that run until they are told to stop."""


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


class Newcomer:
    """Two terminals in a clean folder: what one block exports or where it goes, the next ones know."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.exchange, self.page = free_port(), free_port()
        self.namespace: dict[str, Any] = {}
        self.left_running: list[subprocess.Popen[str]] = []
        monkeypatch.chdir(folder)
        for name, value in {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(folder),
            "COLUMNS": "100",
            "CHANDLERY_SERVE_PORT": self.page,
        }.items():
            monkeypatch.setenv(name, value)

    def shell(self, text: str) -> str:
        if text.startswith(STAYS):
            return self._stays(text)
        left = self.folder / "environment"
        told = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{text}\nenv -0 > {left}"], capture_output=True, text=True
        )
        assert told.returncode == 0, told.stdout + told.stderr
        for variable in left.read_text().split("\0")[:-1]:
            self.monkeypatch.setenv(*variable.split("=", 1))
        self.monkeypatch.chdir(os.environ["PWD"])
        return told.stdout

    def _stays(self, command: str) -> str:
        process = subprocess.Popen(["bash", "-c", f"exec {command}"], stdout=subprocess.PIPE, text=True)
        self.left_running.append(process)
        assert process.stdout is not None
        return process.stdout.readline()

    def python(self, text: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as written:
            exec(text, self.namespace)
        return written.getvalue()

    def interrupt_all(self) -> None:
        for process in self.left_running:
            process.send_signal(signal.SIGINT)
        for process in self.left_running:
            process.communicate(timeout=60)


@pytest.fixture
def newcomer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Newcomer]:
    folder = Path(tempfile.mkdtemp(prefix="chandlery-tutorial-"))
    folder.chmod(0o755)  # run as root, the embedded server runs as another user, who must be able to enter
    newcomer = Newcomer(folder, monkeypatch)
    yield newcomer
    newcomer.interrupt_all()
    monkeypatch.chdir(ROOT)
    shutil.rmtree(folder, ignore_errors=True)


def test_every_block_runs_and_shows_what_the_page_shows(newcomer: Newcomer) -> None:
    written = ""
    for block in blocks(ROOT / "docs" / "tutorial.md"):
        text = block.text.replace("18080", newcomer.exchange)
        if block.language == "text":
            assert_shown(text, written)
        elif block.language == "python":
            written = newcomer.python(text)
        else:
            written = newcomer.shell(text)
        if text.startswith("chandlery serve"):
            address = re.findall(r"http://\S+", written)[0]
            with urllib.request.urlopen(f"{address}/api/series") as answer:
                assert b"ETH-USDT" in answer.read()


def assert_shown(text: str, written: str) -> None:
    """Every line of ``text`` was written, or begins one that was; in this order.

    How many requests there were is not compared: what was refused on a busy machine was asked for again.
    """
    text, written = (re.sub(r"\d+ requests", "# requests", one) for one in (text, written))
    lines = iter(written.splitlines())
    for line in text.splitlines():
        assert any(other.startswith(line) for other in lines), f"{line!r} is not shown, or not there:\n{written}"
