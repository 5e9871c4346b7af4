"""Has a queue's workers call the rows of a ledger: publishes what is pending, and records what comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from worker.errors import BrokerError
from worker.guard import Guard, Halt, HaltKind
from worker.identifiers import canonical
from worker.model import BARRED, Delivery, Depth, Result, Row
from worker.ports import Queue, WorkQueue
from worker.queueing.assignment import Assignment, RowsName
from worker.queueing.findings import FoundRow, UnreadableError, dead_letter, decode_findings, result_of
from worker.queueing.patience import Patience

_MESSAGES_AT_ONCE: Final = 10
_RESULTS_AT_ONCE: Final = 1000
_WAIT_S: Final = 0.25
_MOST_ROUNDS: Final = 3
"""So often a row is published; after that somebody has to look why no outcome comes."""


class Publishing(Protocol):
    """What is asked of the ledger."""

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return up to `limit` pending rows, claimed durably."""

    async def publish(self, rows: Sequence[Row], batch: str) -> None:
        """Keep durably that claimed rows go to the workers, and that their outcomes come back as `batch`."""

    async def published(self) -> Sequence[tuple[Row, str]]:
        """Return the rows that are with the workers, and under which name."""

    def allows(self, row: Row) -> bool:
        """Return whether a row may be called still: the protected list may have grown since it was claimed."""

    def record(self, result: Result) -> None:
        """Take `result` for the next group commit."""

    async def flush(self) -> None:
        """Wait until all that was recorded is durable."""

    async def note_again(self, again: Sequence[Result]) -> None:
        """Note durably that rows were called once more that have an outcome."""


@dataclasses.dataclass(frozen=True, slots=True)
class DispatchStatus:
    """How a dispatch stands; see `worker.compose.monitor.Pace`."""

    text: str


class Dispatcher:
    """Publishes rows, records their outcomes once, and finds out which rows were lost on the way.

    A row is in the ledger as published before it is in the queue, and its outcome is in the ledger before it is
    acknowledged: killed at any moment, the next dispatcher goes on. A row that a broker forgot is published again
    once nothing has come for a lease and neither queue holds anything.

    Args:
        ledger: The run's.
        queue: The work; its results for this run are taken from it.
        assignment: What the workers are told.
        guard: Says when the run is wrong.
        log: Where it says what it did.
        on_halt: Told why the run stops.
        clock: Monotonic seconds.
        wall: Epoch seconds.
    """

    def __init__(
        self,
        ledger: Publishing,
        queue: WorkQueue,
        assignment: Assignment,
        guard: Guard,
        log: structlog.typing.FilteringBoundLogger,
        *,
        on_halt: Callable[[Halt], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._results: Queue = queue.results(assignment.name)
        self._assignment = assignment
        self._guard = guard
        self._log = log
        self._on_halt = on_halt
        self._clock = clock
        self._wall = wall
        self._patience = Patience(log, clock)
        self._at_once = min(assignment.rows_per_message * _MESSAGES_AT_ONCE, assignment.most_rows)
        self._with_workers: dict[int, tuple[Row, RowsName]] = {}
        self._stopping = asyncio.Event()
        self._may_publish = asyncio.Event()
        self._may_publish.set()
        self._room = asyncio.Event()
        self._room.set()
        self._heard_at = self._alive_at = clock()
        """When the last outcome came, and when there was the last sign that somebody has the rows still."""
        self._looked_at = -math.inf
        """When it was looked what the queues hold of a run that is silent."""
        self._rounds = 1
        self._all_published = False
        self._buried_before = 0
        self._ends_at = math.inf
        self._depth: Depth | None = None
        self.halt: Halt | None = None
        """Why the guard stopped the run, or None."""

    @property
    def left(self) -> int:
        """Rows that are with the workers."""
        return len(self._with_workers)

    @property
    def trouble_s(self) -> float:
        """For how many seconds the broker is lost or no worker has answered; 0 where neither is so."""
        now = self._clock()
        if self._patience.since is not None:
            return now - self._patience.since
        # What was lost is published again first: only a look at the queues shows that nobody answers.
        silent = self.left and self._looked_at - self._heard_at > self._queue.lease_s
        return now - self._heard_at if silent else 0.0

    def status(self) -> DispatchStatus:
        """Return how it stands, for people."""
        text = f"{self.left:,} rows with the workers"
        if self._patience.trouble:
            return DispatchStatus(f"{text}; {self._patience.trouble}")
        silent_s = self._clock() - self._heard_at
        if self.left and silent_s > self._queue.lease_s and self._depth is not None:
            text += f"; no outcome for {silent_s:.0f} s ({self._depth.waiting:,} messages wait for a worker)"
        return DispatchStatus(text if self._may_publish.is_set() else f"{text}; paused by the operator")

    async def run(self) -> None:
        """Publish and record until every row has its outcome, or until `stop` and a grace for what is out.

        Raises:
            ExceptionGroup: Holds a LedgerError: nothing more can be recorded.
        """
        for row, batch in await self._ledger.published():
            self._keep([row], RowsName.parse(batch))
        self._buried_before = (await self._patience.persist(self._queue.dead.depth)).waiting
        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(self._publish_all())
            tasks.create_task(self._collect(publishing))
        if not self.left:
            await self._forget_results()

    def stop(self) -> None:
        """Publish no more; outcomes are awaited for the grace. What comes later, the next session takes."""
        self._stopping.set()
        self._ends_at = min(self._ends_at, self._clock() + self._assignment.grace_s)
        self._patience.end_after(self._assignment.grace_s)
        for event in (self._room, self._may_publish):
            event.set()

    def pause(self) -> None:
        """Publish nothing until `resume`; what is published goes on."""
        if not self._stopping.is_set():
            self._may_publish.clear()

    def resume(self) -> None:
        """End a pause."""
        self._may_publish.set()

    async def _publish_all(self) -> None:
        name = self._assignment.first_name
        while True:
            await self._may_publish.wait()
            await self._room.wait()
            if self._stopping.is_set():
                return
            rows = await self._ledger.claim(self._at_once)
            if not rows:
                self._all_published = True
                return
            await self._ledger.publish(rows, str(name))
            self._keep(rows, name)
            await self._send(rows, name)

    async def _send(self, rows: Sequence[Row], name: RowsName) -> None:
        """Publish rows; what the broker does not take before a stop's grace has ended is found missing later."""
        bodies = self._assignment.messages(rows, name, self._queue.most_bytes)
        try:
            await self._patience.persist(lambda: self._queue.publish(bodies))
        except BrokerError as error:
            self._log.warning("not_published", rows=len(rows), error=str(error))

    async def _collect(self, publishing: asyncio.Task[None]) -> None:
        while self.left or not publishing.done():
            if self._clock() >= self._ends_at:
                return
            try:
                deliveries = await self._results.receive(_RESULTS_AT_ONCE, _WAIT_S)
                if not deliveries:
                    await self._look_for_lost()
            except BrokerError as error:
                self._patience.lost(error)
                await self._patience.back_off(self._stopping)
                continue
            self._patience.back()
            if deliveries:
                await self._take(deliveries)

    async def _take(self, deliveries: Sequence[Delivery]) -> None:
        """Record outcomes, then acknowledge: one whose acknowledgement is lost comes again, and is known."""
        again: list[Result] = []
        for delivery in deliveries:
            try:
                found_rows = decode_findings(delivery.body)
            except UnreadableError as error:
                self._log.warning("unreadable_result", message=delivery.name, error=str(error))
                await self._bury(
                    dead_letter(delivery, f"a result that tells no outcome: {error}", self._queue.most_bytes)
                )
            else:
                again += [second for found in found_rows if (second := self._heed(found))]
        self._heard_at = self._alive_at = self._clock()
        self._weigh_room()
        await self._ledger.flush()
        if again:
            await self._ledger.note_again(again)
        try:
            await self._patience.persist(lambda: self._results.acknowledge(deliveries))
        except BrokerError as error:
            self._log.warning("not_acknowledged", results=len(deliveries), error=str(error))

    def _heed(self, found: FoundRow) -> Result | None:
        """Record an outcome; return that of a row which has one: it came twice, or the row was called twice."""
        row, name = self._with_workers.get(found.index, (None, None))
        if row is None or name is None:
            return result_of(found, Row(found.index, found.user_id, found.identifier_id))
        if not _answers(found, row, name):
            return None  # it is late: the row went again since it had one
        del self._with_workers[found.index]
        result = result_of(found, msgspec.structs.replace(row, maybe_sent=row.maybe_sent or name.round > 0))
        self._ledger.record(result)
        number, verdict = result.row.number, result.verdict
        self._halt_if(self._guard.see_answer(number, verdict, first=True))
        # Of rows that are with the workers nobody here knows which have failed before.
        others_pending = not self._all_published
        self._halt_if(self._guard.see_finished(number, verdict, others_pending=others_pending))
        return None

    async def _look_for_lost(self) -> None:
        """Publish rows again of which neither queue holds anything, a lease after the last sign of life."""
        now = self._clock()
        idle = self._stopping.is_set() or not self._may_publish.is_set() or not self.left
        if idle or now - self._alive_at <= self._queue.lease_s:
            return
        self._depth = await self._queue.depth()
        results = await self._results.depth()
        buried = (await self._queue.dead.depth()).waiting
        self._alive_at = self._looked_at = now
        if self._depth.waiting or self._depth.taken or results.waiting or results.taken:
            return
        if buried > self._buried_before:
            self._halt_if(_buried(buried - self._buried_before))
        elif self._rounds >= _MOST_ROUNDS:
            self._halt_if(_never_answered(self.left))
        else:
            self._rounds += 1
            self._heard_at = now
            await self._publish_again()

    async def _publish_again(self) -> None:
        again: dict[RowsName, list[Row]] = {}
        for row, name in list(self._with_workers.values()):
            if self._ledger.allows(row):
                again.setdefault(name.next(), []).append(row)
            else:
                self._bar(row)
        for name, rows in again.items():
            self._log.warning("published_again", rows=len(rows), round=name.round)
            await self._ledger.publish(rows, str(name))
            self._keep(rows, name)
            # By their first name once more: if it is only the outcomes that were slow, nobody calls them twice.
            await self._send(rows, name if name.round > 1 else name.first())

    def _bar(self, row: Row) -> None:
        """Record that a row came onto the protected list while it was with the workers (promise 11)."""
        now = self._wall()
        del self._with_workers[row.number]
        self._ledger.record(Result(row, BARRED, row.earlier_requests, False, now, now))

    async def _bury(self, letter: bytes) -> None:
        """Keep for somebody to look at what is about to be acknowledged with the results around it."""
        await self._patience.persist(lambda: self._queue.dead.publish([letter]))

    async def _forget_results(self) -> None:
        """Remove the run's results queue, in which nothing is left."""
        try:
            await self._results.remove()
        except BrokerError as error:
            self._log.warning("results_queue_not_removed", error=str(error))

    def _keep(self, rows: Sequence[Row], name: RowsName) -> None:
        self._alive_at = self._clock()
        if not self.left:
            self._heard_at = self._alive_at
        self._with_workers.update({row.number: (row, name) for row in rows})
        self._weigh_room()

    def _weigh_room(self) -> None:
        if self._stopping.is_set() or self.left + self._at_once <= self._assignment.most_rows:
            self._room.set()
        else:
            self._room.clear()

    def _halt_if(self, halt: Halt | None) -> None:
        if halt is None:
            return
        first, self.halt = self.halt is None, halt  # what was with the workers adds to its evidence later
        if first:
            self.stop()
            self._on_halt(halt)


def _answers(found: FoundRow, row: Row, name: RowsName) -> bool:
    """Return whether an outcome is that of a row that went by `name`, in whichever round."""
    same_id = canonical(found.identifier_id) == canonical(row.identifier_id)
    return (
        same_id
        and found.user_id == row.user_id
        and RowsName.parse(found.batch).run_and_session == name.run_and_session
    )


def _buried(letters: int) -> Halt:
    return Halt(
        HaltKind.SILENCE,
        f"no outcome comes, and {letters} messages went to the queue's dead letters meanwhile. Look why"
        " (`bulk-unverify dead-letters`) and mend it, then resume; do not send them again yourself, the run does",
    )


def _never_answered(rows: int) -> Halt:
    return Halt(
        HaltKind.SILENCE,
        f"{rows} rows were published {_MOST_ROUNDS} times and no outcome came back. Look at the queue's dead letters"
        " (`bulk-unverify dead-letters`), and whether its workers are for this tenant and operation",
    )
