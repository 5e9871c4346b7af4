"""The connections to the tenant. Sends a call once; follows nothing, retries nothing, raises nothing."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Protocol, Self

from aiohttp import ClientResponse
from multidict import CIMultiDict
from yarl import URL

from worker import __version__
from worker.errors import ConfigurationError
from worker.model import Call, NoAnswer, Reply
from worker.redaction import Redactor
from worker.transport.bodies import cut_off, read_answer, without_echo
from worker.transport.deadlines import InFlight, Sweeper
from worker.transport.exchange import Connector, Exchange
from worker.transport.failures import CAUGHT, no_answer, timed_out
from worker.transport.proxies import proxy_for

_SAID: Final = {
    "Accept": "application/json, application/problem+json",
    "Accept-Encoding": "identity",
    "User-Agent": f"bulk-unverify/{__version__}",
}
_MOST_STALE: Final = 10_000
"""Calls of which it is remembered that they are to go over a new connection."""


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
        slack_s: Tells how many seconds a call may wait for its connection and still be written.
    """

    def __init__(
        self,
        tenant: _Address,
        key: _Secret,
        *,
        timeout_s: float,
        concurrency: int,
        ca_bundle: Path | None,
        slack_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._base = URL(tenant.base_url)
        self._base_path = self._base.path
        self._redactor = Redactor(key.reveal())
        self._stale: dict[str, None] = {}
        self._timeout_s = timeout_s
        self._concurrency = concurrency
        self._slack_s = slack_s
        self._tls = trusted_by(ca_bundle)
        self._proxy = None if tenant.loopback else proxy_for(self._base)
        host = self._base.host_port_subcomponent
        assert host is not None
        self._headers = CIMultiDict({"Host": host} | _SAID | {"X-API-KEY": key.reveal()})

    async def __aenter__(self) -> Self:
        """Get ready; a connection is made by the first call that needs it."""
        self._loop = asyncio.get_running_loop()
        self._sweeper = Sweeper(self._timeout_s)
        self._connector = Connector(limit=self._concurrency, tls=self._tls)
        self._exchange = Exchange(self._connector, self._proxy, self._slack_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._sweeper.close()
        await self._connector.close()

    async def send(self, call: Call, *, however_late: bool = False) -> Reply | None:
        """Send `call` once and return what came back; raises nothing but `asyncio.CancelledError`.

        None if its connection took longer than `slack_s`, unless it is to go `however_late`: nothing was sent, and
        another call may use the connection.
        """
        task = asyncio.current_task(self._loop)
        assert task is not None
        watched = self._sweeper.enter(task)
        response: ClientResponse | None = None
        try:
            headers = self._headers.copy()
            if call.body is not None:
                headers["Content-Type"] = "application/json"
            if call.traceparent:
                headers["traceparent"] = call.traceparent
            url = self._base.with_path(self._base_path + call.path, encoded=True)
            if self._stale and call.path in self._stale:
                del self._stale[call.path]
                self._connector.drop_idle()  # this call's last one had been closed: it gets a new connection
            response = await self._exchange.open(call.method, url, headers, call.body, watched, however_late)
            if response is None:
                return None
            return without_echo(await read_answer(response), self._redactor)
        except asyncio.CancelledError:
            if not watched.overdue or watched.cancelled_by_others:
                raise
            return timed_out(sent=watched.sent) if response is None else cut_off(response)
        except CAUGHT as error:
            return timed_out(sent=watched.sent) if watched.overdue else self._broken(call, error, watched)
        finally:
            self._sweeper.leave(watched)

    def distrust(self) -> None:
        """Close the connections that are idle; calls in flight are left alone.

        The connection of the answer that was read last is among them until the caller awaits anything.
        """
        self._connector.drop_idle()

    def _broken(self, call: Call, error: BaseException, watched: InFlight) -> NoAnswer:
        reply = no_answer(error, sent=watched.sent, kept=watched.kept)
        if reply.stale:
            self._connector.drop_idle()  # they have been idle for about as long
            if len(self._stale) < _MOST_STALE:
                self._stale[call.path] = None
        return reply


def trusted_by(ca_bundle: Path | None) -> ssl.SSLContext | Literal[True]:
    """Return what to check certificates with; `True` stands for aiohttp's own, which is there already.

    Raises:
        ConfigurationError: The file cannot be read as certificates.
    """
    if ca_bundle is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_bundle))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"--ca-bundle {ca_bundle}: cannot be read as PEM certificates ({error.strerror or 'not PEM'})."
        ) from error
