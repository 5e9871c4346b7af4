"""A work queue put together from three queues of a broker that has no transaction over all of them."""

from __future__ import annotations

import collections
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from worker.brokers.fence import Fence, NoFence
from worker.model import Delivery, Depth, Finding, Settlement
from worker.ports import Queue

_MOST_OPEN: Final = 8
"""Result queues that are open at once: each may hold a connection."""
_MOST_LINES: Final = 100
_MOST_LINES_BYTES: Final = 60_000
"""Of one message: SQS bills it by 64 KiB, and no broker likes large ones."""


class ComposedWorkQueue:
    """The work with its results and its dead letters. Implements `worker.ports.WorkQueue`.

    Outcomes are recorded, which the broker confirms, then remembered by the fence, then their message is
    acknowledged: a worker that is killed in between leaves a message that comes again and a result that is there
    already, never a row that is remembered and not recorded. While the fence is lost, nothing is called or recorded.

    Args:
        work: The queue of the work.
        results: Returns the queue that outcomes go to, by whom they are for.
        dead: Where messages go that nobody can work on.
        fence: Remembers which rows have an outcome; None for nobody does.
        close: Ends what they share, if anything.
        check: Finds out whether the broker keeps what it is given, where that can be read; asked once, at the start.
    """

    def __init__(
        self,
        work: Queue,
        results: Callable[[str], Queue],
        dead: Queue,
        fence: Fence | None,
        close: Callable[[], Awaitable[None]] | None = None,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._work = work
        self._fence = fence or NoFence()
        self._close = close
        self._check = check
        self._open_results = results
        self._results: collections.OrderedDict[str, Queue] = collections.OrderedDict()
        self.dead = dead

    def results(self, reply_to: str = "") -> Queue:
        """Return the queue that outcomes go to."""
        queue = self._results.pop(reply_to, None) or self._open_results(reply_to)
        self._results[reply_to] = queue
        return queue

    @property
    def lease_s(self) -> float:
        """Seconds after which a delivery that was not extended goes to another worker."""
        return self._work.lease_s

    @property
    def extends(self) -> bool:
        """Whether `extend` begins leases anew."""
        return self._work.extends

    @property
    def most_bytes(self) -> int:
        """Bytes that one message may have."""
        return self._work.most_bytes

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
        """Return how much work there is; the fence is asked as well, so that its loss is found at the start."""
        await self._fence.check()
        if self._check is not None:
            await self._check()
            self._check = None
        return await self._work.depth()

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which of `rows` have an outcome, as the fence remembers."""
        return await self._fence.known(rows)

    async def settle(self, settlements: Sequence[Settlement]) -> AbstractSet[str]:
        """Publish outcomes that are new, many in a message, remember them, then acknowledge what is complete."""
        fenced = [finding for each in settlements if each.fenced for finding in each.findings]
        known = await self._fence.known(_by_batch(fenced)) if fenced else {}

        def is_new(finding: Finding) -> bool:
            return finding.index not in known.get(finding.batch, ())

        await self._publish(settlements, is_new)
        if new := list(filter(is_new, fenced)):
            await self._fence.remember(_by_batch(new))
        await self._work.acknowledge([each.delivery for each in settlements if each.complete])
        return frozenset()

    async def _publish(self, settlements: Sequence[Settlement], is_new: Callable[[Finding], bool]) -> None:
        bodies: dict[str, list[bytes]] = collections.defaultdict(list)
        for each in settlements:
            bodies[each.reply_to] += (
                finding.body for finding in filter(is_new, each.findings) if finding.body
            )
        for reply_to, group in bodies.items():
            await self.results(reply_to).publish(in_lines(group))
        while len(self._results) > _MOST_OPEN:
            _, unused = self._results.popitem(last=False)
            await unused.aclose()

    async def bury(self, delivery: Delivery, letter: bytes) -> None:
        """Publish the letter, then remove the message."""
        await self.dead.publish([letter])
        await self._work.acknowledge([delivery])

    async def remove(self) -> None:
        """Remove the work."""
        await self._work.remove()

    async def aclose(self) -> None:
        """Close them all."""
        for queue in (self._work, *self._results.values(), self.dead):
            await queue.aclose()
        if self._close is not None:
            await self._close()
        await self._fence.aclose()


def _by_batch(findings: Iterable[Finding]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = collections.defaultdict(list)
    for finding in findings:
        rows[finding.batch].append(finding.index)
    return rows


def in_lines(documents: Sequence[bytes]) -> list[bytes]:
    """Return few messages that hold all `documents` (JSON without a line feed), one on each line.

    A message of its own for each row is most of what a row costs on a broker that confirms each of them.
    """
    messages: list[list[bytes]] = []
    room = 0
    for document in documents:
        room -= len(document) + 1
        if room < 0 or len(messages[-1]) == _MOST_LINES:
            messages.append([])
            room = _MOST_LINES_BYTES - len(document)
        messages[-1].append(document)
    return [b"\n".join(lines) for lines in messages]
