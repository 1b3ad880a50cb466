"""The simulator as a server: started and stopped from asyncio or from a thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Self

from aiohttp import web

from chandlery.domain.timeframe import UtcMs
from chandlery.errors import ConfigurationError
from chandlery.simulator.admin import Admin
from chandlery.simulator.archive import FIRST_ARCHIVED_MS
from chandlery.simulator.clock import Clock, clock_for
from chandlery.simulator.exchange import NO_RATE_LIMITS, RateLimits, SimulatedExchange
from chandlery.simulator.faults import ArmedFault, FaultKind, FaultPlan, Faults
from chandlery.simulator.journal import Journal
from chandlery.simulator.market import Market
from chandlery.simulator.stream import STREAM, Streams
from chandlery.simulator.stream_admin import StreamAdmin
from chandlery.simulator.stream_faults import ArmedStreamFault, StreamFaultKind, StreamFaultPlan, StreamFaults
from chandlery.simulator.stream_journal import StreamJournal

_BACKLOG = 1_024
_PAUSE_S = 0.05
_SHUTDOWN_S = 0.5


class Simulator:
    """An exchange on this machine that speaks OKX's protocol; ``async with Simulator(market) as simulator: ...``.

    It listens on ``host``, by default reachable from this machine only, and on ``port``, 0 for any free one.
    ``clock`` is by default the real time, or the end of a market that ends. There are files of candles for days and
    months that begin at ``archive_starts_at``, UTC milliseconds, or later. The journal of requests is ``journal``,
    that of the candle stream ``stream_journal``; a stream on which nothing happens for ``stream_idle_s`` is closed.
    Entering raises ConfigurationError if the address cannot be had.
    """

    def __init__(
        self,
        market: Market,
        *,
        clock: Clock | None = None,
        rate_limits: RateLimits = NO_RATE_LIMITS,
        fault_plan: FaultPlan | None = None,
        stream_fault_plan: StreamFaultPlan | None = None,
        stream_idle_s: float = 30.0,
        archive_starts_at: UtcMs = FIRST_ARCHIVED_MS,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.market = market
        self.clock = clock or clock_for(market.ends_at)
        self._host, self._port = host, port
        self._faults = Faults(fault_plan)
        self._exchange = SimulatedExchange(
            market,
            clock=self.clock,
            rate_limits=rate_limits,
            faults=self._faults,
            archive_starts_at=archive_starts_at,
        )
        self._streams = Streams(
            market,
            clock=self.clock,
            faults=StreamFaults(stream_fault_plan),
            limited=bool(rate_limits.limits),
            idle_s=stream_idle_s,
        )
        self._reopening: asyncio.Task[None] | None = None

    @property
    def journal(self) -> Journal:
        """What was asked of the simulator so far."""
        return self._exchange.journal

    @property
    def stream_journal(self) -> StreamJournal:
        """Who listened to the candle stream, and what was withheld from them."""
        return self._streams.journal

    @property
    def base_url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:43210``; it stays the same through outages."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def arm(
        self,
        kind: FaultKind,
        *,
        count: int = 1,
        endpoint: str = "",
        inst_id: str = "",
        duration_s: float | None = None,
    ) -> None:
        """Let the next ``count`` requests to ``endpoint`` for ``inst_id`` meet a fault; see ArmedFault."""
        self._faults.arm(ArmedFault(kind=kind, count=count, endpoint=endpoint, inst_id=inst_id, duration_s=duration_s))

    def arm_stream(
        self,
        kind: StreamFaultKind,
        *,
        count: int = 1,
        channel: str = "",
        inst_id: str = "",
        duration_s: float | None = None,
    ) -> None:
        """Let the next ``count`` occasions of the candle stream meet a fault; see ArmedStreamFault."""
        self._streams.faults.arm(
            ArmedStreamFault(kind=kind, count=count, channel=channel, inst_id=inst_id, duration_s=duration_s)
        )

    def disarm(self) -> None:
        """Take back all armed faults."""
        self._faults.clear()
        self._streams.faults.clear()

    def drop_streams(self) -> None:
        """Cut all connections of the candle stream; callable from any thread."""
        self._now_in_loop(self._streams.drop)

    def outage(self, duration_s: float) -> None:
        """Break all connections and refuse new ones for ``duration_s`` seconds, from now; callable from any thread."""
        self._now_in_loop(partial(self._begin_outage, duration_s))

    def _now_in_loop(self, act: Callable[[], object]) -> None:
        if threading.get_ident() == self._thread:
            act()
            return
        done = threading.Event()
        self._loop.call_soon_threadsafe(act)
        self._loop.call_soon_threadsafe(done.set)
        done.wait()

    async def __aenter__(self) -> Self:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S
        )
        await self._runner.setup()
        try:
            await self._listen()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(
                f"The simulator cannot listen on {self._host}:{self._port}: {error.strerror}.",
                hint="Choose another port, or 0 for any free one.",
            ) from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._reopening:
            self._reopening.cancel()
        self._close()
        await self._streams.stop()
        await self._runner.cleanup()
        await asyncio.sleep(0)  # broken connections close their sockets in the loop's next turn

    @contextlib.contextmanager
    def run_in_thread(self) -> Iterator[Self]:
        """Serve from a thread of its own, for callers without an event loop."""
        ready: concurrent.futures.Future[asyncio.Event] = concurrent.futures.Future()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="simulator", daemon=True)
        thread.start()
        stop = ready.result()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            thread.join()

    async def _serve(self, ready: concurrent.futures.Future[asyncio.Event]) -> None:
        """Serve until the event that ``ready`` receives is set."""
        stop = asyncio.Event()
        try:
            await self.__aenter__()
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(stop)
        await stop.wait()
        await self.__aexit__()

    def _application(self) -> web.Application:
        admin = Admin(faults=self._faults, journal=self.journal, begin_outage=self._begin_outage)
        application = web.Application()
        application.add_routes(admin.routes())
        application.add_routes(StreamAdmin(self._streams).routes())
        application.router.add_get(STREAM, self._streams.handle)
        application.router.add_route("*", "/{path:.*}", self._exchange.handle)
        return application

    async def _listen(self) -> None:
        """Take the address and accept connections from now on; raises OSError if the address cannot be had."""
        resolved = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        family, _, _, _, address = resolved[0]
        self._listener = socket.create_server(address, family=family, backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._accepting = self._loop.create_task(self._accept())

    async def _accept(self) -> None:
        # asyncio's own server stumbles over connections that arrive in the very moment in which it is closed
        server = self._runner.server
        assert server is not None, "the runner was set up"
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
                await self._loop.connect_accepted_socket(server, connection)
            except OSError:  # the client has gone again, or too many files are open
                await asyncio.sleep(_PAUSE_S)

    def _close(self) -> None:
        """Stop listening and break all connections."""
        self._accepting.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        server = self._runner.server
        for connection in server.connections if server else ():
            if connection.transport is not None:
                connection.transport.abort()

    def _begin_outage(self, duration_s: float) -> None:
        if self._reopening:
            self._reopening.cancel()
        self._close()
        self._reopening = self._loop.create_task(self._reopen(duration_s))

    async def _reopen(self, after_s: float) -> None:
        """Listen again; somebody else may hold the port for a moment."""
        await asyncio.sleep(after_s)
        while True:
            with contextlib.suppress(OSError):
                await self._listen()
                return
            await asyncio.sleep(_PAUSE_S)
