"""The transport over TLS: who is trusted, and what goes through a proxy."""

import asyncio
import contextlib
import math
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import ANY

import pytest
import trustme
from integration.loopback import holding, listening, tunnelling

from worker.connection import ApiKey, Tenant
from worker.errors import ConfigurationError
from worker.model import Answer, Call, NoAnswer, Reply, Trouble
from worker.transport import AiohttpTransport

KEY = "sk-0123456789-secret"
CALL = Call("POST", "users/u/emails/e/unverify")
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@contextlib.asynccontextmanager
async def serving(certificate: trustme.LeafCert) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answer each request on a loopback port over TLS."""
    heads: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(REPLY)

    async with listening(serve, context) as port:
        yield port, heads


async def send(tenant: str, bundle: Path | None) -> Reply:
    async with AiohttpTransport(
        Tenant.parse(tenant), ApiKey(KEY), timeout_s=5, concurrency=1, ca_bundle=bundle
    ) as transport:
        return await transport.send(CALL)


async def test_a_trusted_server_answers(authority: trustme.CA, bundle: Path) -> None:
    async with serving(authority.issue_cert("127.0.0.1")) as (port, heads):
        reply = await send(f"127.0.0.1:{port}", bundle)
    assert isinstance(reply, Answer)
    assert (reply.status, reply.body) == (200, b"{}")
    assert len(heads) == 1


@pytest.mark.parametrize(("slack_s", "held_up"), [(0.05, True), (5.0, False), (math.inf, False)])
async def test_a_call_whose_connection_comes_late_leaves_it_to_the_next(
    slack_s: float, held_up: bool, authority: trustme.CA, bundle: Path
) -> None:
    async with (
        serving(authority.issue_cert("127.0.0.1")) as (port, heads),
        holding(port, 0.2) as held_port,
        AiohttpTransport(
            Tenant.parse(f"127.0.0.1:{held_port}"),
            ApiKey(KEY),
            timeout_s=5,
            concurrency=1,
            ca_bundle=bundle,
            slack_s=lambda: slack_s,
        ) as transport,
    ):
        first = await transport.send(CALL)
        assert (first is None, len(heads)) == (held_up, not held_up)
        assert isinstance(await transport.send(CALL), Answer), "on the connection that is there now"


@pytest.mark.parametrize("trust", ["the system's", "another"])
async def test_an_untrusted_server_gets_no_request(trust: str, authority: trustme.CA, tmp_path: Path) -> None:
    other = None
    if trust == "another":
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
    async with serving(authority.issue_cert("127.0.0.1")) as (port, heads):
        reply = await send(f"127.0.0.1:{port}", other)
    assert isinstance(reply, NoAnswer)
    assert (reply.trouble, reply.sent) == (Trouble.CERTIFICATE, False)
    assert "--ca-bundle" in reply.detail
    assert "issuer" in reply.detail or "self-signed" in reply.detail
    assert heads == []


async def test_a_server_of_another_name_gets_no_request(authority: trustme.CA, bundle: Path) -> None:
    async with serving(authority.issue_cert("elsewhere.example")) as (port, heads):
        reply = await send(f"127.0.0.1:{port}", bundle)
    assert isinstance(reply, NoAnswer)
    assert (reply.trouble, reply.sent) == (Trouble.CERTIFICATE, False)
    assert "mismatch" in reply.detail
    assert heads == []


async def test_a_server_without_tls_gets_no_request(bundle: Path) -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(serve) as port:
        reply = await send(f"127.0.0.1:{port}", bundle)
    assert isinstance(reply, NoAnswer)
    assert (reply.trouble, reply.sent) == (Trouble.CONNECT, False)
    assert reply.detail.startswith("the TLS handshake failed (")
    assert "not permitted" not in reply.detail
    assert KEY.encode() not in b"".join(received)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_bundle_that_is_none_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="--ca-bundle"):
        await send("acme.example", path)


async def test_a_proxy_gets_its_own_login_and_never_the_key(
    authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with (
        serving(authority.issue_cert("acme.example")) as (port, heads),
        tunnelling(port, b"200 OK") as (proxy_port, proxy_heads),
    ):
        monkeypatch.setenv("https_proxy", f"http://me:hush@127.0.0.1:{proxy_port}")
        reply = await send("acme.example", bundle)
    assert isinstance(reply, Answer)
    assert proxy_heads[0].startswith(b"CONNECT acme.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6aHVzaA==\r\n" in proxy_heads[0]
    assert KEY.encode() not in proxy_heads[0]
    assert f"X-API-KEY: {KEY}\r\n".encode() in heads[0]
    assert b"proxy-authorization" not in heads[0].lower()


async def test_a_proxy_that_refuses_is_no_connection_and_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with tunnelling(1, b"407 Proxy Authentication Required") as (proxy_port, _):
        monkeypatch.setenv("https_proxy", f"http://me:hush@127.0.0.1:{proxy_port}")
        reply = await send("acme.example", None)
    assert reply == NoAnswer(Trouble.PROXY, ANY, sent=False)
