"""A work queue with a fence: it knows which rows have an outcome, though its broker does not."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

import msgspec

from worker.model import Delivery, Depth, Finding, Settlement
from worker.ports import Queue, WorkQueue


class Fence(Protocol):
    """Where it is remembered which rows have an outcome. Everything raises `BrokerError` while it cannot be used."""

    async def check(self) -> None:
        """Find out whether it can be used."""

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which of `rows` (indexes by batch) have an outcome."""

    async def remember(self, rows: Mapping[str, Iterable[int]]) -> None:
        """Keep that `rows` have an outcome."""

    async def aclose(self) -> None:
        """Close the connections."""


class FencedWorkQueue:
    """A work queue whose rows are remembered elsewhere. Implements `worker.ports.WorkQueue`.

    Outcomes are recorded, then remembered, then their message is acknowledged: a worker that is killed in between
    leaves a row that is called again, never one that is not recorded. What another worker has recorded meanwhile is
    not recorded a second time. While the fence is lost, nothing is taken and nothing recorded.

    Args:
        queue: The queue.
        fence: What remembers.
    """

    def __init__(self, queue: WorkQueue, fence: Fence) -> None:
        self._queue = queue
        self._fence = fence

    def results(self, reply_to: str = "") -> Queue:
        """Return the queue that outcomes go to."""
        return self._queue.results(reply_to)

    @property
    def dead(self) -> Queue:
        """Where messages go that nobody can work on."""
        return self._queue.dead

    @property
    def lease_s(self) -> float:
        """Seconds after which a delivery that was not extended goes to another worker."""
        return self._queue.lease_s

    @property
    def extends(self) -> bool:
        """Whether `extend` begins leases anew."""
        return self._queue.extends

    @property
    def most_bytes(self) -> int:
        """Bytes that one message may have."""
        return self._queue.most_bytes

    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish work."""
        await self._queue.publish(bodies)

    async def receive(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Take work."""
        return await self._queue.receive(limit, wait_s)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Begin leases anew."""
        await self._queue.extend(deliveries)

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages for good."""
        await self._queue.acknowledge(deliveries)

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have deliveries at once."""
        await self._queue.give_back(deliveries)

    async def depth(self) -> Depth:
        """Return how much work there is; the fence is asked as well, so that its loss is found at the start."""
        await self._fence.check()
        return await self._queue.depth()

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which of `rows` have an outcome."""
        return await self._fence.known(rows)

    async def settle(self, settlements: Sequence[Settlement]) -> AbstractSet[str]:
        """Record the outcomes that are new, remember them, and acknowledge what is complete."""
        fenced = [finding for each in settlements if each.fenced for finding in each.findings]
        known = await self._fence.known(_by_batch(fenced)) if fenced else {}

        def is_new(finding: Finding) -> bool:
            return finding.index not in known.get(finding.batch, ())

        lost = await self._queue.settle(
            [
                msgspec.structs.replace(each, findings=list(filter(is_new, each.findings)), complete=False)
                for each in settlements
            ]
        )
        if new := [finding for finding in fenced if is_new(finding)]:
            await self._fence.remember(_by_batch(new))
        await self._queue.acknowledge([each.delivery for each in settlements if each.complete])
        return lost

    async def bury(self, delivery: Delivery, letter: bytes) -> None:
        """Put `letter` into the dead letters and remove the message it tells of."""
        await self._queue.bury(delivery, letter)

    async def remove(self) -> None:
        """Remove the work."""
        await self._queue.remove()

    async def aclose(self) -> None:
        """Close both."""
        await self._queue.aclose()
        await self._fence.aclose()


def _by_batch(findings: Iterable[Finding]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = collections.defaultdict(list)
    for finding in findings:
        rows[finding.batch].append(finding.index)
    return rows
