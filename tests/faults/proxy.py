"""A TCP proxy in front of PostgreSQL that knows its protocol well enough to fail at a chosen moment.

It forwards to the server's Unix socket. A fault is either armed for a moment of the conversation (the next COPY, the
next COMMIT...) or a state of the whole line (refused, silent, slow), which lasts until it is taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_READ_BYTES = 1 << 16
_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104


class Moment(StrEnum):
    """Where in the conversation the connection is cut."""

    STATEMENT = "when a statement is sent"
    COPY_DATA = "in the middle of COPY data"
    COPY_DONE = "at the end of COPY"
    BEFORE_COMMIT = "before COMMIT reaches the server"
    AFTER_COMMIT = "after COMMIT, with its reply lost"


@dataclass(slots=True)
class _Cut:
    """Lets ``skip`` such moments pass and cuts at the next."""

    moment: Moment
    skip: int


class _Messages:
    """Cuts a client's bytes into protocol messages; the first ones have no type byte."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._greeted = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while (size := self._size()) and len(self._buffer) >= size:
            message = bytes(self._buffer[:size])
            del self._buffer[:size]
            if not self._greeted:
                self._greeted = struct.unpack("!I", message[4:8])[0] not in (_SSL, _GSS)
            yield message

    def _size(self) -> int:
        at = 1 if self._greeted else 0
        return at + struct.unpack_from("!I", self._buffer, at)[0] if len(self._buffer) >= at + 4 else 0


def _moments(message: bytes) -> tuple[Moment, ...]:
    """The moments that a client's message is."""
    kind = message[:1]
    if kind in (b"P", b"Q"):
        return (Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT) if b"COMMIT\x00" in message else (Moment.STATEMENT,)
    return {b"d": (Moment.COPY_DATA,), b"c": (Moment.COPY_DONE,)}.get(kind, ())


class Proxy:
    """Listens on ``port`` of 127.0.0.1 while it is entered; all methods may be called from any thread.

    ``attempts`` are the times (monotonic seconds) at which clients connected.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is the one of the server's Unix socket."""
        self._socket = str(folder / ".s.PGSQL.5432")
        self.attempts: list[float] = []
        self.port = 0
        self.delay_s = 0.0
        self.answer_bytes: int | None = None
        self._cuts: list[_Cut] = []
        self._refusing = False
        self._loop = asyncio.new_event_loop()
        self._lines: set[_Line] = set()

    def __enter__(self) -> Proxy:
        self._open = asyncio.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_READ_BYTES))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut_at(self, moment: Moment, *, skip: int = 0) -> None:
        """Cut the connection at the next such moment, after ``skip`` others."""
        self._cuts.append(_Cut(moment, skip))

    @property
    def armed(self) -> int:
        """How many cuts wait for their moment."""
        return len(self._cuts)

    def cut(self) -> None:
        """Cut all connections now."""
        self._call(self._cut_all())

    def refuse(self) -> None:
        """Cut all connections, and every new one at once."""
        self._refusing = True
        self.cut()

    def silence(self) -> None:
        """Forward nothing and close nothing: a black hole."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def answer_only(self, count: int) -> None:
        """Cut the connection that gets it after so many more bytes of the server's answers."""
        self.answer_bytes = count

    def recover(self) -> None:
        """Take back every fault."""
        self._refusing = False
        self.delay_s = 0.0
        self.answer_bytes = None
        self._cuts.clear()
        self._loop.call_soon_threadsafe(self._open.set)

    @contextlib.contextmanager
    def recovering(self) -> Iterator[Proxy]:
        """Take back every fault at the end of the block."""
        try:
            yield self
        finally:
            self.recover()

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _shut(self) -> None:
        self._server.close()
        await self._cut_all()
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _cut_all(self) -> None:
        for line in self._lines:
            line.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts.append(time.monotonic())
        line = _Line(self, reader, writer)
        self._lines.add(line)
        try:
            if not self._refusing:
                await line.carry(self._socket)
        except asyncio.CancelledError:
            pass  # the proxy ends; asyncio would complain of a cancelled connection
        finally:
            line.cut()
            self._lines.discard(line)

    async def pass_on(self) -> None:
        """Wait as long as the line is silent or slow."""
        await self._open.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)

    def struck(self, message: bytes) -> Moment | None:
        """The cut that waited for this message, if one did."""
        moments = _moments(message)
        for cut in self._cuts:
            if cut.moment in moments:
                cut.skip -= 1
                if cut.skip < 0:
                    self._cuts.remove(cut)
                    return cut.moment
        return None

    def allowed(self, data: bytes) -> bytes:
        """The part of an answer that may pass."""
        if self.answer_bytes is None:
            return data
        passing = data[: self.answer_bytes]
        self.answer_bytes = self.answer_bytes - len(passing) if len(passing) == len(data) else None
        return passing


class _Line:
    """One client's connection, and the one to the server that was made for it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._server: asyncio.StreamWriter | None = None
        self._mute = False

    async def carry(self, socket: str) -> None:
        """Forward in both directions until one of them ends."""
        with contextlib.suppress(OSError):  # the server is away, and so is the client's connection
            answers, self._server = await asyncio.open_unix_connection(socket, limit=_READ_BYTES)
            pumps = [asyncio.ensure_future(pump) for pump in (self._ask(self._server), self._answer(answers))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)

    def cut(self) -> None:
        for end in filter(None, (self._writer, self._server)):
            end.transport.abort()

    async def _ask(self, server: asyncio.StreamWriter) -> None:
        """From the client to the server, message by message."""
        messages = _Messages()
        while data := await self._reader.read(_READ_BYTES):
            for message in messages.feed(data):
                await self._proxy.pass_on()
                struck = self._proxy.struck(message)
                server.write(_forwarded(message, struck))
                self._mute = struck is not None
                await server.drain()
                if struck is Moment.AFTER_COMMIT:
                    await asyncio.sleep(0.1)  # the server commits, and its answer is lost
                if struck is not None:
                    return

    async def _answer(self, answers: asyncio.StreamReader) -> None:
        """From the server to the client, as it comes."""
        while data := await answers.read(_READ_BYTES):
            await self._proxy.pass_on()
            if self._mute:
                return
            passing = self._proxy.allowed(data)
            self._writer.write(passing)
            await self._writer.drain()
            if len(passing) < len(data):
                return


def _forwarded(message: bytes, struck: Moment | None) -> bytes:
    """What of a message still reaches the server."""
    if struck is None or struck is Moment.AFTER_COMMIT:
        return message
    return message[: len(message) // 2] if struck is Moment.COPY_DATA else b""
