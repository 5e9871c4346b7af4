"""A request goes out and the head of its answer comes back: the three steps below `ClientSession.request`.

The session's own method costs a fifth of a whole call (15 µs of 67, measured in place) for what a call with a
root credential must not have anyway: redirects, cookies, netrc, a login in the address, a second attempt on a
connection that broke. Connections, pool, proxy, TLS and parsing are aiohttp's as ever. The steps are public
by name but not documented: hence the narrow bound on aiohttp's version, and the tests on the wire.
"""

from __future__ import annotations

import asyncio
import ssl
import weakref
from collections.abc import Callable
from typing import Final, Literal

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from aiohttp.typedefs import LooseHeaders
from multidict import CIMultiDict
from yarl import URL

from worker.transport.deadlines import InFlight
from worker.transport.proxies import Proxy

_KEEPALIVE_S: Final = 4.0
"""Seconds for which an idle connection is kept: less than servers do, so that it is not closed as it is used.

Node.js closes after 5 s, AWS' load balancers after 60 s, nginx after 75 s. At one call a second nothing is lost.
"""
_PROMPT_S: Final = 0.01
"""A call is never late that began to be written so soon: most connections in use are there already."""
_NO_LIMITS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class _Request(aiohttp.ClientRequest):
    # Methods that get a made-up Content-Type: none, as a POST without a body has no media type.
    POST_METHODS: set[str] = set()  # noqa: RUF012 - what aiohttp declares it as

    def update_headers(self, headers: LooseHeaders | None) -> None:
        # They are this call's own already, Host included: aiohttp copies them once more, name by name.
        assert isinstance(headers, CIMultiDict)
        self.headers = headers


class Connector(aiohttp.TCPConnector):
    """Makes and keeps connections, and knows which of them were never used."""

    def __init__(self, *, limit: int, tls: ssl.SSLContext | Literal[True]) -> None:
        super().__init__(limit=limit, ssl=tls, keepalive_timeout=_KEEPALIVE_S)
        self.unused: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - what aiohttp declares
    ) -> ResponseHandler:
        made = await super()._create_connection(req, traces, timeout)
        self.unused.add(made)
        return made

    def drop_idle(self) -> None:
        """Close the connections that are idle; calls in flight are left alone."""
        for kept in self._conns.values():
            for protocol, _ in kept:
                protocol.close()


class Exchange:
    """Exchanges requests for answers over a connector's connections.

    Args:
        connector: Makes, keeps and closes the connections.
        proxy: What the connections go through, or None.
        slack_s: Tells how many seconds a call may wait for its connection and still be written.
    """

    def __init__(self, connector: Connector, proxy: Proxy | None, slack_s: Callable[[], float]) -> None:
        self._connector = connector
        self._slack_s = slack_s
        self._proxy = proxy or Proxy(None, None)
        self._loop = asyncio.get_running_loop()

    async def open(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        body: bytes | None,
        watched: InFlight,
        however_late: bool,
    ) -> aiohttp.ClientResponse | None:
        """Send a request and return its answer, whose body is still to be read or closed.

        None if nothing was sent, as the call had to wait for its connection for too long. That is kept: calls
        whose connections come all at once would go in one burst, however they had been paced (promise 4).

        Args:
            method: HTTP method in capitals.
            url: Absolute, encoded.
            headers: All of them, `Host` included; aiohttp adds those of the body to them.
            body: Its bytes, or None.
            watched: Says when the call began; told when writing begins.
            however_late: Whether it is sent whatever its connection took.

        Raises:
            aiohttp.ClientError: No connection, or no answer that is HTTP.
            OSError: The connection broke.
        """
        request = _Request(
            method,
            url,
            headers=headers,
            data=body,
            loop=self._loop,
            proxy=self._proxy.url,
            proxy_headers=self._proxy.headers,
        )
        connection = await self._connect(request)
        watched.kept = connection.protocol not in self._connector.unused
        waited_s = self._loop.time() - watched.began
        if waited_s > _PROMPT_S and not however_late and waited_s > self._slack_s():
            connection.release()
            return None
        try:
            assert connection.protocol is not None
            if not watched.kept:
                self._connector.unused.discard(connection.protocol)
            connection.protocol.set_response_params(
                skip_payload=method == "HEAD", read_until_eof=True, auto_decompress=False
            )
            watched.sent = True
            response = await request.send(connection)
            try:
                return await response.start(connection)
            except BaseException:
                response.close()
                raise
        except BaseException:
            connection.close()
            raise

    async def _connect(self, request: aiohttp.ClientRequest) -> Connection:
        """Return a connection, new or kept, on which nothing lies waiting.

        What a server sent unasked on a kept one (an answer twice, say) would be taken for this call's answer,
        this call's for the next one's, and so on: rows would get each other's outcomes (promise 1).

        Raises:
            aiohttp.ServerDisconnectedError: This server speaks first on every connection.
        """
        for _ in range(self._connector.limit + 1):  # as many as may be kept, and a new one
            connection = await self._connector.connect(request, [], _NO_LIMITS)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        raise aiohttp.ServerDisconnectedError
