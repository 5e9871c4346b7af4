"""A loopback port that can be shut for a while and opened again under the same number."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Final

from aiohttp import web

from worker.errors import ConfigurationError
from worker.sandbox.wire import reset_transport

_BACKLOG: Final = 1024
_CLOSE_WITHIN_S: Final = 0.1


class Door:
    """Listens from `open` until `close`, for `server`, which it closes too.

    Args:
        server: What makes connections into requests.
        host: A loopback address.
        port: 0 takes any free one.
        tls: Certificate and key, or None for plain http.
    """

    def __init__(self, server: web.Server, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._host = host
        self._wanted_port = port
        self._tls = tls
        self._bound: socket.socket | None = None
        self._listener: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def open(self) -> int:
        """Begin to listen and return the port.

        Raises:
            ConfigurationError: The port is taken or not allowed.
        """
        self._bound = bound = self._bind()
        self._wanted_port = int(bound.getsockname()[1])
        await self._listen(bound)
        return self._wanted_port

    def refuse(self, for_s: float) -> None:
        """Reset every connection and refuse new ones for `for_s` seconds; shut already, it stays so."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        # Bound but not listening: the port stays ours, and whoever connects is refused.
        self._bound = bound = self._bind()
        for connection in self._server.connections:
            reset_transport(connection.transport)
        self._reopening = asyncio.get_running_loop().create_task(self._reopen(bound, for_s))

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._reopening is not None:
            self._reopening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reopening
        if self._bound is not None:
            self._bound.close()
        if self._listener is not None:
            self._listener.close()
        await self._server.shutdown(_CLOSE_WITHIN_S)

    async def _reopen(self, bound: socket.socket, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._listen(bound)

    async def _listen(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, sock=bound, ssl=self._tls, backlog=_BACKLOG)
        self._bound = None

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self._wanted_port))
        except OSError as error:
            bound.close()
            raise ConfigurationError(
                f"The sandbox cannot use {self._host} port {self._wanted_port}: {error.strerror}. "
                "Choose another port, or 0 for any free one."
            ) from error
        return bound
