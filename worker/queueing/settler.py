"""Hands what became of messages to the broker, a group at a time, and says when it is there."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

import msgspec
import structlog

from worker.errors import BrokerError
from worker.model import Delivery, Outcome, Settlement
from worker.ports import WorkQueue
from worker.queueing.patience import Patience
from worker.queueing.taken import Taken

_GATHER_S: Final = 0.02
_BEHIND_S: Final = 0.05

_Counts = collections.defaultdict[str, collections.Counter[Outcome]]
"""Rows by message and outcome."""
_NOTHING: Final[collections.Counter[Outcome]] = collections.Counter()


class Keeper(Protocol):
    """Keeps outcomes in place of the queue's own results; those for somebody are sent to them as ever."""

    async def keep(self, bodies: Sequence[bytes]) -> None:
        """Make outcomes durable, each once by the name of its row.

        Raises:
            LedgerError: They are not; nothing will be any more.
        """

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which of `rows` (indexes by batch) have an outcome here already."""


class Settler:
    """The one that records and acknowledges; what the broker cannot take at the moment is kept and offered again.

    Args:
        queue: The work and its results.
        patience: How long a lost broker is waited for.
        log: Where it says what it did.
        clock: Monotonic seconds.
        forget: Told the name of each message that is done with, before it can come again.
        on_record: Told what the broker has confirmed.
        keeper: Who keeps the outcomes; None for the queue of results.
    """

    def __init__(
        self,
        queue: WorkQueue,
        patience: Patience,
        log: structlog.typing.FilteringBoundLogger,
        clock: Callable[[], float],
        forget: Callable[[str], None],
        on_record: Callable[[Mapping[Outcome, int]], None],
        keeper: Keeper | None,
    ) -> None:
        self._queue = queue
        self._patience = patience
        self._log = log
        self._clock = clock
        self._forget = forget
        self._on_record = on_record
        self._keeper = keeper
        self._changed: dict[str, Taken] = {}
        self._counts = _no_counts()
        self._handed = self._settled = 0
        self._changed_since: float | None = None
        self._settling_since: float | None = None
        self._something = asyncio.Event()
        self._progress = asyncio.Event()
        self._finishing = False
        self._recording: asyncio.Task[None] | None = None
        self.unrecorded = 0
        """Rows that have an outcome which the broker did not take."""
        self.given_back = 0
        """Messages that others may take now."""

    def start(self) -> None:
        """Begin to record."""
        self._recording = asyncio.create_task(self._keep_recording())
        self._recording.add_done_callback(lambda _: self._progress.set())

    async def finish(self) -> None:
        """Record what is known, and end."""
        await self.flush()
        self._finishing = True
        self._something.set()
        assert self._recording is not None
        await self._recording

    def change(self, taken: Taken, outcome: Outcome | None = None) -> None:
        """Take for the next group what became of a message: one more of its rows has an outcome, or came back."""
        self._changed[taken.delivery.name] = taken
        self._handed += 1
        if outcome is not None:
            self._counts[taken.delivery.name][outcome] += 1
        if self._changed_since is None:
            self._changed_since = self._clock()
        self._something.set()

    async def room(self) -> None:
        """Wait until no outcome has been waiting for the broker for more than 50 ms."""
        while (oldest := self._oldest()) is not None and self._clock() - oldest > _BEHIND_S:
            await self._wait_for_progress()

    async def flush(self) -> None:
        """Wait until the broker has everything that was handed over before."""
        mark = self._handed
        while self._settled < mark:
            await self._wait_for_progress()

    async def _wait_for_progress(self) -> None:
        self.check()
        await self._progress.wait()

    def check(self) -> None:
        """Raise what ended the recording before its time: nothing is recorded any more.

        Raises:
            LedgerError: The keeper cannot keep outcomes.
        """
        assert self._recording is not None
        if self._recording.done():
            self._recording.result()

    def _oldest(self) -> float | None:
        return self._changed_since if self._settling_since is None else self._settling_since

    async def _keep_recording(self) -> None:
        """Hand groups of outcomes to the broker until told to finish; never cancelled."""
        while True:
            await self._something.wait()
            if not self._changed:
                if self._finishing:
                    return
                self._something.clear()
                continue
            # From its first outcome on: those that waited for the group before it do not wait anew.
            assert self._changed_since is not None
            await asyncio.sleep(self._changed_since + _GATHER_S - self._clock())
            await self._settle()

    async def _settle(self) -> None:
        """Hand one group over. What cannot be, until the patience ends, is delivered again after its lease."""
        changed, counts, mark = list(self._changed.values()), self._counts, self._handed
        self._changed, self._counts = {}, _no_counts()
        self._settling_since, self._changed_since = self._changed_since, None
        settlements = [taken.settlement() for taken in changed]
        finished = [taken.delivery for taken in changed if not taken.open]
        returned = [taken.delivery for taken in changed if not taken.open and taken.given_back]
        if self._keeper is not None:
            settlements = await _keep(self._keeper, settlements)
        try:
            stale = await self._patience.persist(lambda: self._queue.settle(settlements))
        except BrokerError as error:
            rows = sum(counts.values(), _NOTHING).total()
            self.unrecorded += rows
            self._log.error("not_recorded", rows=rows, messages=len(changed), error=str(error))
        else:
            self._tell_of(changed, counts, stale)
            for delivery in finished:
                self._forget(delivery.name)
            await self.give_back(returned)
        self._settled, self._settling_since = mark, None
        self._progress.set()
        self._progress = asyncio.Event()

    def _tell_of(self, changed: Sequence[Taken], counts: _Counts, stale: AbstractSet[str]) -> None:
        """Tell what was recorded; the rows of a message that went to another are that one's to record."""
        lost = [
            taken.delivery.name
            for taken in changed
            if taken.delivery.name in stale and (self._keeper is None or taken.heading.reply_to)
        ]
        if rows := sum((counts.pop(name, _NOTHING) for name in lost), _NOTHING).total():
            self._log.warning("went_to_another", rows=rows, messages=len(lost))
        self._on_record(sum(counts.values(), _NOTHING))

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have messages of which nothing is in the calls."""
        try:
            await self._patience.persist(lambda: self._queue.give_back(deliveries))
        except BrokerError as error:  # others get them after their lease
            self._log.warning("not_given_back", messages=len(deliveries), error=str(error))
        else:
            self.given_back += len(deliveries)


def _no_counts() -> _Counts:
    return collections.defaultdict(collections.Counter)


async def _keep(keeper: Keeper, settlements: Sequence[Settlement]) -> list[Settlement]:
    """Have outcomes kept that nobody asked to get; return what is left to say to the broker."""
    kept = [each for each in settlements if not each.reply_to]
    if bodies := [finding.body for each in kept for finding in each.findings]:
        await keeper.keep(bodies)
    replace = msgspec.structs.replace
    return [
        each
        if each.reply_to
        else replace(each, findings=[replace(finding, body=b"") for finding in each.findings])
        for each in settlements
    ]
