"""What the transport asks for and makes of every error, over aioresponses; the wire is an integration test."""

import asyncio
import base64
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
from worker.redaction import Redactor
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
    tenant_says.post(ADDRESS, status=status, body=f"You sent {KEY}!")
    reply = await send()
    assert isinstance(reply, Answer)
    assert reply.body == b"You sent [redacted]!"


LONG_KEY: Final = "sk-0123/45+67\\89=="
ESCAPED: Final[dict[str, Callable[[str], str]]] = {
    "JSON": lambda key: "".join(f"\\u{ord(each):04X}" for each in key),
    "JSON, some of it": lambda key: json.dumps(key)[1:-1].replace("-", "\\u002d"),
    "JSON, its slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "HTML": lambda key: "".join(f"&#x{ord(each):x};" for each in key),
    "HTML, by names": lambda key: key.replace("/", "&sol;"),
    "URL": lambda key: quote(key, safe=""),
    "plain": lambda key: key,
    "in another case": lambda key: key.upper(),
    "hexadecimal": lambda key: key.encode().hex(),
    "hexadecimal, capitals": lambda key: key.encode().hex().upper(),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64, of more": lambda key: base64.b64encode(f"user:{key}!".encode()).decode(),
    "base64, for URLs": lambda key: base64.urlsafe_b64encode(f"u:{key}".encode()).decode().rstrip("="),
    "URL, twice": lambda key: quote(quote(key, safe=""), safe=""),
    "HTML, decimal": lambda key: "".join(f"&#{ord(each):04d};" for each in key),
}


@pytest.mark.parametrize("form", ESCAPED)
def test_a_key_that_comes_back_in_disguise_is_taken_out_of_a_text(form: str) -> None:
    disguised = ESCAPED[form](LONG_KEY)
    body = f"<html>no such key {disguised}</html>".encode()
    clean = without_echo(Answer(400, {}, body), Redactor(LONG_KEY)).body.decode()
    assert "[redacted]" in clean
    assert disguised[6:-6] not in clean


@pytest.mark.parametrize("form", ESCAPED)
def test_a_key_that_comes_back_in_disguise_is_taken_out_of_a_document_that_stays_one(form: str) -> None:
    disguised = ESCAPED[form](LONG_KEY)
    detail = f'"no {disguised}"' if form.startswith("JSON") else json.dumps(f"no {disguised}")
    body = f'{{"title": "No", "status": 400, "errors": {{"x": [{detail}]}}, "detail": {detail}}}'.encode()
    clean = without_echo(Answer(400, {}, body), Redactor(LONG_KEY)).body.decode()
    assert disguised[6:-6] not in clean
    document = json.loads(clean)
    assert (document["title"], document["status"]) == ("No", 400)
    assert "[redacted]" in document["detail"]
    assert "[redacted]" in document["errors"]["x"][0]


def test_a_key_beside_the_end_of_what_is_kept_takes_the_body_with_it() -> None:
    body = f"X {KEY} ".encode() + b"x" * 70_000 + KEY.encode()
    assert without_echo(Answer(400, {}, body), Redactor(KEY)).body == b"[redacted]"
    assert 2_000 < len(without_echo(Answer(400, {}, b"y" * 70_000), Redactor(KEY)).body) < 3_000


@pytest.mark.parametrize(
    "body", [b"", b"50% &amp; \\u002B", b"\\u00", b"\xff\\ud800&#xd800;%ff", b'{"title": "no"}']
)
def test_an_error_that_does_not_show_the_key_stays_as_it_is(body: bytes) -> None:
    answer = Answer(400, {}, body)
    assert without_echo(answer, Redactor(KEY)) is answer


def test_a_redirect_to_a_host_that_is_named_after_the_key_does_not_tell_it() -> None:
    for host in (KEY, KEY.upper()):
        moved = Answer(302, {"Location": f"https://{host}.example/"}, b"")
        assert host not in str(without_echo(moved, Redactor(KEY)).headers)
    elsewhere = Answer(302, {"Location": "https://login.example/"}, b"")
    assert without_echo(elsewhere, Redactor(KEY)) is elsewhere
