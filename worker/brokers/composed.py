"""A work queue put together from three queues of a broker that has no transaction over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from worker.model import Delivery, Depth, Settlement
from worker.ports import Queue


class ComposedWorkQueue:
    """The work with its results and its dead letters. Implements `worker.ports.WorkQueue`.

    What is recorded is confirmed by the broker before its message is acknowledged: a worker that is killed in
    between leaves a message that comes again and a result that is there already. Whoever collects results knows
    rows by their names, and takes the first one.

    Args:
        work: The queue of the work.
        results: Where outcomes go.
        dead: Where messages go that nobody can work on.
    """

    def __init__(self, work: Queue, results: Queue, dead: Queue) -> None:
        self._work = work
        self.results = results
        self.dead = dead

    @property
    def lease_s(self) -> float:
        """Seconds after which a delivery that was not extended goes to another worker."""
        return self._work.lease_s

    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish work."""
        await self._work.publish(bodies)

    async def receive(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Take work."""
        return await self._work.receive(limit, wait_s)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Begin leases anew."""
        await self._work.extend(deliveries)

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages for good."""
        await self._work.acknowledge(deliveries)

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have deliveries at once."""
        await self._work.give_back(deliveries)

    async def depth(self) -> Depth:
        """Return how much work there is."""
        return await self._work.depth()

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return that nothing is known: this broker keeps no outcomes by name."""
        return dict.fromkeys(rows, frozenset())

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Publish outcomes, then acknowledge what is complete."""
        await self.results.publish([finding.body for each in settlements for finding in each.findings])
        await self._work.acknowledge([each.delivery for each in settlements if each.complete])

    async def bury(self, delivery: Delivery, letter: bytes) -> None:
        """Publish the letter, then remove the message."""
        await self.dead.publish([letter])
        await self._work.acknowledge([delivery])

    async def aclose(self) -> None:
        """Close all three."""
        for queue in (self._work, self.results, self.dead):
            await queue.aclose()
