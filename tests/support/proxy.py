"""A TCP proxy on loopback that a test can cut, freeze and open again."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Self


class TcpProxy:
    """Carries bytes to a port on 127.0.0.1; an async context manager.

    Args:
        port: where to.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0
        """Where it listens, once started."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    async def open(self) -> None:
        """Listen, on the same port as before if it was cut."""
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.reset()

    async def reset(self) -> None:
        """Reset every connection; new ones are welcome."""
        connections = dict(self._connections)
        for one, writer in connections.items():
            one.cancel()
            writer.transport.abort()  # one that had no turn yet would end without closing it
        await asyncio.gather(*connections, return_exceptions=True)

    def freeze(self) -> None:
        """Carry nothing any more, while every connection stays open: a dead network."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Carry everything that waited."""
        self._flowing.set()

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections[connection] = writer
        connection.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._connect(reader, writer)
        except (asyncio.CancelledError, OSError):
            pass  # cut, or one of the two sides is gone
        finally:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await _first(self._carry(reader, far_writer), self._carry(far_reader, writer))
        finally:
            far_writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()


async def _first(*work: Awaitable[None]) -> None:
    """Return when the first is done; the others are given up."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
