"""One GET over HTTP: status, body and Retry-After. The errors of aiohttp become ours here and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

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
        try:
            async with self._session.get(url, params=parameters, allow_redirects=False) as response:
                body = await self._body(response)
        except TimeoutError as error:
            raise _unreachable(settings.base_url, f"no answer within {settings.timeout_s:g} s") from error
        except (ClientError, OSError) as error:
            raise _unreachable(settings.base_url, codes.quoted(str(error) or type(error).__name__)) from error
        asked_s = codes.retry_after_s(response.headers.get("Retry-After"), time.time())
        return HttpAnswer(
            status=response.status,
            body=body,
            retry_after_s=None if asked_s is None else min(asked_s, settings.longest_retry_after_s),
        )

    async def _body(self, response: ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._settings.largest_body:
                raise ExchangeUnavailable(f"OKX sent more than {self._settings.largest_body} bytes in one answer.")
        return bytes(body)


async def _once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from repeating a GET whose connection broke: its repetition would be neither paced nor counted."""
    try:
        return await handler(request)
    except (ClientOSError, ServerDisconnectedError) as error:
        raise ClientConnectionError(str(error)) from error


def _unreachable(base_url: str, why: str) -> ExchangeUnavailable:
    return ExchangeUnavailable(f"{base_url} cannot be reached: {why}.", hint="Check the network and HTTPS_PROXY.")
