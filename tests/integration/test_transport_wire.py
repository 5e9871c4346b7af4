"""The transport against real loopback servers: what goes over the wire and what is made of what comes back."""

import asyncio
import contextlib
import gzip
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from worker import __version__
from worker.connection import ApiKey, Tenant
from worker.model import Answer, Call, Damage, NoAnswer, Reply, Trouble
from worker.transport import AiohttpTransport

KEY = "sk-0123456789-secret"
CALL = Call("POST", "users/u%2F1/emails/%2E%2E/unverify")
LIMIT_BYTES = 1 << 20
BOMB = gzip.compress(bytes(1 << 26))
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Served:
    """A loopback server that reads a request's head, keeps it, and lets a script answer."""

    def __init__(self, script: Script) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self._script = script
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await self._script(reader, writer)
                await writer.drain()

    async def close(self) -> None:
        """End what is still being served, so that no connection outlives its test."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def transport_to(
    script: Script, *, timeout_s: float = 5.0, concurrency: int = 4
) -> AsyncIterator[tuple[AiohttpTransport, Served]]:
    served = Served(script)
    server = await asyncio.start_server(served, "127.0.0.1", 0)
    tenant = Tenant.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with AiohttpTransport(
        tenant, ApiKey(KEY), timeout_s=timeout_s, concurrency=concurrency, ca_bundle=None
    ) as transport:
        yield transport, served
    server.close()
    await server.wait_closed()
    await served.close()


def says(raw: bytes, *, then_close: bool = False) -> Script:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        if then_close:
            await writer.drain()
            writer.close()

    return script


async def never(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


def head(status: str = "200 OK", **headers: object) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode()


def answer(body: bytes, **headers: object) -> bytes:
    return head(Content_Length=len(body), **headers) + body


async def reply_to(script: Script, call: Call = CALL, *, timeout_s: float = 5.0) -> Reply:
    async with transport_to(script, timeout_s=timeout_s) as (transport, _):
        return await transport.send(call)


async def test_the_request_is_exactly_this() -> None:
    async with transport_to(says(answer(b"{}"))) as (transport, served):
        reply = await transport.send(CALL)
    assert isinstance(reply, Answer)
    assert (reply.status, reply.body, reply.damage) == (200, b"{}", Damage.NONE)
    start, *headers = served.heads[0].decode().rstrip().split("\r\n")
    assert start == "POST /api/users/u%2F1/emails/%2E%2E/unverify HTTP/1.1"
    host = next(header for header in headers if header.startswith("Host: 127.0.0.1:"))
    assert sorted(headers) == sorted(
        [
            host,
            f"X-API-KEY: {KEY}",
            "Accept: application/json, application/problem+json",
            "Accept-Encoding: identity",
            f"User-Agent: bulk-unverify/{__version__}",
            "Content-Length: 0",
        ]
    )


async def test_a_body_goes_as_json() -> None:
    bodies: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(15))
        writer.write(answer(b""))

    async with transport_to(script) as (transport, served):
        await transport.send(Call("POST", "users/u/disable", b'{"expiry":3600}'))
    assert bodies == [b'{"expiry":3600}']
    assert b"Content-Type: application/json\r\n" in served.heads[0]


async def test_a_query_goes_as_it_is_written() -> None:
    async with transport_to(says(answer(b"[]"))) as (transport, served):
        await transport.send(Call("GET", "users?page=1&size=1"))
    assert served.heads[0].startswith(b"GET /api/users?page=1&size=1 HTTP/1.1\r\n")


async def test_connections_are_used_again_and_no_more_than_allowed() -> None:
    async with transport_to(says(answer(b"{}")), concurrency=2) as (transport, served):
        replies = await asyncio.gather(*(transport.send(CALL) for _ in range(20)))
    assert len(replies) == len(served.heads) == 20
    assert served.connections <= 2


async def test_cookies_are_not_kept() -> None:
    async with transport_to(says(answer(b"{}", Set_Cookie="a=b; Path=/"))) as (transport, served):
        await transport.send(CALL)
        await transport.send(CALL)
    assert len(served.heads) == 2
    assert b"cookie" not in served.heads[1].lower()


async def test_a_redirect_is_an_answer_and_the_key_goes_nowhere() -> None:
    async with transport_to(says(answer(b"{}"))) as (_, elsewhere):
        moved = head("307 Temporary Redirect", Location="http://127.0.0.1:1/", Content_Length=0)
        reply = await reply_to(says(moved))
    assert isinstance(reply, Answer)
    assert (reply.status, reply.headers["Location"]) == (307, "http://127.0.0.1:1/")
    assert elsewhere.heads == []


@pytest.mark.parametrize(
    ("raw", "body", "damage"),
    [
        (answer(b"x" * LIMIT_BYTES), b"x" * LIMIT_BYTES, Damage.NONE),
        (answer(b"x" * (LIMIT_BYTES + 1)), b"x" * LIMIT_BYTES, Damage.OVERSIZED),
        (head(Transfer_Encoding="chunked") + b"2\r\n{}\r\n0\r\n\r\n", b"{}", Damage.NONE),
        (
            head(Transfer_Encoding="chunked") + b"10000\r\n" + b"y" * 65536 + b"\r\n",
            b"",
            Damage.TRUNCATED,
        ),
        (
            head(Transfer_Encoding="chunked") + (b"10000\r\n" + b"y" * 65536 + b"\r\n") * 17 + b"0\r\n\r\n",
            b"y" * LIMIT_BYTES,
            Damage.OVERSIZED,
        ),
        (head(Content_Length=10) + b"{}", b"", Damage.TRUNCATED),
        (head() + b"{}", b"{}", Damage.NONE),
        (answer(gzip.compress(b"{}", mtime=0), Content_Encoding="gzip"), b"{}", Damage.NONE),
        (answer(zlib.compress(b"{}"), Content_Encoding="deflate"), b"{}", Damage.NONE),
        (answer(b"\x1b\x03", Content_Encoding="br"), b"\x1b\x03", Damage.ENCODED),
        (answer(BOMB, Content_Encoding="gzip"), bytes(LIMIT_BYTES), Damage.OVERSIZED),
        (answer(b"{}", Content_Encoding="Identity"), b"{}", Damage.NONE),
        (head("204 No Content"), b"", Damage.NONE),
    ],
    ids=[
        "largest",
        "oversized",
        "chunked",
        "chunked-cut-off",
        "chunked-oversized",
        "cut-off",
        "until-the-end",
        "gzip",
        "deflate",
        "brotli",
        "bomb",
        "identity",
        "no-content",
    ],
)
async def test_bodies_are_bounded_and_their_damage_is_told(raw: bytes, body: bytes, damage: Damage) -> None:
    reply = await reply_to(says(raw, then_close=True))
    assert isinstance(reply, Answer)
    assert reply.damage is damage
    assert reply.body == body


async def test_after_an_oversized_body_the_next_call_gets_its_own_answer() -> None:
    answers = iter([answer(b"x" * (LIMIT_BYTES * 2)), answer(b"mine")])

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))

    async with transport_to(script) as (transport, _):
        first, second = await transport.send(CALL), await transport.send(CALL)
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert (first.damage, second.body) == (Damage.OVERSIZED, b"mine")


@pytest.mark.parametrize("unasked", [answer(b"not mine"), head("404 Not Found", Content_Length=0)])
async def test_what_is_sent_unasked_on_a_kept_connection_is_nobodys_answer(unasked: bytes) -> None:
    mine = iter([b"first", b"second", b"third"])

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = answer(next(mine))
        writer.write(own[:-1])
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(own[-1:] + unasked)  # the connection is given back at the answer's last byte
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(unasked)

    bodies = []
    async with transport_to(script, concurrency=1) as (transport, served):
        for _ in range(3):
            reply = await transport.send(CALL)
            assert isinstance(reply, Answer)
            bodies.append(reply.body)
            await asyncio.sleep(0.06)
    assert bodies == [b"first", b"second", b"third"]
    assert len(served.heads) == served.connections == 3


def once_each(*, part: bytes = b"", abruptly: bool = False) -> Script:
    """Answer one call on each connection, and break the connection at the second, whatever the first one was."""
    seen: set[asyncio.StreamWriter] = set()

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer not in seen:
            seen.add(writer)
            writer.write(answer(b"{}"))
            return
        writer.write(part)
        reset(writer) if abruptly else writer.close()

    return script


@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_kept_connection_that_breaks_as_it_is_used_again_is_stale_and_the_next_is_new(
    abruptly: bool,
) -> None:
    async with transport_to(once_each(abruptly=abruptly)) as (transport, served):
        await transport.send(CALL)
        stale = await transport.send(CALL)
        other = Call("POST", "users/another/emails/e/unverify")
        assert isinstance(await transport.send(other), Answer)  # and is kept
        again = await transport.send(CALL)
    assert stale == NoAnswer(
        Trouble.DISCONNECTED, "the kept connection was closed already", sent=True, stale=True
    )
    assert isinstance(again, Answer)
    assert served.connections == 3


async def test_a_kept_connection_that_breaks_within_an_answer_is_not_stale() -> None:
    async with transport_to(once_each(part=b"HTTP/1.1 200 OK\r\nContent-Le")) as (transport, _):
        await transport.send(CALL)
        reply = await transport.send(CALL)
    assert isinstance(reply, NoAnswer)
    assert (reply.trouble, reply.stale) == (Trouble.DISCONNECTED, False)


async def test_a_new_connection_that_breaks_is_not_stale() -> None:
    reply = await reply_to(says(b"", then_close=True))
    assert isinstance(reply, NoAnswer)
    assert (reply.trouble, reply.stale) == (Trouble.DISCONNECTED, False)


async def test_a_server_that_closes_idle_connections_as_they_are_used_again_breaks_no_call_twice() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"{}"))
        asyncio.get_running_loop().call_later(0.005, writer.transport.abort)

    broken = 0
    async with transport_to(script, concurrency=4) as (transport, _):
        for _ in range(200):
            await asyncio.sleep(0.005)
            if isinstance(reply := await transport.send(CALL), NoAnswer):
                assert reply.stale
                broken += 1
                await asyncio.sleep(0.005)
                assert isinstance(await transport.send(CALL), Answer)
    assert broken  # else nothing was tried here


async def test_only_idle_connections_are_distrusted() -> None:
    last = asyncio.Event()

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(served.heads) == 2:
            await last.wait()
        writer.write(answer(b"mine"))

    async with transport_to(script) as (transport, served):
        await transport.send(CALL)
        busy = asyncio.create_task(transport.send(CALL))  # on the first one's connection
        while len(served.heads) < 2:  # noqa: ASYNC110 - the server signals nothing
            await asyncio.sleep(0)
        await transport.send(CALL)
        transport.distrust()
        last.set()
        reply = await busy
        assert isinstance(reply, Answer)
        assert (reply.body, served.connections) == (b"mine", 2)
        await asyncio.gather(transport.send(CALL), transport.send(CALL))
    assert served.connections == 3  # that of the busy call was kept, the idle one was not


async def test_a_server_that_speaks_first_is_not_asked_for_ever() -> None:
    connections = []

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.write(b"220 ready\r\n")

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        tenant = Tenant.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with AiohttpTransport(
            tenant, ApiKey(KEY), timeout_s=5, concurrency=2, ca_bundle=None
        ) as transport:
            reply = await transport.send(CALL)
        for writer in connections:
            writer.close()
    assert isinstance(reply, NoAnswer)
    assert reply.trouble in (Trouble.DISCONNECTED, Trouble.PROTOCOL)
    assert len(connections) <= 3


async def test_a_call_takes_no_longer_than_it_may() -> None:
    loop = asyncio.get_running_loop()
    async with transport_to(never, timeout_s=0.1) as (transport, served):
        started = loop.time()
        replies = await asyncio.gather(transport.send(CALL), transport.send(CALL))
        took_s = loop.time() - started
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
    assert replies == [NoAnswer(Trouble.TIMEOUT, "no answer within the time limit", sent=True)] * 2
    assert len(served.heads) == 2
    assert 0.1 <= took_s < 1


@pytest.mark.parametrize("part", [b"", b"{"])
@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "404 Not Found", "429 Too Many Requests"])
async def test_a_body_that_never_ends_leaves_what_the_head_said(status: str, part: bytes) -> None:
    answers = iter([head(status, Content_Length=100, Retry_After=7) + part, answer(b"mine")])

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))

    async with transport_to(script, timeout_s=0.4, concurrency=1) as (transport, served):
        reply, following = await transport.send(CALL), await transport.send(CALL)
    assert isinstance(reply, Answer)
    assert (reply.status, reply.body, reply.damage) == (int(status[:3]), b"", Damage.TRUNCATED)
    assert reply.headers["Retry-After"] == "7"
    assert isinstance(following, Answer)
    assert (following.body, served.connections) == (b"mine", 2)


async def test_a_wait_for_a_connection_is_within_the_time_limit_and_was_not_sent() -> None:
    async with transport_to(never, timeout_s=0.2, concurrency=1) as (transport, served):
        first = asyncio.create_task(transport.send(CALL))
        await asyncio.sleep(0.02)
        waiting, busy = await transport.send(CALL), await first
    assert isinstance(waiting, NoAnswer)
    assert isinstance(busy, NoAnswer)
    # The first one's end may free its connection for the second at the very end of its time.
    assert busy == NoAnswer(Trouble.TIMEOUT, "no answer within the time limit", sent=True)
    assert waiting.trouble is Trouble.TIMEOUT
    assert waiting.sent == (len(served.heads) == 2)


async def test_a_task_that_was_timed_out_can_go_on() -> None:
    answers = iter([never, says(answer(b"mine"))])

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(answers)(reader, writer)

    async with transport_to(script, timeout_s=0.1) as (transport, _), asyncio.TaskGroup() as group:

        async def twice() -> tuple[Reply, Reply]:
            return await transport.send(CALL), await transport.send(CALL)

        replies = group.create_task(twice())
    first, second = replies.result()
    assert isinstance(first, NoAnswer)
    assert isinstance(second, Answer)


@pytest.mark.parametrize("begun", [b"", head(Content_Length=10)])
async def test_a_cancelled_call_is_cancelled_and_not_timed_out(begun: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        await never(reader, writer)

    async with transport_to(script) as (transport, _):
        task = asyncio.create_task(transport.send(CALL))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert task.cancelled()


async def test_a_call_that_somebody_cancels_as_it_runs_out_of_time_is_cancelled() -> None:
    async with transport_to(never, timeout_s=0.1) as (transport, _):
        task = asyncio.create_task(transport.send(CALL))
        real, sweeper = task.cancel, transport._sweeper
        await asyncio.sleep(0.02)
        for call in sweeper._calls.values():
            call.deadline = 0.0
        sweeper._timer.cancel()
        sweeper._sweep()
        real()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1


def reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def test_a_reset_after_the_request_may_have_done_it() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    reply = await reply_to(script)
    assert isinstance(reply, NoAnswer)
    assert (reply.trouble, reply.sent) == (Trouble.DISCONNECTED, True)


async def test_a_reset_within_the_body_is_a_truncated_answer() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(Content_Length=10) + b"{")
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    reply = await reply_to(script)
    assert isinstance(reply, Answer)
    assert (reply.status, reply.damage) == (200, Damage.TRUNCATED)


async def test_a_bad_chunk_within_the_body_does_not_hold_the_call_for_ever() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(Transfer_Encoding="chunked") + b"2\r\n{}\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"nonsense\r\n")

    # aiohttp 3.14 closes the connection but does not tell the body's reader: only the time limit ends it.
    reply = await reply_to(script, timeout_s=0.3)
    assert isinstance(reply, Answer)
    assert (reply.status, reply.damage) == (200, Damage.TRUNCATED)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_an_end_before_the_answers_head_may_have_done_it(raw: bytes) -> None:
    reply = await reply_to(says(raw, then_close=True))
    assert isinstance(reply, NoAnswer)
    assert (reply.trouble, reply.sent) == (Trouble.DISCONNECTED, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 two-hundred OK\r\n\r\n",
        head(Content_Length=-1),
        head(Content_Length="1, 2"),
        head(X="y" * 100_000),
        head(Transfer_Encoding="chunked") + b"nonsense\r\n{}",
    ],
    ids=["ssh", "status", "negative", "two-lengths", "long-header", "chunk-with-the-head"],
)
async def test_what_is_not_http_is_a_protocol_error(raw: bytes) -> None:
    reply = await reply_to(says(raw, then_close=True))
    assert isinstance(reply, NoAnswer)
    assert (reply.trouble, reply.sent) == (Trouble.PROTOCOL, True)
    assert "yyyy" not in reply.detail


async def test_nobody_listening_is_no_connection_and_was_not_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tenant = Tenant.parse(f"http://127.0.0.1:{port}")
    async with AiohttpTransport(tenant, ApiKey(KEY), timeout_s=5, concurrency=1, ca_bundle=None) as transport:
        reply = await transport.send(CALL)
    assert reply == NoAnswer(Trouble.CONNECT, "no connection (Connection refused)", sent=False)


async def test_the_environments_proxy_and_netrc_are_left_alone_for_loopback(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hush\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with transport_to(says(answer(b"{}"))) as (transport, served):
        reply = await transport.send(CALL)
    assert isinstance(reply, Answer)
    assert b"authorization" not in served.heads[0].lower()
