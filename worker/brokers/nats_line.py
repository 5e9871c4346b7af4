"""The connection to a NATS server: one for all queues of a worker."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

from nats.aio.client import Client
from nats.errors import Error, NoServersError, SecureConnWantedError

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


_REFUSAL: Final = "permissions violation"
_NO_WORD: Final = re.compile(r"[^a-z0-9_-]+")


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
        self._waiting: dict[asyncio.Timeout, str] = {}
        """What each waits for, by name."""
        self._refused: dict[asyncio.Timeout, str] = {}
        """What the server said to it."""
        self._last: Exception | None = None
        """What the library told last, beside answers."""
        self._others: tuple[str, ...] = ()
        """Where else its cluster can be reached, as the server that was connected to last told it."""
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
    async def patience(self, name: str) -> AsyncIterator[None]:
        """Bound the wait for answers about a stream.

        It ends at once when the connection is lost, and they with it, or when the server refuses a right that they
        need: it tells so beside them.

        Raises:
            nats.errors.Error: It refuses.
            TimeoutError: They did not come.
        """
        wait = asyncio.timeout(_PATIENCE_S)
        self._waiting[wait] = name
        try:
            async with wait:
                yield
        except TimeoutError:
            if wait in self._refused:
                raise Error(self._refused[wait]) from None
            raise
        finally:
            self._refused.pop(wait, None)
            del self._waiting[wait]

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
                _end(self._waiting)

        try:
            async with asyncio.timeout(TIMEOUT_S):
                await client.connect(
                    self._servers(),
                    name=_NAME,
                    dont_randomize=True,
                    error_cb=self._hear,
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
        except BaseException as error:
            await _close(client)
            if isinstance(error, NoServersError):
                raise error from self._last  # which says why
            raise
        self._others = tuple(each.netloc for each in client.discovered_servers)
        return client

    def _servers(self) -> list[str]:
        """Return the server's URL without its login, then those of the rest of its cluster."""
        own = self._server._replace(netloc=self._server.netloc.rpartition("@")[2])
        return [own.geturl(), *(own._replace(netloc=other).geturl() for other in self._others)]

    async def _hear(self, error: Exception) -> None:
        """End the waits for what the server refuses a right to; of all else whoever waits for an answer is told."""
        self._last = error
        said = str(error)
        if _REFUSAL not in said:
            return
        words = set(_NO_WORD.split(said))  # the library has put it into lower case
        concerned = [wait for wait, name in self._waiting.items() if name.lower() in words]
        for wait in concerned or list(self._waiting):
            self._refused[wait] = said
        _end(concerned or self._waiting)

    def _check(self, client: Client) -> None:
        """Raise if the address asks for encryption and the server, which said so first of all, has none."""
        is_encrypted = client._server_info.get("tls_required")  # noqa: SLF001 - it is told nowhere else
        if self._server.scheme == "tls" and not is_encrypted:
            raise SecureConnWantedError


def _end(waits: Iterable[asyncio.Timeout]) -> None:
    for wait in waits:
        if wait.when() is not None and not wait.expired():
            wait.reschedule(0)


async def _close(client: Client) -> None:
    """Close a connection, and leave it behind if that hangs: the library may lose a cancellation as it closes."""
    closing = asyncio.create_task(_closed(client))
    await asyncio.wait([closing], timeout=_CLOSE_S)
    closing.cancel()


async def _closed(client: Client) -> None:
    with contextlib.suppress(Error, OSError):
        await client.close()
