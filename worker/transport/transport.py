"""The one session to the tenant. Sends a call once; follows nothing, retries nothing, raises nothing."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from worker import __version__
from worker.errors import ConfigurationError
from worker.model import Answer, Call, Damage, Reply
from worker.transport.deadlines import InFlight, Sweeper
from worker.transport.failures import CAUGHT, no_answer, timed_out
from worker.transport.proxies import Proxy, proxy_for

_MOST_BODY_BYTES: Final = 1 << 20
_KEEPALIVE_S: Final = 60.0
_NO_LIMITS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class _Address(Protocol):
    """The tenant, as far as the transport needs it."""

    @property
    def base_url(self) -> str: ...

    @property
    def loopback(self) -> bool: ...


class _Secret(Protocol):
    """The key, as far as the transport needs it."""

    def reveal(self) -> str: ...


class AiohttpTransport:
    """Sends calls to one tenant. Implements `worker.ports.Transport`; an async context manager.

    Args:
        tenant: Where the calls go, and nowhere else.
        key: The tenant's key.
        timeout_s: Seconds that one call may take, connecting included.
        concurrency: Most connections.
        ca_bundle: PEM file of the certificates to trust instead of the system's, or None.
    """

    def __init__(
        self, tenant: _Address, key: _Secret, *, timeout_s: float, concurrency: int, ca_bundle: Path | None
    ) -> None:
        self._base = tenant.base_url
        self._timeout_s = timeout_s
        self._concurrency = concurrency
        self._tls = _tls_context(ca_bundle)
        self._proxy = None if tenant.loopback else proxy_for(URL(tenant.base_url))
        self._headers = CIMultiDictProxy(
            CIMultiDict(
                {
                    "X-API-KEY": key.reveal(),
                    "Accept": "application/json, application/problem+json",
                    "Accept-Encoding": "identity",
                    "User-Agent": f"bulk-unverify/{__version__}",
                }
            )
        )

    async def __aenter__(self) -> Self:
        """Open the session."""
        proxy = self._proxy or Proxy(None, None)
        self._calls: dict[asyncio.Task[object], InFlight] = {}
        self._sweeper = Sweeper(self._timeout_s)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._concurrency, ssl=self._tls, keepalive_timeout=_KEEPALIVE_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            timeout=_NO_LIMITS,
            auto_decompress=False,
            trust_env=False,
            proxy=proxy.url,
            request_class=_marking(self._calls),
        )
        self._proxy_headers = proxy.headers
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session and its connections."""
        self._sweeper.close()
        await self._session.close()

    async def send(self, call: Call) -> Reply:
        """Send `call` once and return what came back; raises nothing but `asyncio.CancelledError`."""
        task = asyncio.current_task()
        assert task is not None
        entry = self._sweeper.enter(task)
        self._calls[task] = entry
        try:
            # Awaited, not entered: `async with` costs 10 µs a call; `_read` gives the connection back.
            response = await self._session.request(
                call.method,
                URL(self._base + call.path, encoded=True),
                data=call.body,
                allow_redirects=False,
                proxy_headers=self._proxy_headers,
            )
            return await _read(response)
        except asyncio.CancelledError:
            if entry.overdue and not task.uncancel():
                return timed_out(sent=entry.sent)
            raise
        except CAUGHT as error:
            return no_answer(error, sent=entry.sent)
        finally:
            entry.done = True
            del self._calls[task]


def _marking(calls: dict[asyncio.Task[object], InFlight]) -> type[aiohttp.ClientRequest]:
    """Return a request class that marks its task's call when writing begins; a TraceConfig costs 11 µs."""

    class MarkedRequest(aiohttp.ClientRequest):
        async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
            task = asyncio.current_task()
            if task is not None and task in calls:  # a proxy's CONNECT comes here too, from the same task
                calls[task].sent = self.method != "CONNECT"
            return await super().send(conn)

    return MarkedRequest


async def _read(response: aiohttp.ClientResponse) -> Answer:
    """Read a bounded body and give the connection back, or close it where it cannot be used again."""
    headers = response.headers
    try:
        length = response.content_length
        if length is not None and length <= _MOST_BODY_BYTES:
            body, damage = await response.read(), Damage.NONE
        else:
            body, damage = await _read_bounded(response)
    except aiohttp.ClientError:
        response.close()
        return Answer(response.status, headers, b"", Damage.TRUNCATED)
    except asyncio.CancelledError:
        response.close()
        raise
    if headers.get("Content-Encoding", "identity") != "identity":
        damage = damage or Damage.ENCODED
    response.release()
    return Answer(response.status, headers, body, damage)


async def _read_bounded(response: aiohttp.ClientResponse) -> tuple[bytes, Damage]:
    parts = bytearray()
    async for part in response.content.iter_any():
        parts += part
        if len(parts) > _MOST_BODY_BYTES:
            response.close()
            return bytes(parts[:_MOST_BODY_BYTES]), Damage.OVERSIZED
    return bytes(parts), Damage.NONE


def _tls_context(ca_bundle: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_bundle is None else str(ca_bundle))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"--ca-bundle {ca_bundle}: cannot be read as PEM certificates ({error.strerror or 'not PEM'})."
        ) from error
