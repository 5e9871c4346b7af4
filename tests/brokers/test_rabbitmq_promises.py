"""What RabbitMQ does its own way: a delivery lives as long as its connection, and there is no transaction."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import aio_pika
import pytest
from brokers.queues import OpenQueue, bodies, depth_when_back, results_in, settled, take
from brokers.servers import RabbitServer
from brokers.test_desk import all_rows, desk_on, found, message, result

from worker.brokers import QueueAddress, rabbitmq
from worker.brokers.rabbitmq_link import Link, again, delivery_of
from worker.errors import BrokerError
from worker.model import Depth, Unfinished
from worker.ports import Queue


@pytest.fixture
def broker(rabbitmq_server: RabbitServer) -> RabbitServer:
    return rabbitmq_server


@pytest.mark.kills_broker
async def test_a_restart_brings_back_what_was_taken(queue_of: OpenQueue, broker: RabbitServer) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1", b"2"])
    [taken] = await take(queue, 1)
    broker.kill()
    broker.start()
    assert await depth_when_back(queue, 2) == Depth(waiting=2, taken=0)
    again = await take(queue, 2)
    assert {each.body: each.times for each in again}[b"2"] == 1
    assert taken.name in {each.name for each in again}


async def test_what_came_again_is_acknowledged_under_its_name(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [before] = await take(queue, 1)
    await queue.aclose()
    [again] = await take(queue, 1)
    assert (again.name, again.times) == (before.name, 2)
    await queue.acknowledge([before])
    await queue.aclose()
    assert await queue.depth() == Depth(0, 0)


async def test_an_acknowledgement_that_fails_says_nothing_and_the_message_comes_again(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(*_: object) -> None:
        raise ConnectionError

    queue = queue_of("worker")
    await queue.publish([b"1"])
    taken = await take(queue, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Link, "acknowledge", lose)
        await queue.acknowledge(taken)
    [again] = await take(queue, 1)
    assert again.times == 2


async def test_a_connection_that_was_lost_meanwhile_is_made_anew(queue_of: OpenQueue) -> None:
    queue: Any = queue_of("worker")
    await queue.publish([b"1"])
    await queue._work._link.connection.close()
    assert await queue.depth() == Depth(waiting=1, taken=0)


async def test_a_queue_without_a_leader_is_not_taken_to_be_empty(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1", b"2"])
    asked, ask = [], rabbitmq._waiting

    async def say_nothing_at_first(queue: aio_pika.abc.AbstractQueue) -> int:
        asked.append(queue)
        return await ask(queue) if len(asked) > 1 else 0

    monkeypatch.setattr(rabbitmq, "_waiting", say_nothing_at_first)
    assert await queue.depth() == Depth(waiting=2, taken=0)
    assert [each.body for each in await take(queue, 2)] == [b"1", b"2"]


async def test_messages_are_persistent(queue_of: OpenQueue) -> None:
    queue: Any = queue_of("worker")
    await queue.publish([b"1"])
    for _ in range(2):
        [delivery] = await take(queue, 1)
        [message] = queue._work._link.held[delivery.name]
        assert message.header.properties.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        await queue.give_back([delivery])


@pytest.mark.kills_broker
async def test_an_acknowledgement_of_a_lost_connection_waits_for_no_broker(
    queue_of: OpenQueue, broker: RabbitServer
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    taken = await take(queue, 1)
    broker.kill()
    await queue.acknowledge(taken)
    broker.start()
    assert await depth_when_back(queue, 1) == Depth(waiting=1, taken=0)


async def test_what_is_recorded_twice_is_there_twice(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    for _ in range(2):
        await queue.settle([settled(delivery, 0)])
    assert await results_in(queue.results()) == [b"result 0"] * 2
    assert await queue.depth() == Depth(0, 0)


def test_a_message_without_an_id_is_named_by_its_digest_also_when_it_was_given_back() -> None:
    def delivered(message: aio_pika.Message) -> Any:
        return SimpleNamespace(body=message.body, header=SimpleNamespace(properties=message.properties))

    foreign = delivered(aio_pika.Message(b"1", headers={"x-delivery-count": 2, "traceparent": "t"}))
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert (delivery_of(foreign).name, delivery_of(foreign).times) == (digest, 3)
    copy = again(foreign)
    assert copy.message_id == digest
    assert set(copy.headers) == {"traceparent", "x-bulk-unverify-tries"}
    copy.headers["x-delivery-count"] = 1  # one more worker was killed
    assert delivery_of(delivered(copy)).times == 4


async def publish_as_others_do(url: str, *messages: tuple[str, bytes]) -> None:
    """Publish bodies under ids of the producer's choice."""
    address = QueueAddress.parse(url)
    async with await aio_pika.connect(address.server) as connection:
        exchange = (await connection.channel()).default_exchange
        for name, body in messages:
            await exchange.publish(aio_pika.Message(body, message_id=name), routing_key=address.name)


@pytest.mark.parametrize("batch", [None, "b"])
async def test_a_message_that_comes_twice_at_once_is_done_once_and_not_removed_before(
    queue_of: OpenQueue, queue_url: str, batch: str | None
) -> None:
    queue = queue_of("worker")
    await queue.depth()
    twice = ("id", message(0, batch_id=batch))
    await publish_as_others_do(queue_url, twice, twice, ("other", message(1, batch_id="b")))
    async with desk_on(queue) as desk:
        await desk._open(await take(queue, 3))
        rows = await desk.claim(9)
        assert [row.user_id for row in rows] == ["u-0", "u-1"]
        await desk.flush()
        assert await queue.depth() == Depth(waiting=0, taken=3)
        for row, left in zip(rows, (1, 0), strict=True):
            desk.record(result(row))
            await desk.flush()
            assert await queue.depth() == Depth(waiting=0, taken=left)
    assert len(await found(queue)) == 2


async def test_messages_under_one_id_are_each_done(queue_of: OpenQueue, queue_url: str) -> None:
    """Some producers take the name of what they are at for the id of each message."""
    queue = queue_of("worker")
    await queue.depth()
    await publish_as_others_do(queue_url, ("id", message(0, 1)), ("id", message(2, 3)))
    async with desk_on(queue) as desk:
        for delivery in await take(queue, 2):
            await desk._open([delivery])
        assert [row.user_id for row in await all_rows(desk)] == ["u-0", "u-1", "u-2", "u-3"]
    assert await queue.depth() == Depth(0, 0)


async def test_what_is_given_back_is_there_once(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1", b"2"])
    await queue.give_back(await take(queue, 2))
    await queue.aclose()
    assert await depth_when_back(queue, 2) == Depth(waiting=2, taken=0)
    assert await bodies(queue) == [b"1", b"2"]


async def test_nothing_is_taken_ahead(queue_of: OpenQueue) -> None:
    queue, other = queue_of("worker"), queue_of("other")
    await queue.publish([b"%d" % number for number in range(5)])
    await take(queue, 2)
    assert await other.depth() == Depth(waiting=3, taken=0)  # of other connections AMQP does not tell


async def test_a_queue_with_other_properties_is_refused(queue_of: OpenQueue, queue_url: str) -> None:
    address = QueueAddress.parse(queue_url)
    async with await aio_pika.connect(address.server) as connection:
        await (await connection.channel()).declare_queue(address.name, durable=True)
    with pytest.raises(
        BrokerError, match=r"cannot be used \(PRECONDITION_FAILED - inequivalent arg 'x-queue-type'"
    ):
        await queue_of("worker").depth()


REFUSED = """
import asyncio, sys
from worker.brokers import QueueAddress, open_queue
from worker.errors import BrokerError

async def look():
    try:
        await open_queue(QueueAddress.parse(sys.argv[1]), "worker").depth()
    except BrokerError as error:
        print(error)

asyncio.run(look())
"""


@pytest.mark.parametrize("closed_port", [None, 1])
async def test_an_error_is_one_sentence_without_the_password(
    broker: RabbitServer, closed_port: int | None
) -> None:
    url = f"amqp://guest:wr0ng-secret@127.0.0.1:{closed_port or broker.port}/work"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REFUSED, url, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    assert out.startswith(b"RabbitMQ cannot be used (")
    assert out.count(b"\n") == 1
    assert b"wr0ng" not in out
    assert err == b""


async def test_a_message_given_back_half_done_is_done_again_as_a_whole(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, batch_id="b")])
    async with desk_on(queue) as desk:
        first, second = await desk.claim(2)
        desk.record(result(first))
        desk.give_back([Unfinished(second, 1)])
    async with desk_on(queue_of("another")) as desk:
        assert [row.user_id for row in await all_rows(desk)] == ["u-0", "u-1"]
    assert await found(queue) == [("b", index, "succeeded") for index in (0, 0, 1)]


async def test_extending_is_allowed_and_changes_nothing(queue_of: OpenQueue) -> None:
    queue: Queue = queue_of("worker")
    await queue.publish([b"1"])
    await queue.extend(await take(queue, 1))
    assert await queue.depth() == Depth(waiting=0, taken=1)


async def test_what_is_acknowledged_before_the_connection_ends_is_gone(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"%d" % number for number in range(200)])
    await first.acknowledge(await take(first, 200))
    await first.aclose()
    assert await second.depth() == Depth(0, 0)


async def test_what_is_acknowledged_out_of_order_takes_nothing_else_along(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"%d" % number for number in range(6)])
    taken = await take(first, 6)
    await first.acknowledge([taken[3], taken[0], taken[1]])
    await first.acknowledge([taken[5]])
    await first.aclose()
    assert sorted(each.body for each in await take(second, 2)) == [b"2", b"4"]
    assert await second.depth() == Depth(waiting=0, taken=2)


async def test_an_acknowledgement_takes_nothing_along_that_is_being_given_back(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1", b"2"])
    back, done = await take(first, 2)
    giving = asyncio.Event()

    async def hang(*_: object) -> None:
        giving.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(Link, "publish", hang)  # its worker is killed before the copy is there
        given = asyncio.create_task(first.give_back([back]))
        await giving.wait()
        await first.acknowledge([done])
        await first.aclose()
        given.cancel()
    assert [each.body for each in await take(second, 1)] == [b"1"]
