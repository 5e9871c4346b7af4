"""Dead letters are found, whoever looked at them before and whoever put them there."""

from __future__ import annotations

import functools
import time

import pytest
from brokers.queues import OpenQueue, bodies, take
from brokers.servers import Server

from worker.brokers import QueueAddress, open_queue
from worker.compose import burials
from worker.model import Delivery, Depth
from worker.queueing import DeadLetter, dead_letter


async def exhume(url: str, *, requeue: bool = False) -> list[DeadLetter]:
    told: list[DeadLetter] = []
    await burials.dead_letters(QueueAddress.parse(url), told.append, requeue=requeue, limit=None)
    return told


async def test_a_letter_that_somebody_was_killed_with_is_told_of_once_its_lease_is_over(
    queue_of: OpenQueue, queue_url: str, broker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burials, "open_queue", functools.partial(open_queue, lease_s=broker.lease_s))
    killed = queue_of("killed")
    await killed.dead.publish([dead_letter(Delivery("name", b"{nonsense"), "why", killed.most_bytes)])
    await take(killed.dead, 1)
    await killed.dead.aclose()  # where a delivery belongs to its connection, that is its lease
    deadline = time.monotonic() + 10
    while not (told := await exhume(queue_url)):
        assert time.monotonic() < deadline, "it is never told of"
    assert [letter.reason for letter in told] == ["why"]


async def test_what_others_put_among_the_letters_is_told_of_and_sent_again(
    queue_of: OpenQueue, queue_url: str
) -> None:
    queue = queue_of("worker")
    body = b'{"user_id": "u-1", "identifier_id": "i-1"}'
    await queue.dead.publish([body])
    [letter] = await exhume(queue_url)
    assert "no letter of bulk-unverify" in letter.reason
    assert (letter.body.encode(), letter.whole) == (body, True)
    await exhume(queue_url, requeue=True)
    assert await bodies(queue) == [body]
    assert await queue.dead.depth() == Depth(0, 0)
