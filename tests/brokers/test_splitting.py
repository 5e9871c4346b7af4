"""Messages that a worker could not finish while they are its own come again in parts, under the same names."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from brokers.fleet import Fleet
from brokers.queues import OpenQueue, bodies, take
from brokers.servers import RabbitServer, RedisServer
from brokers.test_desk import all_rows, desk_on, found, message

from worker.compose.ahead import rows_ahead
from worker.errors import BrokerError
from worker.model import Depth
from worker.queueing import Heading, ParsedRow, compose, parse

KEY = b"a signing key of the queue's"


@pytest.fixture
def broker(rabbitmq_server: RabbitServer) -> RabbitServer:
    return rabbitmq_server


async def test_a_large_message_comes_again_in_parts_that_are_done_under_its_rows_names(
    queue_of: OpenQueue,
) -> None:
    queue = queue_of("worker")
    await queue.publish([message(*range(10, 21), batch_id="b"), message(3, batch_id="b")])
    async with desk_on(queue, rows_each=4) as desk:
        assert len(await all_rows(desk)) == 12
    assert await found(queue) == [("b", index, "succeeded") for index in (3, *range(10, 21))]
    assert await queue.depth() == Depth(0, 0)


async def test_parts_keep_the_heading_and_the_trace_and_are_signed(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    rows = [ParsedRow(index=index, user_id=f"u-{index}", identifier_id="i") for index in range(5)]
    heading = Heading("b", 900, "INC-1", "t", "unverify-email", "run-1")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await queue.publish([compose(rows, heading, key=KEY, traceparent=trace)])
    async with desk_on(queue, rows_each=2, key=KEY, most_claims=0) as desk:
        await desk._fetch(10)
    parts = [parse(body, key=KEY) for body in await bodies(queue)]
    assert [[row.index for row in part.rows] for part in parts] == [[0, 1], [2, 3], [4]]
    assert {(part.heading, part.traceparent) for part in parts} == {(heading, trace)}


async def test_a_message_without_a_batch_is_the_batch_of_its_parts(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, 2)])
    [whole] = await take(queue, 1)
    await queue.give_back([whole])
    async with desk_on(queue, rows_each=2) as desk:
        await all_rows(desk)
    assert await found(queue) == [(whole.name, index, "succeeded") for index in (0, 1, 2)]


async def test_the_whole_is_not_removed_before_its_parts_are_there(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, 2, batch_id="b")])

    async def refuse(_: object) -> None:
        raise BrokerError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(queue, "publish", refuse)
        async with desk_on(queue, rows_each=2, grace_s=0.0) as desk:
            desk.close()
            await desk._fetch(10)
        assert await queue.depth() == Depth(waiting=0, taken=1)
    await queue.aclose()
    async with desk_on(queue, rows_each=2) as desk:
        assert len(await all_rows(desk)) == 3


def test_a_slow_worker_splits_and_takes_no_more_than_it_can_finish(fleet: Fleet) -> None:
    rows = fleet.batch(100, rows_per_message=100)
    assert fleet.depth().waiting == 1
    worker = fleet.work("--rate", "3/m", "--concurrency", "1")  # 30 rows in half of the 20 minutes
    fleet.wait_for_calls(1)
    assert fleet.depth() == Depth(waiting=3, taken=0), (
        "it holds one of four parts; AMQP does not tell of that"
    )
    worker.terminate()
    _, err = worker.communicate(timeout=20)
    [told] = [json.loads(line) for line in err.splitlines() if '"split"' in line]
    assert (told["rows"], told["parts"]) == (100, 4)
    assert fleet.call("work", "--until-empty", "--rate", "2000/s")[0] == 0
    results = {(each.batch, each.index): (each.user_id, each.identifier_id) for each in fleet.results()}
    assert sorted(results.values()) == sorted(rows)
    assert len({batch for batch, _ in results}) == 1


def test_a_worker_that_shares_its_rate_with_nobody_knows_how_many_splits(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    fleet.batch(100, rows_per_message=100)
    worker = fleet.work("--rate", "30/m", "--concurrency", "1", "--shared-rate", redis_server.url("rate"))
    fleet.wait_for_calls(1)
    worker.terminate()
    _, err = worker.communicate(timeout=20)
    [told] = [json.loads(line) for line in err.splitlines() if '"split"' in line]
    assert (told["rows"], told["parts"]) == (100, 4)  # one of ten does 30 rows in half of the 20 minutes


@pytest.mark.parametrize(
    ("per_s", "extends", "at_hand", "in_a_message"),
    [
        (25.0, False, 64, 15_000),
        (0.05, False, 30, 30),
        (0.0001, False, 1, 1),
        (None, False, 600, None),
        (5000.0, False, 4096, 3_000_000),
        (0.05, True, 64, None),
        (None, True, 4096, None),
        (500.0, True, 1000, None),
    ],
)
def test_what_is_taken_is_bounded_by_rate_and_lease(
    per_s: float | None, extends: bool, at_hand: int, in_a_message: int | None
) -> None:
    queue: Any = SimpleNamespace(extends=extends, lease_s=1200.0)
    ahead = rows_ahead(queue, per_s, concurrency=4)
    assert (ahead.at_hand, ahead.in_a_message) == (at_hand, in_a_message)
