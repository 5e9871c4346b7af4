"""What is peculiar to NATS: logins, encryption, a connection that goes, and counts that JetStream does not keep."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nats
import pytest
import trustme
from brokers.queues import OpenQueue, bodies, results_in, settled, take
from brokers.servers import NatsServer
from brokers.test_desk import desk_on
from nats.js.api import RetentionPolicy
from nats.js.errors import APIError

from worker.brokers import QueueAddress, nats_jetstream, nats_line, open_queue
from worker.brokers.leases import Lease
from worker.brokers.nats_pull import NatsPull
from worker.errors import BrokerError, UsageError
from worker.model import Depth
from worker.ports import WorkQueue
from worker.queueing import decode_letter

SECRET = "hunter/22"


@pytest.fixture
def broker(nats_server: NatsServer) -> NatsServer:
    return nats_server


@contextlib.asynccontextmanager
async def queue_at(url: str) -> AsyncIterator[WorkQueue]:
    queue = open_queue(QueueAddress.parse(url), "worker")
    try:
        yield queue
    finally:
        await queue.aclose()


@contextlib.contextmanager
def server_with(folder: Path, *options: str) -> Iterator[NatsServer]:
    server = NatsServer(folder, *options)
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize(
    ("options", "login", "wrong"),
    [
        (["--user", "me", "--pass", SECRET], "me:hunter%2F22", "me:hunter%2F23"),
        (["--auth", SECRET], "hunter%2F22", "hunter%2F23"),
    ],
)
async def test_a_login_opens_and_is_never_shown(
    tmp_path: Path, options: list[str], login: str, wrong: str, broker: NatsServer
) -> None:
    with server_with(tmp_path, *options) as server:
        async with queue_at(f"nats://{login}@127.0.0.1:{server.port}/q") as queue:
            await queue.publish([b"1"])
            assert await queue.depth() == Depth(1, 0)
        async with queue_at(f"nats://{wrong}@127.0.0.1:{server.port}/q") as queue:
            with pytest.raises(BrokerError, match="Authorization Violation") as caught:
                await queue.depth()
            assert "hunter" not in str(caught.value)


async def test_tls_is_spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: NatsServer) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    own = str(tmp_path / "own.pem")
    with server_with(tmp_path / "js", "--tls", "--tlscert", own, "--tlskey", own) as server:
        async with queue_at(f"tls://localhost:{server.port}/q") as queue:
            with pytest.raises(BrokerError, match="its certificate is not trusted: "):
                await queue.depth()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        async with queue_at(f"tls://localhost:{server.port}/q") as queue:
            await queue.publish([b"1"])
            assert await queue.depth() == Depth(1, 0)


@pytest.mark.parametrize("login", ["me:hunter22@", "hunter22@", ""])
async def test_nothing_is_told_to_a_server_without_the_tls_that_was_asked_for(
    login: str, broker: NatsServer
) -> None:
    heard = b""

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        writer.write(b"INFO " + json.dumps({"auth_required": True, "max_payload": 1}).encode() + b"\r\n")
        heard += await reader.readline()
        writer.write(b"PONG\r\n")
        heard += await reader.read()
        writer.close()

    server = await asyncio.start_server(pretend, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, queue_at(f"tls://{login}127.0.0.1:{port}/q") as queue:
        with pytest.raises(BrokerError, match="SecureConnWantedError"):
            await queue.depth()
    assert b"hunter22" not in heard


async def test_no_server_is_said_in_a_sentence(broker: NatsServer) -> None:
    async with queue_at("nats://me:hunter22@127.0.0.1:1/q") as queue:
        with pytest.raises(BrokerError, match=r"^NATS cannot be used \(nothing listens there\)\.$"):
            await queue.receive(1, 0.05)


@pytest.mark.kills_broker
async def test_an_answer_is_not_waited_for_on_a_connection_that_is_lost(
    queue_of: OpenQueue, broker: NatsServer
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    broker.freeze()
    publishing = asyncio.create_task(queue.publish([b"2"]))
    try:
        await asyncio.sleep(0.1)
        assert not publishing.done()
        broker.kill()
        began = time.monotonic()
        with pytest.raises(BrokerError):
            await publishing
        assert time.monotonic() - began < nats_line.TIMEOUT_S / 2
    finally:
        broker.kill()
        broker.start()
    assert (await queue.depth()).waiting >= 1


async def test_closing_ends_though_the_library_hangs(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch, broker: NatsServer
) -> None:
    queue = queue_of("worker")
    await queue.depth()
    monkeypatch.setattr(nats_line, "_CLOSE_S", 0.05)
    close = nats.NATS.close

    async def hang(client: nats.NATS) -> None:
        await close(client)
        await asyncio.Event().wait()

    monkeypatch.setattr(nats.NATS, "close", hang)
    async with asyncio.timeout(30):  # it would hang for ever
        await queue.aclose()


async def test_given_back_by_many_is_still_the_first_try_and_a_death_is_one(queue_of: OpenQueue) -> None:
    await queue_of("producer").publish([b"1"])
    for number in range(7):
        queue = queue_of(f"worker-{number}")
        [delivery] = await take(queue, 1)
        assert delivery.times == 1
        await queue.give_back([delivery])
    await take(queue, 1)
    [after_death] = await take(queue_of("last"), 1)
    assert after_death.times == 2


async def test_a_message_that_comes_back_to_the_same_worker_is_its_own_again(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [first] = await take(queue, 1)
    [again] = await take(queue, 1)
    assert (again.name, again.times) == (first.name, 2)
    await queue.settle([settled(first, 0)])  # a desk keeps the delivery that it had first
    assert await queue.depth() == Depth(0, 0)


async def test_a_lease_that_has_lapsed_is_not_begun_anew(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    held = await take(queue, 1)
    await asyncio.sleep(queue.lease_s)
    await queue.extend(held)
    await queue.acknowledge(held)
    assert await queue.depth() == Depth(waiting=0, taken=1)


async def test_a_delivery_that_a_killed_server_forgot_is_no_trouble(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_jetstream, "TIMEOUT_S", 0.1)
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    receipt = delivery.receipt
    assert isinstance(receipt, Lease)
    words = receipt.receipt.split(".")
    words[5] = words[6] = "99"  # the numbers of a message, and of a delivery, that were never there
    receipt.receipt = ".".join(words)
    await queue.extend([delivery])
    await queue.acknowledge([delivery])
    [again] = await take(queue, 1)
    await queue.acknowledge([again])
    assert await queue.depth() == Depth(0, 0)


async def test_what_is_given_back_is_anothers(queue_url: str) -> None:
    async with queue_at(queue_url) as queue, queue_at(queue_url) as other:
        await queue.publish([b"1"])
        [delivery] = await take(queue, 1)
        await queue.give_back([delivery])
        [taken] = await take(other, 1)
        assert taken.times == 1
        await queue.give_back([delivery])
        assert list(await queue.receive(1, 0.2)) == []


async def test_a_message_keeps_its_headers_when_it_is_given_back(
    queue_of: OpenQueue, queue_url: str, broker: NatsServer
) -> None:
    queue = queue_of("worker")
    await queue.depth()
    name = QueueAddress.parse(queue_url).name
    async with await nats.connect(broker.url("")) as client:
        js = client.jetstream()
        await js.publish(name, b"1", headers={"traceparent": "t", "Nats-Msg-Id": "once"})
        for _ in range(2):
            await queue.give_back(await take(queue, 1))
        [held] = [await js.get_last_msg(name, name)]
    assert held.headers is not None
    assert {word for word in held.headers if word != "Nats-Expected-Stream"} == {
        "traceparent",
        "Bulk-Unverify-Name",
        "Bulk-Unverify-Tries",
    }
    assert held.headers["Bulk-Unverify-Tries"] == "0"


async def test_a_message_that_is_too_large_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "small.conf").write_text("max_payload: 1000")
    with server_with(tmp_path, "-c", str(tmp_path / "small.conf")) as server:
        async with queue_at(server.url("q")) as queue:
            with pytest.raises(UsageError, match=r"larger than the NATS server takes: put fewer rows"):
                await queue.publish([b"1" * 1001])


async def test_more_results_queues_than_are_open_at_once_get_their_outcomes(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    for number in range(12):  # more than are open at once
        await queue.settle([settled(delivery, number, complete=False, reply_to=f"r{number}")])
    await queue.acknowledge([delivery])
    assert await queue.depth() == Depth(0, 0)
    assert await results_in(queue.results("r0")) == [b"result 0"]


async def test_a_stream_that_is_deleted_is_made_anew(
    queue_of: OpenQueue, queue_url: str, broker: NatsServer
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [before] = await take(queue, 1)
    async with await nats.connect(broker.url("")) as client:
        await client.jetstream().delete_stream(QueueAddress.parse(queue_url).name)
    for ask in (queue.receive(1, 0.05), queue.acknowledge([before]), queue.publish([b"2"])):
        with contextlib.suppress(BrokerError):
            await ask
    await queue.publish([b"3"])
    [after, *_] = await take(queue, 1)
    assert after.name != before.name
    assert after.body in (b"2", b"3")


async def test_a_stream_of_the_users_own_is_used_as_it_is(queue_url: str, broker: NatsServer) -> None:
    name = QueueAddress.parse(queue_url).name
    async with await nats.connect(broker.url("")) as client:
        await client.jetstream().add_stream(
            name=name,
            subjects=[name, f"{name}-other"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage="memory",
        )
        await client.jetstream().publish(f"{name}-other", b"1")
    async with queue_at(queue_url) as queue:
        await queue.publish([b"2"])
        taken = await take(queue, 2)
        assert [each.body for each in taken] == [b"1", b"2"]
        await queue.bury(taken[0], b"letter")
        assert await bodies(queue.dead) == [b"letter"]


@contextlib.asynccontextmanager
async def far_away(port: int, delay_s: float) -> AsyncIterator[int]:
    """Yield a port on which what the server sends comes so much later."""
    ways: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                asyncio.get_running_loop().call_later(delay_s, writer.write, data)
        await asyncio.sleep(delay_s)
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        ways.add(asyncio.create_task(copy(reader, there[1], 0.0)))
        ways.add(asyncio.create_task(copy(there[0], writer, delay_s)))

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*ways)


async def test_what_was_on_its_way_is_not_taken_when_it_is_anothers(
    queue_of: OpenQueue, queue_url: str, broker: NatsServer
) -> None:
    near, name = queue_of("near"), QueueAddress.parse(queue_url).name
    await near.publish([b"1", b"2", b"3", b"4"])
    async with (
        far_away(broker.port, 0.03) as port,
        contextlib.aclosing(
            open_queue(QueueAddress.parse(f"nats://127.0.0.1:{port}/{name}"), "far", lease_s=broker.lease_s)
        ) as far,
    ):
        taken = list(await far.receive(3, 1.0))
        assert [each.body for each in taken] == [b"1", b"2", b"3"]
        await far.acknowledge(taken)
        await take(near, 1)
        assert list(await far.receive(2, 0.1)) == []
    assert await near.depth() == Depth(waiting=0, taken=1)


class Answers:
    """A connection on which the answers to requests are written down beforehand."""

    def __init__(self, *answers: bytes | tuple[str, str]) -> None:
        self._answers = list(answers)
        self.subject = "inbox"

    async def publish(self, *_: object, **__: object) -> None:
        """Answer nothing: that is done."""

    async def next_msg(self, _: float) -> SimpleNamespace:
        answer = self._answers.pop(0)
        if isinstance(answer, bytes):
            return SimpleNamespace(data=answer, headers=None)
        headers = dict(zip(("Status", "Description"), answer, strict=True))
        return SimpleNamespace(data=b"", headers=headers, header=headers)


async def test_a_consumer_that_refuses_is_said_to_and_costs_nothing_that_came() -> None:
    refusal = ("409", "Exceeded MaxWaiting")
    for answers, taken in (([b"1", refusal], 1), ([b"1", b"2", refusal], 2), ([b"1", ("404", "")], 1)):
        line: Any = Answers(*answers)
        assert len(await NatsPull(line, "next", line).take(5, 1.0)) == taken
    line = Answers(refusal)
    with pytest.raises(APIError, match="Exceeded MaxWaiting"):  # else it would be asked again without a rest
        await NatsPull(line, "next", line).take(5, 1.0)


async def test_a_consumer_that_is_deleted_is_made_anew(
    queue_of: OpenQueue, queue_url: str, broker: NatsServer
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    await queue.acknowledge(await take(queue, 1))
    async with await nats.connect(broker.url("")) as client:
        await client.jetstream().delete_consumer(QueueAddress.parse(queue_url).name, "bulk-unverify")
    await queue.publish([b"2"])
    with pytest.raises(BrokerError):
        await queue.receive(1, 1.0)
    assert [each.body for each in await take(queue, 1)] == [b"2"]


async def test_a_dead_letter_is_no_larger_than_the_server_takes(tmp_path: Path) -> None:
    (tmp_path / "small.conf").write_text("max_payload: 10000")
    with server_with(tmp_path, "-c", str(tmp_path / "small.conf")) as server:
        async with queue_at(server.url("q")) as queue:
            await queue.publish([b'"' * 9_000])  # each is two characters in JSON
            async with desk_on(queue) as desk:
                assert await desk.claim(1) == []
            [letter] = [decode_letter(body) for body in await bodies(queue.dead)]
            assert not letter.whole
            assert set(letter.body) == {'"'}
            assert await queue.depth() == Depth(0, 0)


async def test_tries_that_nobody_counted_are_none(
    queue_of: OpenQueue, queue_url: str, broker: NatsServer
) -> None:
    queue = queue_of("worker")
    await queue.depth()
    async with await nats.connect(broker.url("")) as client:
        headers = {"Bulk-Unverify-Tries": "9" * 5000}
        await client.jetstream().publish(QueueAddress.parse(queue_url).name, b"1", headers=headers)
    [delivery] = await take(queue, 1)
    assert delivery.times == 1
