"""One GET over HTTP: status, body and Retry-After. The errors of aiohttp become ours here and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ServerDisconnectedError,
)

from chandlery.errors import ExchangeUnavailable
from chandlery.exchange.okx import codes
from chandlery.exchange.okx.settings import Endpoint, OkxSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """An answer as it came; ``retry_after_s`` is capped by the settings, None where the server asked for nothing."""

    status: int
    body: bytes
    retry_after_s: float | None


class HttpClient:
    """A pool of connections to one host, as an async context manager. It tries once and never follows redirects."""

    def __init__(self, settings: OkxSettings) -> None:
        self._settings = settings
        headers = {"Accept": "application/json", "User-Agent": "chandlery"}
        if settings.demo:
            headers["x-simulated-trading"] = "1"
        self._session = ClientSession(
            headers=headers,
            timeout=ClientTimeout(total=settings.timeout_s, connect=settings.connect_timeout_s),
            trust_env=not settings.is_simulated,  # a proxy cannot reach this machine's loopback
            middlewares=(_once,),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, endpoint: Endpoint, parameters: Mapping[str, str | int]) -> HttpAnswer:
        """The answer, whatever its status; raises ExchangeUnavailable where there is none."""
        settings = self._settings
        url = settings.base_url.rstrip("/") + endpoint.value
        patience = f"{settings.timeout_s:g} s"
        limits = _Limits(host=settings.base_url, patience=patience, largest_body=settings.largest_body)
        return await self._answer(limits, url, params=parameters)

    async def download(self, url: str, largest: int) -> HttpAnswer:
        """A file of at most ``largest`` bytes, wherever it is: the caller must have made sure that it may be asked for.

        It is silent for ``timeout_s`` at most. Raises ExchangeUnavailable like ``get``.
        """
        settings = self._settings
        patience = f"{settings.timeout_s:g} s, or not all of it within {settings.file_timeout_s:g} s"
        limits = _Limits(host=urlsplit(url).netloc, patience=patience, largest_body=largest)
        timeout = ClientTimeout(
            total=settings.file_timeout_s, connect=settings.connect_timeout_s, sock_read=settings.timeout_s
        )
        return await self._answer(limits, url, headers={"Accept": "*/*"}, timeout=timeout)

    async def _answer(self, limits: _Limits, url: str, **options: Any) -> HttpAnswer:
        settings = self._settings
        try:
            async with self._session.get(url, allow_redirects=False, **options) as response:
                body = await _body(response, limits.largest_body)
        except TimeoutError as error:
            raise _unreachable(limits.host, f"no answer within {limits.patience}") from error
        except (ClientError, OSError) as error:
            raise _unreachable(limits.host, codes.quoted(str(error) or type(error).__name__)) from error
        asked_s = codes.retry_after_s(response.headers.get("Retry-After"), time.time())
        return HttpAnswer(
            status=response.status,
            body=body,
            retry_after_s=None if asked_s is None else min(asked_s, settings.longest_retry_after_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """``patience`` says in words how long an answer may take."""

    host: str
    patience: str
    largest_body: int


async def _body(response: ClientResponse, largest: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > largest:
            raise ExchangeUnavailable(f"OKX sent more than {largest} bytes in one answer.")
    return bytes(body)


async def _once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from repeating a GET whose connection broke: its repetition would be neither paced nor counted."""
    try:
        return await handler(request)
    except (ClientOSError, ServerDisconnectedError) as error:
        raise ClientConnectionError(str(error)) from error


def _unreachable(host: str, why: str) -> ExchangeUnavailable:
    return ExchangeUnavailable(f"{host} cannot be reached: {why}.", hint="Check the network and HTTPS_PROXY.")
