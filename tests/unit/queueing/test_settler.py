"""What became of messages goes to the broker in groups, and an outcome waits for one group at most."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from worker import logs
from worker.model import Delivery, Outcome, Settlement
from worker.queueing.messages import parse
from worker.queueing.patience import Patience
from worker.queueing.settler import Settler
from worker.queueing.taken import Taken


class SlowQueue:
    """Takes a group only when it is let."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.may_take = asyncio.Event()

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[str]:
        self.groups.append([each.delivery.name for each in settlements])
        await self.may_take.wait()
        return frozenset()

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        assert not deliveries


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(name: str) -> Taken:
    body = b'{"user_id": "u-1", "identifier_id": "i-1"}'
    return Taken(Delivery(name, body), parse(body), name)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_waited_for_a_group_before_it_waits_for_no_more_to_come() -> None:
    queue, clock = SlowQueue(), Clock()
    log = logs.to_stderr(key="")
    recorded: list[Mapping[Outcome, int]] = []
    settler = Settler(queue, Patience(log, clock), log, clock, lambda _: None, recorded.append, None)
    settler.start()
    settler.change(taken("1"), Outcome.SUCCEEDED)
    while not queue.groups:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    settler.change(taken("2"), Outcome.SUCCEEDED)
    clock.now += 1.0
    queue.may_take.set()
    await turns()
    assert queue.groups == [["1"], ["2"]]
    await settler.finish()
    assert recorded == [{Outcome.SUCCEEDED: 1}] * 2
