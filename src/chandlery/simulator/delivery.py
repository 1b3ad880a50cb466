"""How an answer goes out on the connection: whole and at once, or as a fault has it."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from chandlery.simulator.archive_files import FileAnswer
from chandlery.simulator.faults import Fault, FaultKind
from chandlery.simulator.wire import Answer, failure, rate_limited

_DURATIONS_S = {FaultKind.DELAY: 1.0, FaultKind.SLOW_BODY: 5.0, FaultKind.HANG: 3_600.0}
_TRICKLES = 20
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"

_INSTEAD = {
    FaultKind.UNAVAILABLE: failure("50001", "Service temporarily unavailable. Please try again later."),
    FaultKind.BUSY: failure("50013", "Systems are busy. Please try again later."),
    FaultKind.SYSTEM_ERROR: failure("50026", "System error. Try again later."),
}
SILENT = frozenset({FaultKind.DROP, FaultKind.RESET, FaultKind.HANG})
"""Faults that leave a request without any answer."""


def answer_instead(fault: Fault | None, rate_limit_status: int) -> Answer | None:
    """The exchange's error that takes the place of the true answer, or None if the fault is no such error."""
    if fault is None:
        return None
    return rate_limited(rate_limit_status) if fault.kind is FaultKind.RATE_LIMIT else _INSTEAD.get(fault.kind)


def gateway_page(fault: Fault | None) -> web.Response | None:
    """What a gateway in front of the exchange answers in its place, or None if the fault is none of a gateway's."""
    if fault and fault.kind is FaultKind.HTTP_500:
        return web.Response(status=500, text="Internal Server Error")
    if fault and fault.kind is FaultKind.HTML_502:
        return web.Response(status=502, text=_GATEWAY_PAGE, content_type="text/html")
    return None


async def fall_silent(request: web.Request, fault: Fault) -> web.StreamResponse:
    """Break the connection instead of answering: at once, or after a long silence."""
    if fault.kind is FaultKind.HANG:
        await asyncio.sleep(_duration_s(fault))
    transport = request.transport
    if transport is not None:
        if fault.kind is FaultKind.RESET:
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()  # never sent: the connection is gone


async def deliver(request: web.Request, answer: Answer | FileAnswer, fault: Fault | None) -> web.StreamResponse:
    """Send the answer, if need be late, slowly or damaged."""
    body = answer.body
    kind = fault.kind if fault else None
    if fault and kind is FaultKind.SLOW_BODY:
        return await _trickle(request, answer, body, _duration_s(fault))
    if fault and kind is FaultKind.DELAY:
        await asyncio.sleep(_duration_s(fault))
    if kind is FaultKind.TRUNCATED_JSON:
        body = body[: len(body) // 2]
    headers = dict(answer.headers)
    if kind is FaultKind.WRONG_ENCODING:
        headers["Content-Encoding"] = "gzip"
    return web.Response(status=answer.status, body=body, content_type=answer.content_type, headers=headers)


async def _trickle(
    request: web.Request, answer: Answer | FileAnswer, body: bytes, duration_s: float
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    response.content_length = len(body)
    await response.prepare(request)
    step = -(-len(body) // _TRICKLES)
    for start in range(0, len(body), step):
        await response.write(body[start : start + step])
        await asyncio.sleep(duration_s / _TRICKLES)
    return response


def _duration_s(fault: Fault) -> float:
    return _DURATIONS_S[fault.kind] if fault.duration_s is None else fault.duration_s
