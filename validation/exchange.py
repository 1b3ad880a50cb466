"""The exchange of the life: ``chandlery simulate`` with recorded candles, opened anew when its clock has to move."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.request
from pathlib import Path
from typing import Any

from validation.commands import Chandlery
from validation.failing import wait_until

_CANDLES = ("/api/v5/market/candles", "/api/v5/market/history-candles")


class Exchange:
    """One address; nothing listens there until ``open``."""

    def __init__(self, chandlery: Chandlery, recording: Path) -> None:
        self._chandlery, self._recording = chandlery, recording
        self._running = contextlib.ExitStack()
        with socket.create_server(("127.0.0.1", 0)) as found:
            self._port = found.getsockname()[1]

    @property
    def base_url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self._port}"

    def open(self, at: str, *, speed: float = 0.0, missing_confirms: float = 0.0) -> None:
        """Serve from the time ``at`` on, such as ``2026-01-16T01:00:00Z``, and forget what was asked before.

        ``speed`` is how many simulated seconds pass in a second; ``missing_confirms`` is the share of closing pushes
        that never come.
        """
        self.close()
        options = ("--start-at", at, "--speed", speed, "--missing-confirms", missing_confirms, "--port", self._port)
        output = self._chandlery.folder / "exchange.out"
        self._running.enter_context(self._chandlery.running("simulate", self._recording, *options, output=output))
        wait_until(self._answers, "an answer of the exchange")

    def close(self) -> None:
        """Go away."""
        self._running.close()

    def pages(self) -> list[dict[str, Any]]:
        """The requests for pages of candles since it opened; questions for the beginning of history are none."""
        asked = self._ask("/simulator/requests")["requests"]
        return [request for request in asked if request["endpoint"] in _CANDLES and request["before"]]

    def withheld(self) -> int:
        """How many closing pushes never came."""
        return len(self._ask("/simulator/streams")["spoilt"])

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self._ask("/simulator/requests"))
        return False

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.base_url + path, timeout=10) as answer:
            return json.load(answer)
