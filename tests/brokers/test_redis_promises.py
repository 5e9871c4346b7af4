"""What Redis promises beyond the others: leases, and one transaction over work, results and a fence of rows."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from brokers.queues import OpenQueue, bodies, results_in, settled, take
from brokers.servers import RedisServer
from brokers.test_desk import all_rows, desk_on, found, message, result

from worker import logs
from worker.brokers import QueueAddress, open_queue
from worker.errors import BrokerError
from worker.model import Depth, Outcome, Row, Unfinished
from worker.queueing import Desk, Finder, HourlyCap, Terms, decode_letter


class SlowCount:
    """A count that does not answer before it may."""

    def __init__(self) -> None:
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def count(self, _rows: int, _most: int) -> float:
        self.is_asked.set()
        await self.may_answer.wait()
        return 0.0


@pytest.fixture
def broker(redis_server: RedisServer) -> RedisServer:
    return redis_server


async def test_a_lease_that_is_extended_does_not_end(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    held = await take(first, 1)
    until = time.monotonic() + 3 * first.lease_s
    while time.monotonic() < until:
        await first.extend(held)
        assert list(await second.receive(1, first.lease_s / 8)) == []
    [delivery] = await take(second, 1)  # and when it is not extended any more, it does
    assert delivery.times == 2


async def test_messages_that_wait_to_be_counted_go_to_nobody_else(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([message(index, batch_id="b") for index in range(3)])
    count = SlowCount()
    async with desk_on(first, cap=HourlyCap(9, count, logs.to_stderr(key=""))) as desk:
        claiming = asyncio.create_task(desk.claim(3))
        await count.is_asked.wait()
        until = time.monotonic() + 2 * first.lease_s
        while time.monotonic() < until:
            assert list(await second.receive(3, first.lease_s / 8)) == []
        count.may_answer.set()
        await claiming


async def test_what_was_given_back_is_found_behind_all_that_is_taken(queue_url: str) -> None:
    address = QueueAddress.parse(queue_url)
    async with contextlib.AsyncExitStack() as opened:
        queues = [open_queue(address, name, lease_s=60.0) for name in ("busy", "giver", "idle")]
        for queue in queues:
            opened.push_async_callback(queue.aclose)
        busy, giver, idle = queues
        await busy.publish([b"%d" % number for number in range(31)])
        await take(busy, 30)
        await giver.give_back(await take(giver, 1))
        assert [delivery.body for delivery in await idle.receive(1, 0.05)] == [b"30"]


@pytest.mark.kills_broker
async def test_a_broker_that_lost_its_memory_is_worked_with_again(
    queue_of: OpenQueue, redis_server: RedisServer
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [lost] = await take(queue, 1)
    redis_server.forget()
    with pytest.raises(BrokerError, match="NOGROUP"):
        await queue.settle([settled(lost, 0)])
    await queue.settle([settled(lost, 0)])  # it is not ours any more
    assert await results_in(queue.results()) == []
    await queue.publish([b"2"])
    assert [delivery.body for delivery in await take(queue, 1)] == [b"2"]


async def test_an_entry_without_the_field_of_a_message_is_a_dead_letter(
    queue_of: OpenQueue, queue_url: str, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.xadd(QueueAddress.parse(queue_url).name, {"user_id": "u-1", "identifier_id": "i-1"})
    queue = queue_of("worker")
    async with desk_on(queue) as desk:
        assert await desk.claim(1) == []
    [letter] = [decode_letter(body) for body in await bodies(queue.dead)]
    assert letter.body == "user_id u-1 identifier_id i-1"


async def test_settling_twice_records_once(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    for _ in range(2):
        await queue.settle([settled(delivery, 0)])
    assert await results_in(queue.results()) == [b"result 0"]


async def test_the_fence_knows_rows_whose_worker_died(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    [dead] = await take(first, 1)
    await first.settle([settled(dead, 0, 2, complete=False, fenced=True)])
    [delivery] = await take(second, 1)
    assert await second.known({delivery.name: range(4)}) == {delivery.name: {0, 2}}
    await second.settle([settled(delivery, 0, 1, 2, 3, fenced=True)])  # though it called them all
    assert sorted(await results_in(second.results())) == [b"result 0", b"result 1", b"result 2", b"result 3"]


async def test_what_could_not_be_recorded_is_not_remembered(
    queue_of: OpenQueue, queue_url: str, redis_server: RedisServer
) -> None:
    queue, results = queue_of("worker"), f"{{{QueueAddress.parse(queue_url).name}}}.results"
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    with redis_server.client() as client:
        client.set(results, "no stream")
        with pytest.raises(BrokerError, match="WRONGTYPE"):
            await queue.settle([settled(delivery, 0, fenced=True)])
        client.delete(results)
    await queue.settle([settled(delivery, 0, fenced=True)])
    assert await bodies(queue.results()) == [b"result 0"]
    assert await queue.depth() == Depth(0, 0)


async def test_rows_of_high_numbers_cost_no_more(queue_of: OpenQueue, redis_server: RedisServer) -> None:
    numbers = [*range(99_999_000, 100_000_001, 200), 0, 65_535, 65_536]
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    [dead] = await take(first, 1)
    await first.settle([settled(dead, *numbers, complete=False, fenced=True)])
    with redis_server.client() as client:
        bitmaps = list(client.scan_iter(match=f"*.fence.{dead.name}*"))
        assert sum(map(client.strlen, bitmaps)) <= 4 * 8192
    near = [number + 1 for number in numbers] + [number - 1 for number in numbers if number]
    known = await second.known({dead.name: [*near, *numbers], "another": numbers})
    assert known == {dead.name: {*numbers}, "another": frozenset()}


async def test_a_stale_worker_records_and_buries_nothing(queue_of: OpenQueue) -> None:
    stale, second = queue_of("stale"), queue_of("second")
    await stale.publish([b"1"])
    [late] = await take(stale, 1)
    [delivery] = await take(second, 1)
    await stale.settle([settled(late, 0)])
    await stale.bury(late, b"letter")
    assert await results_in(stale.results()) == []
    assert await bodies(stale.dead) == []
    assert await second.depth() == Depth(waiting=0, taken=1)
    await second.settle([settled(delivery, 0)])
    assert await results_in(second.results()) == [b"result 0"]


async def test_rows_whose_message_went_to_another_do_not_count_as_recorded(
    queue_of: OpenQueue, queue_url: str, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    queue, told = queue_of("worker"), collections.Counter[Outcome]()
    await queue.publish([message(0, 1, batch_id="b"), message(2, batch_id="b")])
    terms = Terms(finder=Finder("w", "t", "o"), until_empty=True, most_rows=9)
    async with Desk(queue, terms, logs.to_stderr(key=""), on_record=told.update) as desk:
        rows: list[Row] = []
        while len(rows) < 3:
            rows += await desk.claim(9)
        stream = QueueAddress.parse(queue_url).name
        with redis_server.client() as client:
            [[first, _]] = client.xrange(stream, count=1)
            client.xclaim(stream, "bulk-unverify", "another", 0, [first])
        for row in rows:
            desk.record(result(row))
    assert told == {Outcome.SUCCEEDED: 1}
    assert await found(queue) == [("b", 2, "succeeded")]
    [event] = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "another" in line]
    assert (event["event"], event["rows"], event["messages"]) == ("went_to_another", 2, 1)


async def test_what_is_settled_beside_a_stale_message_is_recorded_as_it_is(queue_of: OpenQueue) -> None:
    worker, second = queue_of("worker"), queue_of("second")
    await worker.publish([b"1"])
    [late] = await take(worker, 1)
    await take(second, 1)  # after its lease
    await worker.publish([b"2", b"3"])
    first, last = await take(worker, 2)
    await worker.settle(
        [
            settled(first, 0, 1),
            settled(late, 2, 3, 4),
            settled(last, 5, complete=False),
        ]
    )
    assert await results_in(worker.results()) == [b"result 0", b"result 1", b"result 5"]
    assert await worker.depth() == Depth(waiting=0, taken=2)


@pytest.mark.kills_broker
async def test_a_delivery_outlives_a_restart(queue_of: OpenQueue, redis_server: RedisServer) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1", b"2"])
    [taken] = await take(queue, 1)
    redis_server.kill()
    with pytest.raises(BrokerError):
        await queue.settle([settled(taken, 0)])
    redis_server.start()
    assert await queue.depth() == Depth(waiting=1, taken=1)  # nothing was acknowledged without its record
    await queue.settle([settled(taken, 0)])
    assert await results_in(queue.results()) == [b"result 0"]
    [other] = await take(queue, 1)
    assert other.body == b"2"


async def test_a_row_published_twice_is_called_once(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, batch_id="b")])
    async with desk_on(queue) as desk:
        assert len(await all_rows(desk)) == 2
    await queue.publish([message(0, 1, batch_id="b"), message(1, 2, batch_id="b")])
    async with desk_on(queue) as desk:
        assert [row.user_id for row in await all_rows(desk)] == ["u-2"]
    assert await found(queue) == [("b", index, "succeeded") for index in (0, 1, 2)]
    assert await queue.depth() == Depth(0, 0)


async def test_what_is_not_done_is_given_back_and_what_is_done_is_not_done_again(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, 2, 3, batch_id="b")])
    async with desk_on(queue) as desk:
        first, second = await desk.claim(2)
        desk.record(result(first))
        desk.give_back([Unfinished(second, 1)])
    async with desk_on(queue_of("another")) as desk:
        assert [row.user_id for row in await all_rows(desk)] == ["u-1", "u-2", "u-3"]
    assert await found(queue) == [("b", index, "succeeded") for index in range(4)]


@contextlib.asynccontextmanager
async def name_of_the_primary(where: list[int]) -> AsyncIterator[int]:
    """Yield a port that leads to the last port of `where`: who is connected stays where it is, as with a DNS name."""
    leading: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", where[-1])
        leading.update(asyncio.create_task(copy(*way)) for way in ((reader, there[1]), (there[0], writer)))

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*leading)


async def test_a_primary_that_became_a_replica_is_left_for_the_new_one(tmp_path: Path) -> None:
    folders = [tmp_path / "old", tmp_path / "new"]
    for folder in folders:
        folder.mkdir()
    async with contextlib.AsyncExitStack() as opened:
        servers = [RedisServer(folder) for folder in folders]
        for server in servers:
            opened.callback(server.close)
        old, new = (opened.enter_context(server.client()) for server in servers)
        where = [servers[0].port]
        port = await opened.enter_async_context(name_of_the_primary(where))
        queue = open_queue(QueueAddress.parse(f"redis://127.0.0.1:{port}/0?stream=work"), "worker")
        opened.push_async_callback(queue.aclose)
        await queue.publish([b"1"])
        [taken] = await take(queue, 1)
        new.replicaof("127.0.0.1", servers[0].port)
        while not new.exists("work"):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        new.replicaof("NO", "ONE")
        where.append(servers[1].port)
        old.replicaof("127.0.0.1", servers[1].port)
        with pytest.raises(BrokerError, match="READONLY"):
            await queue.settle([settled(taken, 0)])
        await queue.settle([settled(taken, 0)])
        assert new.xlen("{work}.results") == 1
        assert new.xlen("work") == 0
