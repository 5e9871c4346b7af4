"""What the suites do with queues, whatever the broker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from worker.errors import BrokerError
from worker.model import Delivery, Depth, Finding, Settlement
from worker.ports import Queue, WorkQueue

OpenQueue = Callable[[str], WorkQueue]


async def take(queue: Queue, count: int, *, within_s: float = 10.0) -> list[Delivery]:
    """Take `count` messages, however often it has to be asked."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + within_s
    while len(taken) < count:
        assert time.monotonic() < deadline, f"only {len(taken)} of {count} messages came"
        taken += await queue.receive(count - len(taken), 0.05)
    return taken


async def depth_when_back(queue: Queue, messages: int, *, within_s: float = 30.0) -> Depth:
    """Return how much a queue holds whose broker was started again, once that is `messages`.

    The first use may be what finds the loss, and RabbitMQ finds out a little later whose connections were lost.
    """
    deadline = time.monotonic() + within_s
    depth = None
    while depth is None or depth.waiting + depth.taken != messages:
        assert time.monotonic() < deadline, f"the broker is back with {depth}, not with {messages} messages"
        await asyncio.sleep(0.05)
        with contextlib.suppress(BrokerError):
            depth = await queue.depth()
    return depth


async def bodies(queue: Queue) -> list[bytes]:
    """Return what a queue holds that nobody has taken."""
    depth = await queue.depth()
    return (
        [delivery.body for delivery in await take(queue, depth.waiting, within_s=60)] if depth.waiting else []
    )


async def results_in(queue: Queue) -> list[bytes]:
    """Return the results that a queue of results holds, of which many may be in one message."""
    return [line for body in await bodies(queue) for line in body.split(b"\n")]


def settled(
    delivery: Delivery, *indexes: int, complete: bool = True, fenced: bool = False, reply_to: str = ""
) -> Settlement:
    findings = [Finding(delivery.name, index, f"result {index}".encode()) for index in indexes]
    return Settlement(delivery, findings, complete, fenced, reply_to)
