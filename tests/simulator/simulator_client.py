"""Asking an exchange over plain HTTP, with nothing of the product in between."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.document["code"]

    @property
    def data(self) -> list:
        assert self.code == "0", self.document
        return self.document["data"]

    @property
    def times(self) -> list[int]:
        return [int(row[0]) for row in self.data]


@dataclass(frozen=True, slots=True)
class Asker:
    """``pause_s`` is the rest after each request: a real exchange counts them."""

    base_url: str
    pause_s: float = 0.0
    timeout_s: float = 10.0

    def send(self, method: str, path: str, body: bytes | None = None) -> Reply:
        address = urlsplit(self.base_url)
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = kind(address.netloc, timeout=self.timeout_s)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
            time.sleep(self.pause_s)

    def get(self, path: str, **parameters: object) -> Reply:
        return self.send("GET", f"{path}?{urlencode(parameters)}")

    def candles(self, **parameters: object) -> Reply:
        return self.get("/api/v5/market/candles", **({"instId": "BTC-USDT"} | parameters))

    def history(self, **parameters: object) -> Reply:
        return self.get("/api/v5/market/history-candles", **({"instId": "BTC-USDT"} | parameters))

    def now(self) -> int:
        return int(self.get("/api/v5/public/time").data[0]["ts"])
