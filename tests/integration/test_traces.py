"""Spans of real calls, and the header that a real server got with each of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from integration.loopback import listening
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from jobs.emails import UNVERIFY_EMAIL
from worker.connection import ApiKey, Tenant
from worker.model import Call, Reply, Row
from worker.ports import Operation
from worker.tracing import open_tracing
from worker.tracing.spans import OpenTelemetryTracing
from worker.transport import AiohttpTransport

KEY = "sk-0123456789-secret"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
ROW = Row(1, "user-of-the-row", "mail-of-the-row", traceparent=f"00-{TRACE}-{PARENT}-01")
GOOD = b'{"user_id": "user-of-the-row", "emails": [{"id": "mail-of-the-row", "verified": false}]}'


class Server:
    """A tenant that answers one thing and keeps the header of each call."""

    def __init__(self) -> None:
        self.traceparents: list[str | None] = []
        self.status, self.body = 200, GOOD

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.traceparents.append(request.headers.get("traceparent"))
        return web.Response(status=self.status, body=self.body)


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def transport(server: Server) -> AsyncIterator[AiohttpTransport]:
    runner = web.ServerRunner(web.Server(server.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    tenant = Tenant.parse(f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with AiohttpTransport(
        tenant, ApiKey(KEY), timeout_s=5.0, concurrency=2, ca_bundle=None
    ) as transport:
        yield transport
    await runner.cleanup()


class Spans:
    """Tracing into memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = OpenTelemetryTracing(provider)

    @property
    def finished(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


async def attempt(operation: Operation, transport: AiohttpTransport, row: Row = ROW) -> None:
    reply = await transport.send(operation.call(row))
    assert reply is not None
    operation.judge(row, reply)


async def test_without_tracing_the_messages_own_context_is_sent_along(
    server: Server, transport: AiohttpTransport
) -> None:
    await attempt(UNVERIFY_EMAIL, transport)
    await attempt(UNVERIFY_EMAIL, transport, Row(2, "u", "i"))
    assert server.traceparents == [ROW.traceparent, None]


async def test_a_call_is_a_child_span_whose_context_is_sent(
    server: Server, transport: AiohttpTransport
) -> None:
    spans = Spans()
    with spans.tracing.following(UNVERIFY_EMAIL, "acme.example") as operation:
        await attempt(operation, transport)
    [span] = spans.finished
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.context is not None
    assert server.traceparents == [f"00-{TRACE}-{span.context.span_id:016x}-01"]
    assert (span.name, span.kind, span.status.status_code) == (
        "unverify-email",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert span.attributes == {
        "http.request.method": "POST",
        "server.address": "acme.example",
        "http.response.status_code": 200,
        "bulk_unverify.outcome": "succeeded",
    }


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(503, "retry"), (429, "throttled"), (401, "halt"), (404, "not_found"), (422, "refused")],
)
async def test_what_became_of_a_call_is_told_without_ids_or_key(
    server: Server, transport: AiohttpTransport, status: int, outcome: str
) -> None:
    server.status, server.body = status, f'{{"title": "no user-of-the-row for {KEY}"}}'.encode()
    spans = Spans()
    with spans.tracing.following(UNVERIFY_EMAIL, "acme.example") as operation:
        await attempt(operation, transport)
    [span] = spans.finished
    assert span.attributes is not None
    assert span.attributes["bulk_unverify.outcome"] == outcome
    assert span.attributes["error.type"] == str(status)
    assert span.status.status_code is StatusCode.ERROR
    for secret in ("of-the-row", KEY):
        assert secret not in span.to_json()


async def test_each_attempt_has_a_span_of_its_own_and_no_context_begins_a_trace(
    server: Server, transport: AiohttpTransport
) -> None:
    spans = Spans()
    row = Row(1, "u", "i")
    with spans.tracing.following(UNVERIFY_EMAIL, "acme.example") as operation:
        await attempt(operation, transport, row)
        await attempt(operation, transport, row)
    assert len({span.context.span_id for span in spans.finished if span.context}) == 2
    assert len(set(server.traceparents)) == 2
    assert all(span.parent is None for span in spans.finished)


async def test_an_unsampled_trace_makes_no_span_and_goes_on(
    server: Server, transport: AiohttpTransport
) -> None:
    spans = Spans()
    with spans.tracing.following(UNVERIFY_EMAIL, "acme.example") as operation:
        await attempt(operation, transport, Row(1, "u", "i", traceparent=f"00-{TRACE}-{PARENT}-00"))
    assert spans.finished == []
    [sent] = server.traceparents
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", sent or "")


def test_a_call_that_was_not_sent_ends_as_such() -> None:
    spans = Spans()
    with spans.tracing.following(UNVERIFY_EMAIL, "acme.example") as operation:
        operation.call(ROW)
        assert isinstance(operation.call(ROW), Call)  # its connection came late: the row goes again
        assert operation.name == "unverify-email"
    told = [span.attributes["bulk_unverify.outcome"] for span in spans.finished if span.attributes]
    assert told == ["not_sent", "not_sent"]


async def test_a_verdict_is_the_operations_own(server: Server, transport: AiohttpTransport) -> None:
    server.body = b"{}"
    reply: Reply | None = await transport.send(UNVERIFY_EMAIL.call(ROW))
    assert reply is not None
    with Spans().tracing.following(UNVERIFY_EMAIL, "acme.example") as operation:
        operation.call(ROW)
        assert operation.judge(ROW, reply) == UNVERIFY_EMAIL.judge(ROW, reply)


async def test_spans_are_exported_over_http_as_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []
    bodies: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        length = re.search(rb"content-length: *([0-9]+)", head, re.IGNORECASE)
        assert length is not None
        bodies.append(await reader.readexactly(int(length[1])))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    said: list[str] = []
    async with listening(collect) as port:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        tracing = open_tracing(said.append)
        assert tracing is not None
        with tracing.following(UNVERIFY_EMAIL, "acme.example") as operation:
            operation.call(ROW)
        await tracing.aclose()
    assert heads[0].startswith(b"POST /v1/traces HTTP/1.1\r\n")
    assert b"bulk-unverify" in bodies[0]
    assert b"unverify-email" in bodies[0]
    assert b"of-the-row" not in bodies[0]
    assert said == []


async def test_a_collector_that_is_lost_is_said_once_and_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter22@127.0.0.1:1")
    said: list[str] = []
    tracing = open_tracing(said.append)
    assert tracing is not None
    with tracing.following(UNVERIFY_EMAIL, "acme.example") as operation:
        for _ in range(3):
            operation.call(ROW)
    async with asyncio.timeout(8):
        await tracing.aclose()
    assert len(said) == 1
    assert "spans may be lost" in said[0]
    assert "hunter22" not in said[0]
