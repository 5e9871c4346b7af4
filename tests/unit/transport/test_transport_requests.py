"""What the transport asks for and makes of every error, over aioresponses; the wire is an integration test."""

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any, Final
from unittest import mock
from urllib.parse import quote

import aiohttp
import pytest
from aioresponses import aioresponses
from multidict import CIMultiDict
from yarl import URL

from worker import __version__
from worker.connection import ApiKey, Tenant
from worker.model import Answer, Call, NoAnswer, Reply, Trouble
from worker.transport import AiohttpTransport
from worker.transport.bodies import without_echo
from worker.transport.deadlines import InFlight
from worker.transport.proxies import Proxy

CALL = Call("POST", "users/u%2F1/emails/e/unverify")
ADDRESS = "https://acme.example/api/users/u%2F1/emails/e/unverify"
KEY = "sk-0123456789-secret"


class _ResponseWithWriter(aiohttp.ClientResponse):
    """What aioresponses 0.7.9 lacks for aiohttp 3.14: it makes responses without a `stream_writer`."""

    def __init__(self, *args: Any, **named: Any) -> None:
        named.setdefault("stream_writer", mock.Mock(output_size=0))
        super().__init__(*args, **named)


class _ExchangeBySession:
    """An `Exchange` by way of `ClientSession.request`, which is what aioresponses stands in for."""

    def __init__(self, connector: aiohttp.BaseConnector, proxy: Proxy | None, _: object) -> None:
        assert proxy is None
        self._session = aiohttp.ClientSession(connector=connector)

    async def open(
        self, method: str, url: URL, headers: CIMultiDict[str], body: bytes | None, _: InFlight, __: bool
    ) -> aiohttp.ClientResponse:
        return await self._session.request(method, url, headers=headers, data=body, allow_redirects=False)


@pytest.fixture
def tenant_says(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    if "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters:
        monkeypatch.setattr("aioresponses.core.ClientResponse", _ResponseWithWriter)
    monkeypatch.setattr("worker.transport.transport.Exchange", _ExchangeBySession)
    with aioresponses() as said:
        yield said


async def send(call: Call = CALL) -> Reply:
    async with AiohttpTransport(
        Tenant.parse("acme.example"), ApiKey(KEY), timeout_s=5, concurrency=2, ca_bundle=None
    ) as transport:
        return await transport.send(call)


async def test_a_reply_is_an_answer(tenant_says: aioresponses) -> None:
    tenant_says.post(ADDRESS, status=200, body=b'{"a":1}', headers={"X-One": "1"})
    reply = await send()
    assert isinstance(reply, Answer)
    assert (reply.status, reply.body, reply.headers["x-one"]) == (200, b'{"a":1}', "1")


async def test_every_call_has_its_path_as_it_was_written_and_all_its_headers(
    tenant_says: aioresponses,
) -> None:
    tenant_says.post(ADDRESS)
    await send()
    (((method, url), [request]),) = tenant_says.requests.items()
    assert (method, str(url)) == ("POST", ADDRESS)
    assert url.raw_path.endswith("/u%2F1/emails/e/unverify")
    assert request.kwargs["data"] is None
    assert request.kwargs["headers"] == {
        "Host": "acme.example",
        "Accept": "application/json, application/problem+json",
        "Accept-Encoding": "identity",
        "User-Agent": f"bulk-unverify/{__version__}",
        "X-API-KEY": KEY,
    }


OS_ERROR = ConnectionRefusedError(111, "refused")
PLACE = mock.Mock(host="acme.example", port=443, ssl=True, is_ssl=True)
REQUEST = mock.Mock(real_url=URL(ADDRESS), method="POST", headers={"X-API-KEY": KEY})


@pytest.mark.parametrize(
    ("error", "trouble", "said"),
    [
        (aiohttp.ClientConnectorError(PLACE, OS_ERROR), Trouble.CONNECT, "Connection refused"),
        (aiohttp.ClientConnectorDNSError(PLACE, OSError(-2, "no name")), Trouble.UNKNOWN_HOST, "name"),
        (aiohttp.ClientProxyConnectionError(PLACE, OS_ERROR), Trouble.CONNECT, "proxy"),
        (aiohttp.ClientHttpProxyError(REQUEST, (), status=407, message=KEY), Trouble.PROXY, "HTTPS_PROXY"),
        (aiohttp.ClientHttpProxyError(REQUEST, (), status=499, message=KEY), Trouble.PROXY, "(499)"),
        (aiohttp.ClientHttpProxyError(REQUEST, (), status=429, message=KEY), Trouble.CONNECT, "(429)"),
        (aiohttp.ClientHttpProxyError(REQUEST, (), status=503, message=KEY), Trouble.CONNECT, "(503)"),
        (aiohttp.ServerDisconnectedError(ADDRESS), Trouble.DISCONNECTED, "closed the connection"),
        (aiohttp.ClientOSError(104, "reset"), Trouble.DISCONNECTED, "Connection reset by peer"),
        (aiohttp.ClientConnectionResetError(KEY), Trouble.DISCONNECTED, "broke"),
        (aiohttp.ClientConnectionError(KEY), Trouble.DISCONNECTED, "broke"),
        (aiohttp.ServerTimeoutError(ADDRESS), Trouble.TIMEOUT, "time limit"),
        (aiohttp.ConnectionTimeoutError(ADDRESS), Trouble.TIMEOUT, "time limit"),
        (TimeoutError(ADDRESS), Trouble.TIMEOUT, "time limit"),
        (aiohttp.ClientResponseError(REQUEST, (), message=KEY), Trouble.PROTOCOL, "not HTTP"),
        (aiohttp.InvalidURL(ADDRESS), Trouble.PROTOCOL, "could not be made"),
        (aiohttp.ClientPayloadError(KEY), Trouble.PROTOCOL, "could not be made"),
        (OSError(ADDRESS), Trouble.DISCONNECTED, "broke"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_the_table_of_errors(
    error: Exception, trouble: Trouble, said: str, tenant_says: aioresponses
) -> None:
    tenant_says.post(ADDRESS, exception=error)
    reply = await send()
    assert isinstance(reply, NoAnswer)
    assert (reply.trouble, reply.sent) == (trouble, False)
    assert said in reply.detail
    assert KEY not in reply.detail
    assert "u%2F1" not in reply.detail


async def test_a_defect_is_no_reply(tenant_says: aioresponses) -> None:
    tenant_says.post(ADDRESS, exception=KeyError("a defect"))
    with pytest.raises(KeyError):
        await send()


async def test_a_cancelled_task_stays_cancelled(tenant_says: aioresponses) -> None:
    tenant_says.post(ADDRESS, exception=asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await send()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_a_key_that_comes_back_in_an_error_is_taken_out(status: int, tenant_says: aioresponses) -> None:
    tenant_says.post(ADDRESS, status=status, body=f"You sent X-API-KEY: {KEY}!")
    reply = await send()
    assert isinstance(reply, Answer)
    assert reply.body == b"You sent X-API-KEY: [redacted]!"


ESCAPED: Final[dict[str, Callable[[str], str]]] = {
    "JSON": lambda key: "".join(f"\\u{ord(each):04X}" for each in key),
    "JSON, some of it": lambda key: key.replace("-", "\\u002d"),
    "JSON, its slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "HTML": lambda key: "".join(f"&#x{ord(each):x};" for each in key),
    "HTML, by names": lambda key: key.replace("/", "&sol;"),
    "URL": lambda key: quote(key, safe=""),
}


@pytest.mark.parametrize("escape", ESCAPED.values(), ids=ESCAPED)
def test_a_key_that_comes_back_in_escapes_takes_the_body_with_it(escape: Callable[[str], str]) -> None:
    key = "sk-0123/45+67\\89=="
    echoed = Answer(400, {}, f'{{"title": "no such key {escape(key)}"}}'.encode())
    assert without_echo(echoed, key).body == b"[redacted]"


@pytest.mark.parametrize(
    "body", [b"", b"50% &amp; \\u002B", b"\\u00", b"\xff\\ud800&#xd800;%ff", b'{"title": "no"}']
)
def test_an_error_that_does_not_show_the_key_stays_as_it_is(body: bytes) -> None:
    assert without_echo(Answer(400, {}, body), KEY).body == body


def test_a_redirect_to_a_host_that_is_named_after_the_key_leads_nowhere() -> None:
    for host in (KEY, KEY.upper()):
        moved = Answer(302, {"Location": f"https://{host}.example/"}, b"")
        assert "Location" not in without_echo(moved, KEY).headers
    elsewhere = Answer(302, {"Location": "https://login.example/"}, b"")
    assert without_echo(elsewhere, KEY) is elsewhere
