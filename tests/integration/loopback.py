"""Small servers on loopback: whatever a test makes of a connection, and a proxy that tunnels."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on a loopback port; no connection outlives the block."""
    tasks: list[asyncio.Task[None]] = []

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            await serve(reader, writer)

    server = await asyncio.start_server(tracked, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError), contextlib.closing(writer):
        while data := await reader.read(65536):
            writer.write(data)


@contextlib.asynccontextmanager
async def holding(port: int, hold_s: float) -> AsyncIterator[int]:
    """Pass on to `port`, but nothing before `hold_s` after the first connection: so long does TLS take."""
    began: list[float] = []
    loop = asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.append(loop.time())
        await asyncio.sleep(began[0] + hold_s - loop.time())
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    async with listening(serve) as held_port:
        yield held_port


@contextlib.asynccontextmanager
async def slowing(port: int, each_s: float) -> AsyncIterator[tuple[int, list[float]]]:
    """Pass each connection on to `port` after `each_s` seconds, and list when each of them came."""
    came: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(asyncio.get_running_loop().time())
        await asyncio.sleep(each_s)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    async with listening(serve) as slow_port:
        yield slow_port, came


class Cable:
    """What can be pulled out, and put in again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._is_out = False
        self._ends: list[asyncio.StreamWriter] = []

    def pull(self) -> None:
        """Break all connections, and let no other one through."""
        self._is_out = True
        for end in self._ends:
            end.transport.abort()

    def put_in(self) -> None:
        self._is_out = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_out:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.port)
            self._ends += [writer, there_writer]
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


@contextlib.asynccontextmanager
async def cabled(port: int) -> AsyncIterator[tuple[int, Cable]]:
    """Pass on to `port` while the cable is in."""
    cable = Cable(port)
    async with listening(cable.serve) as near_port:
        yield near_port, cable


@contextlib.asynccontextmanager
async def tunnelling(port: int, status: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A proxy that tunnels every CONNECT to `port`, or refuses it with `status`."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")
        if status.startswith(b"200"):
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    async with listening(serve) as proxy_port:
        yield proxy_port, heads
