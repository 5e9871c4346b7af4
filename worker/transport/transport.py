"""The one session to the tenant. Sends a call once; follows nothing, retries nothing, raises nothing."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Protocol, Self

import aiohttp
from aiohttp.typedefs import LooseHeaders
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from worker import __version__
from worker.errors import ConfigurationError
from worker.model import Call, Reply
from worker.transport.bodies import read_answer, without_echo
from worker.transport.deadlines import Sweeper
from worker.transport.failures import CAUGHT, no_answer, timed_out
from worker.transport.proxies import Proxy, proxy_for

_SAID: Final = {
    "Accept": "application/json, application/problem+json",
    "Accept-Encoding": "identity",
    "User-Agent": f"bulk-unverify/{__version__}",
}
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
        self._base = URL(tenant.base_url)
        self._base_path = self._base.path
        self._key = key.reveal()
        self._timeout_s = timeout_s
        self._concurrency = concurrency
        self._tls = _tls_context(ca_bundle)
        self._proxy = None if tenant.loopback else proxy_for(self._base)
        # A session's headers go to a proxy too, in plain text: behind one the key comes with each call.
        secret, host = {"X-API-KEY": self._key}, self._base.host_port_subcomponent
        assert host is not None
        self._session_headers = {"Host": host} | _SAID | ({} if self._proxy else secret)
        self._headers = _fixed(secret) if self._proxy else None
        self._json_headers = _fixed(secret | {"Content-Type": "application/json"})

    async def __aenter__(self) -> Self:
        """Open the session."""
        proxy = self._proxy or Proxy(None, None)
        self._sweeper = Sweeper(self._timeout_s)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._concurrency, ssl=self._tls, keepalive_timeout=_KEEPALIVE_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._session_headers,
            timeout=_NO_LIMITS,
            auto_decompress=False,
            trust_env=False,
            proxy=proxy.url,
            request_class=_request_class(self._sweeper),
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
        watched = self._sweeper.enter(task)
        try:
            # Awaited, not entered: `async with` costs 10 µs a call; reading gives the connection back.
            response = await self._session.request(
                call.method,
                self._base.with_path(self._base_path + call.path, encoded=True),
                data=call.body,
                headers=self._headers if call.body is None else self._json_headers,
                allow_redirects=False,
                proxy_headers=self._proxy_headers,
            )
            return without_echo(await read_answer(response), self._key)
        except asyncio.CancelledError:
            if not watched.overdue or watched.cancelled_by_others:
                raise
            return timed_out(sent=watched.sent)
        except CAUGHT as error:
            return timed_out(sent=watched.sent) if watched.overdue else no_answer(error, sent=watched.sent)
        finally:
            self._sweeper.leave(watched)


def _request_class(sweeper: Sweeper) -> type[aiohttp.ClientRequest]:
    """Return a request class that marks its call when writing begins; a TraceConfig costs 11 µs."""

    class MarkedRequest(aiohttp.ClientRequest):
        # Methods that get a made-up Content-Type: none, as a POST without a body has no media type.
        POST_METHODS: set[str] = set()  # noqa: RUF012 - what aiohttp declares it as

        def update_headers(self, headers: LooseHeaders | None) -> None:
            # They are this call's own already, Host included: aiohttp copies them once more, name by name.
            assert isinstance(headers, CIMultiDict)
            self.headers = headers

        async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
            if self.method != "CONNECT":  # what a proxy is asked first, from the same task
                sweeper.mark_sent()
            return await super().send(conn)

    return MarkedRequest


def _fixed(headers: dict[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(headers))


def _tls_context(ca_bundle: Path | None) -> ssl.SSLContext | Literal[True]:
    """Return what to check certificates with; `True` stands for aiohttp's own, which is there already."""
    if ca_bundle is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_bundle))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"--ca-bundle {ca_bundle}: cannot be read as PEM certificates ({error.strerror or 'not PEM'})."
        ) from error
