"""The connection to a NATS server: one for all queues of a worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import unquote, urlsplit

from nats.aio.client import Client
from nats.errors import Error, SecureConnWantedError

TIMEOUT_S: Final = 5
"""How long one answer may take; `_PATIENCE_S` is for all that one call asks."""
_PATIENCE_S: Final = 10
_CLOSE_S: Final = 1
_NAME: Final = "bulk-unverify"
_PING_S: Final = 10
_MOST_BYTES: Final = 1024 * 1024
"""A server's `max_payload` unless configured."""
_HEADER_BYTES: Final = 1024
"""Headers count for it."""


class NatsLine:
    """A connection that is made when it is needed, and anew when it was lost.

    The library does not reconnect by itself: meanwhile it would keep what is sent in memory as if it had been sent.
    With `tls://` the login is kept back, and the connection refused, unless the server encrypts it.

    Args:
        server: URL of the server; a login without a password is a token.
    """

    def __init__(self, server: str) -> None:
        self._server = urlsplit(server)
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._waiting: set[asyncio.Timeout] = set()
        self.most_bytes = _MOST_BYTES - _HEADER_BYTES
        """What a message may have; the server says it when it is connected to."""

    async def client(self) -> Client:
        """Return a client that is connected.

        Raises:
            nats.errors.Error: No connection is to be had.
            OSError: The same.
        """
        async with self._connecting:
            if self._client is None or not self._client.is_connected:
                self._client = await self._connect()
                most = min(_MOST_BYTES, self._client.max_payload)
                self.most_bytes = most - min(_HEADER_BYTES, most // 2)
            return self._client

    @contextlib.asynccontextmanager
    async def patience(self) -> AsyncIterator[None]:
        """Bound the wait for answers; it ends at once when the connection is lost, and they with it.

        Raises:
            TimeoutError: They did not come.
        """
        async with asyncio.timeout(_PATIENCE_S) as wait:
            self._waiting.add(wait)
            try:
                yield
            finally:
                self._waiting.discard(wait)

    async def aclose(self) -> None:
        """Close the connection. Nothing is under way by then: each answer was waited for."""
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    async def _connect(self) -> Client:
        client = Client()
        user, password = self._server.username, self._server.password
        is_token = password is None

        def secret(text: str | None) -> str:
            self._check(client)
            return unquote(text or "")

        async def lost() -> None:
            if client is self._client:
                for wait in self._waiting:
                    if not wait.expired():
                        wait.reschedule(0)

        try:
            async with asyncio.timeout(TIMEOUT_S):
                await client.connect(
                    self._server._replace(netloc=self._server.netloc.rpartition("@")[2]).geturl(),
                    name=_NAME,
                    error_cb=_ignore,
                    disconnected_cb=lost,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=TIMEOUT_S,
                    ping_interval=_PING_S,
                    user=(lambda: secret(user)) if user and not is_token else None,
                    password=(lambda: secret(password)) if user and not is_token else None,
                    token=(lambda: secret(user)) if user and is_token else None,
                )
            self._check(client)
        except BaseException:
            await _close(client)
            raise
        return client

    def _check(self, client: Client) -> None:
        """Raise if the address asks for encryption and the server, which said so first of all, has none."""
        is_encrypted = client._server_info.get("tls_required")  # noqa: SLF001 - it is told nowhere else
        if self._server.scheme == "tls" and not is_encrypted:
            raise SecureConnWantedError


async def _ignore(_: Exception) -> None:
    """Do nothing: whoever waits for an answer is told."""


async def _close(client: Client) -> None:
    """Close a connection, and leave it behind if that hangs: the library may lose a cancellation as it closes."""
    closing = asyncio.create_task(_closed(client))
    await asyncio.wait([closing], timeout=_CLOSE_S)
    closing.cancel()


async def _closed(client: Client) -> None:
    with contextlib.suppress(Error, OSError):
        await client.close()
