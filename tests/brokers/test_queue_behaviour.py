"""What every broker's adapter has to do, against the real broker."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest
from brokers.queues import OpenQueue, bodies, depth_when_back, results_in, settled, take
from brokers.servers import OWN, Server

from worker.errors import BrokerError
from worker.model import Depth


async def test_what_was_published_before_the_first_worker_is_worked_on(queue_of: OpenQueue) -> None:
    await queue_of("producer").publish([b"1", b"2", b"3"])
    assert [each.body for each in await take(queue_of("worker"), 3)] == [b"1", b"2", b"3"]


async def test_never_more_than_asked_for(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"%d" % number for number in range(5)])
    assert len(await queue.receive(2, 5.0)) == 2
    assert await queue.depth() == Depth(waiting=3, taken=2)


async def test_an_empty_queue_brings_nothing_after_the_wait(queue_of: OpenQueue) -> None:
    assert list(await queue_of("worker").receive(5, 0.05)) == []


async def test_what_one_has_taken_no_other_gets(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    [delivery] = await take(first, 1)
    assert delivery.times == 1
    assert list(await second.receive(1, 0.05)) == []


async def test_a_message_of_a_worker_that_is_gone_goes_to_another_who_knows_that(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    [dead] = await take(first, 1)
    await first.aclose()
    [delivery] = await take(second, 1)
    assert (delivery.name, delivery.body, delivery.times) == (dead.name, b"1", 2)


KILLED = """
import asyncio, sys, time
from worker.brokers import QueueAddress, open_queue

async def take_and_stay():
    queue = open_queue(QueueAddress.parse(sys.argv[1]), "killed", lease_s=float(sys.argv[2]))
    while not await queue.receive(1, 5.0):
        pass
    print("taken", flush=True)
    time.sleep(60)

asyncio.run(take_and_stay())
"""


async def test_a_killed_workers_message_goes_to_another(
    queue_of: OpenQueue, queue_url: str, broker: Server
) -> None:
    second = queue_of("second")
    await second.publish([b"1"])
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, queue_url, str(broker.lease_s), stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdout is not None
    assert await victim.stdout.readline() == b"taken\n"
    victim.kill()
    await victim.wait()
    [delivery] = await take(second, 1)
    assert (delivery.body, delivery.times) == (b"1", 2)


async def test_what_is_extended_for_longer_than_its_lease_goes_to_nobody_else(
    queue_of: OpenQueue, broker: Server
) -> None:
    """Where leases cannot be extended, the delivery is kept for as long as it takes."""
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    held = await take(first, 1)
    until = time.monotonic() + 2.5 * broker.lease_s
    while time.monotonic() < until:
        await first.extend(held)
        assert list(await second.receive(1, broker.lease_s / 8)) == []
    await first.acknowledge(held)
    assert await second.depth() == Depth(0, 0)


async def test_what_is_not_extended_any_more_goes_to_another(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    await first.extend(await take(first, 1))
    await first.aclose()  # where a delivery belongs to its connection, that is its lease
    [delivery] = await take(second, 1)
    assert delivery.times == 2


@pytest.mark.parametrize(
    "broker", [name for name, kind in OWN.items() if not kind.remembers_rows], indirect=True
)
async def test_nothing_is_acknowledged_that_could_not_be_recorded(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a row and of a letter. On Redis one transaction does both: see what it promises."""
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)

    async def refuse(_: object) -> None:
        raise BrokerError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(queue.results(), "publish", refuse)
        patch.setattr(queue.dead, "publish", refuse)
        with pytest.raises(BrokerError):
            await queue.settle([settled(delivery, 0)])
        with pytest.raises(BrokerError):
            await queue.bury(delivery, b"letter")
    assert await queue.depth() == Depth(waiting=0, taken=1)


async def test_two_workers_results_of_a_row_are_one_by_its_name(queue_of: OpenQueue) -> None:
    """Whoever reads results takes the first of a name; a broker that remembers rows has no second one."""
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    [delivery] = await take(first, 1)
    await first.settle([settled(delivery, 0, complete=False, fenced=True)])
    await first.aclose()
    [again] = await take(second, 1)
    await second.settle([settled(again, 0, 1, fenced=True)])
    assert again.name == delivery.name
    assert set(await results_in(second.results())) == {b"result 0", b"result 1"}
    assert await second.depth() == Depth(0, 0)


async def test_what_is_given_back_comes_at_once_and_is_no_further_try(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    for giver in (first, second) * 3:
        [delivery] = await take(giver, 1)
        assert (delivery.body, delivery.times) == (b"1", 1)
        await giver.give_back([delivery])
        assert await giver.depth() == Depth(waiting=1, taken=0)


async def test_acknowledged_is_gone(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1", b"2"])
    first, _ = await take(queue, 2)
    await queue.acknowledge([first])
    assert await queue.depth() == Depth(waiting=0, taken=1)


async def test_settling_records_and_acknowledges(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    await queue.settle([settled(delivery, 0)])
    assert await results_in(queue.results()) == [b"result 0"]
    assert await queue.depth() == Depth(0, 0)


async def test_a_message_stays_until_its_last_row(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    await queue.settle([settled(delivery, 0, 2, complete=False, fenced=True)])
    assert await queue.depth() == Depth(waiting=0, taken=1)
    assert await results_in(queue.results()) == [b"result 0", b"result 2"]
    await queue.settle([settled(delivery, 1, fenced=True)])
    assert await results_in(queue.results()) == [b"result 1"]
    assert await queue.depth() == Depth(0, 0)


async def test_results_for_somebody_go_to_a_queue_of_theirs(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1", b"2"])
    first, second = await take(queue, 2)
    await queue.settle([settled(first, 0), settled(second, 1, reply_to="run-1")])
    assert await results_in(queue.results()) == [b"result 0"]
    assert await results_in(queue_of("run").results("run-1")) == [b"result 1"]


async def test_the_results_of_many_rows_share_messages_where_the_broker_remembers_none(
    queue_of: OpenQueue, broker: Server
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    await queue.settle([settled(delivery, *range(250))])
    assert (await queue.results().depth()).waiting == (250 if broker.remembers_rows else 3)
    assert sorted(await results_in(queue.results())) == sorted(b"result %d" % index for index in range(250))


async def test_a_removed_queue_is_empty_and_can_be_used_again(queue_of: OpenQueue) -> None:
    results = queue_of("run").results("run-1")
    await results.publish([b"1", b"2"])
    await results.remove()
    assert await results.depth() == Depth(0, 0)
    await results.publish([b"3"])
    assert await bodies(results) == [b"3"]
    await results.remove()
    await results.remove()


async def test_the_buried_is_a_dead_letter_and_no_work(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"poison", b"good"])
    poison, _ = await take(queue, 2)
    await queue.bury(poison, b"letter")
    assert await bodies(queue.dead) == [b"letter"]
    assert await queue.depth() == Depth(waiting=0, taken=1)


async def test_a_message_keeps_its_name_and_its_tries_when_it_is_given_back(queue_of: OpenQueue) -> None:
    first, second = queue_of("first"), queue_of("second")
    await first.publish([b"1"])
    [dead] = await take(first, 1)
    await first.aclose()
    await second.give_back(await take(second, 1))
    [delivery] = await take(second, 1)
    assert (delivery.name, delivery.times) == (dead.name, 2)


async def test_what_went_to_another_is_not_ours_to_remove(queue_of: OpenQueue) -> None:
    stale, second = queue_of("stale"), queue_of("second")
    await stale.publish([b"1"])
    [late] = await take(stale, 1)
    await stale.aclose()
    await take(second, 1)
    await stale.acknowledge([late])
    await stale.give_back([late])
    assert await second.depth() == Depth(waiting=0, taken=1)
    assert list(await stale.receive(1, 0.05)) == []


@pytest.mark.kills_broker
async def test_a_restart_loses_nothing(queue_of: OpenQueue, broker: Server) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1", b"2"])
    [taken] = await take(queue, 1)
    broker.kill()
    with pytest.raises(BrokerError):
        await queue.settle([settled(taken, 0)])
    broker.start()
    await depth_when_back(queue, 2)  # nothing was acknowledged without its record
    await queue.settle([settled(taken, 0)])
    assert await results_in(queue.results()) == [b"result 0"]
    assert b"2" in await bodies(queue)
