"""Reads what came from a queue: what each message asks for and what of it is done already, or why it is poison."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

import structlog

from worker.model import Delivery
from worker.ports import WorkQueue
from worker.queueing.cap import HourlyCap
from worker.queueing.findings import Finder, dead_letter
from worker.queueing.messages import Parsed, PoisonError, parse
from worker.queueing.parts import Packing, split
from worker.queueing.patience import Patience
from worker.queueing.settler import Keeper
from worker.queueing.taken import batch_of, fence_of, is_fenced

MOST_DELIVERIES: Final = 5
"""A message that was delivered more often killed its workers: it goes to the dead letters."""


class Read(NamedTuple):
    """A message that can be worked on.

    Attributes:
        delivery: The message.
        parsed: What it asks for.
        fence: By which name the fleet remembers its rows.
        known: Numbers of rows of its batch that have an outcome.
    """

    delivery: Delivery
    parsed: Parsed
    fence: str
    known: AbstractSet[int]


class Reader:
    """Takes messages apart; those that nobody can work on go to the dead letters, the large ones back in parts.

    Args:
        queue: The work and its dead letters.
        finder: Who works, on what: messages for others are refused.
        key: Only messages signed with it count; None takes all.
        patience: How long a lost broker is waited for.
        log: Where it says what it did.
        keeper: Who keeps the outcomes; None for the queue of results.
        cap: How many rows an hour may have; None for no bound.
        rows_each: A message of more rows would outlast its lease: it is published anew in parts. None for no bound.
    """

    def __init__(
        self,
        queue: WorkQueue,
        finder: Finder,
        key: bytes | None,
        patience: Patience,
        log: structlog.typing.FilteringBoundLogger,
        keeper: Keeper | None,
        cap: HourlyCap | None,
        rows_each: int | None,
    ) -> None:
        self._queue = queue
        self._finder = finder
        self._key = key
        self._patience = patience
        self._log = log
        self._keeper = keeper
        self._cap = cap
        self._rows_each = rows_each
        self.buried = 0
        """Messages that went to the dead letters."""

    async def read(self, deliveries: Sequence[Delivery]) -> list[Read]:
        """Return what `deliveries` ask for, but for the poison and for what comes again in parts.

        Raises:
            BrokerError: The broker was lost, and the patience has ended.
        """
        parsed = [(each, read) for each in deliveries if (read := await self._parsed(each))]
        fences = [fence_of(delivery, read, self._finder) for delivery, read in parsed]
        asked: dict[str, set[int]] = collections.defaultdict(set)
        kept: dict[str, str] = {}
        for fence, (delivery, read) in zip(fences, parsed, strict=True):
            if is_fenced(read) or delivery.times > 1:
                asked[fence].update(row.index for row in read.rows)
                if not read.heading.reply_to:
                    kept[fence] = batch_of(delivery, read)
        known = await self._known(asked, kept) if asked else {}
        return [
            Read(delivery, read, fence, known.get(fence, frozenset()))
            for fence, (delivery, read) in zip(fences, parsed, strict=True)
        ]

    async def _known(
        self, asked: Mapping[str, AbstractSet[int]], kept: Mapping[str, str]
    ) -> Mapping[str, AbstractSet[int]]:
        """Return which rows have an outcome, anywhere in the fleet or, of the batches that are kept here, here.

        Args:
            asked: Numbers of rows by the fleet's name for them.
            kept: The batches by that name.
        """
        known = await self._patience.persist(lambda: self._queue.known(asked))
        if self._keeper is None:
            return known
        here = await self._keeper.known({batch: asked[fence] for fence, batch in kept.items()})
        return {
            fence: known.get(fence, frozenset()) | here.get(kept.get(fence, ""), frozenset())
            for fence in asked
        }

    async def _parsed(self, delivery: Delivery) -> Parsed | None:
        if delivery.times > MOST_DELIVERIES:
            reason = f"it was delivered {delivery.times} times, and no worker finished it"
        else:
            try:
                parsed = self._parse(delivery.body)
            except PoisonError as error:
                reason = str(error)
            else:
                return parsed if await self._is_whole(delivery, parsed) else None
        letter = dead_letter(delivery, reason, self._queue.most_bytes)
        await self._patience.persist(lambda: self._queue.bury(delivery, letter))
        self.buried += 1
        self._log.warning("buried", message=delivery.name, reason=reason)
        return None

    def _parse(self, body: bytes) -> Parsed:
        finder = self._finder
        read = parse(body, key=self._key, tenant=finder.tenant, operation=finder.operation)
        if self._cap is not None:
            self._cap.check(len(read.rows))
        return read

    async def _is_whole(self, delivery: Delivery, parsed: Parsed) -> bool:
        """Return whether a message can be worked on as it is; if not, it was published anew in parts.

        A worker that is killed before it removes the message leaves its rows twice, under the same names.
        """
        if self._rows_each is None or len(parsed.rows) <= self._rows_each:
            return True
        packing = Packing(rows_each=self._rows_each, most_bytes=self._queue.most_bytes, key=self._key)
        parts = split(delivery, parsed, packing)
        await self._patience.persist(lambda: self._queue.publish(parts))
        await self._patience.persist(lambda: self._queue.acknowledge([delivery]))
        self._log.info("split", message=delivery.name, rows=len(parsed.rows), parts=len(parts))
        return False
