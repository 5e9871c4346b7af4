"""A Redis that remembers the rows of a broker which remembers none: what has an outcome is not called again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from brokers.fleet import Fleet, every_row_once
from brokers.queues import OpenQueue, results_in, settled, take
from brokers.servers import OWN, RedisServer, Server
from brokers.test_desk import all_rows, desk_on, found, message, result

from worker.brokers import QueueAddress, open_queue
from worker.errors import BrokerError
from worker.model import Depth, Unfinished
from worker.ports import WorkQueue

FORGETFUL = [name for name, kind in OWN.items() if not kind.remembers_rows]


@pytest.fixture(params=FORGETFUL)
def broker(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
async def queue_of(
    queue_url: str, broker: Server, redis_server: RedisServer
) -> AsyncIterator[Callable[[str], WorkQueue]]:
    address, fence = QueueAddress.parse(queue_url), QueueAddress.parse(redis_server.url("fence"))
    async with contextlib.AsyncExitStack() as opened:

        def open_as(consumer: str) -> WorkQueue:
            queue = open_queue(address, consumer, lease_s=broker.lease_s, fence=fence)
            opened.push_async_callback(queue.aclose)
            return queue

        yield open_as


async def test_what_is_done_of_a_message_is_not_done_again(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, 2, 3, batch_id="b")])
    async with desk_on(queue) as desk:
        first, second = await desk.claim(2)
        desk.record(result(first))
        desk.give_back([Unfinished(second, 1)])
    async with desk_on(queue_of("another")) as desk:
        assert [row.user_id for row in await all_rows(desk)] == ["u-1", "u-2", "u-3"]
    assert await found(queue) == [("b", index, "succeeded") for index in range(4)]


async def test_a_row_published_twice_is_called_once(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    for _ in range(2):
        await queue.publish([message(0, 1, batch_id="b")])
        async with desk_on(queue) as desk:
            await all_rows(desk)
    assert await found(queue) == [("b", index, "succeeded") for index in (0, 1)]
    assert await queue.depth() == Depth(0, 0)


async def test_what_another_has_recorded_meanwhile_is_not_recorded_twice(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    [delivery] = await take(first, 1)
    await first.settle([settled(delivery, 0, 2, 70_000, complete=False, fenced=True)])
    await first.aclose()
    [again] = await take(second, 1)
    asked = [*range(4), 4464, 70_000]  # 70,000 is behind the first 65,536
    assert await second.known({again.name: asked}) == {again.name: {0, 2, 70_000}}
    await second.settle([settled(again, 0, 1, 2, 3, 70_000, fenced=True)])
    recorded = [b"result %d" % index for index in (0, 1, 2, 3, 70_000)]
    assert sorted(await results_in(second.results())) == recorded
    assert await second.depth() == Depth(0, 0)


async def test_what_could_not_be_recorded_is_not_remembered(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)

    async def refuse(_: object) -> None:
        raise BrokerError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(queue.results(), "publish", refuse)
        with pytest.raises(BrokerError):
            await queue.settle([settled(delivery, 0, fenced=True)])
    assert await queue.known({delivery.name: [0]}) == {delivery.name: frozenset()}


@pytest.mark.kills_broker
@pytest.mark.parametrize("broker", ["nats"], indirect=True)
async def test_a_fence_that_is_lost_lets_nothing_be_recorded_or_removed(
    queue_of: OpenQueue, redis_server: RedisServer
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    redis_server.kill()
    try:
        for ask in (
            queue.known({"b": [0]}),
            queue.settle([settled(delivery, 0, fenced=True)]),
            queue.depth(),
        ):
            with pytest.raises(BrokerError, match=r"^The fence's Redis cannot be used"):
                await ask
    finally:
        redis_server.start()
    assert await queue.depth() == Depth(waiting=0, taken=1)


async def test_queues_and_names_of_fences_have_rows_of_their_own(
    broker: Server, redis_server: RedisServer
) -> None:
    def at(name: str, fence: str) -> WorkQueue:
        return open_queue(
            QueueAddress.parse(broker.url(name)), "w", fence=QueueAddress.parse(redis_server.url(fence))
        )

    async with contextlib.AsyncExitStack() as opened:
        one, same, other, apart = at("fa", "f"), at("fa", "f"), at("fb", "f"), at("fa", "g")
        for queue in (one, same, other, apart):
            opened.push_async_callback(queue.aclose)
        await one.publish([b"1"])
        await one.settle([settled(delivery, 7, fenced=True) for delivery in await take(one, 1)])
        await one.publish([b"1"])
        [delivery] = await take(one, 1)
        await one.settle([settled(delivery, 7, fenced=True)])
        seen = [await queue.known({delivery.name: [7]}) for queue in (one, same, other, apart)]
    assert [bool(known[delivery.name]) for known in seen] == [True, True, False, False]


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_workers_with_a_fence_call_once_what_is_published_twice(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    fleet.env["BULK_UNVERIFY_FENCE"] = redis_server.url("fence")
    for _ in range(2):
        rows = fleet.batch()
        assert fleet.work("--until-empty").wait(60) == 0
    assert set(fleet.calls().values()) <= {1, 2}  # a pair may stand in two rows
    assert fleet.calls().total() == len(rows)
    every_row_once(fleet, rows)


@pytest.mark.parametrize("broker", ["nats"], indirect=True)
def test_a_fence_is_a_redis_and_its_password_no_argument(fleet: Fleet) -> None:
    for url, said in (
        ("nats://127.0.0.1/q", "the URL of a Redis"),
        ("redis://:hunter22@h/0", "BULK_UNVERIFY_FENCE"),
    ):
        code, _, err = fleet.call("work", "--fence", url)
        assert code == 2
        assert said in err
        assert "hunter22" not in err
