"""Takes messages from a queue apart into rows for the pipeline, and brings the rows' outcomes back to it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Self

import structlog

from worker.errors import BrokerError
from worker.guard import Halt
from worker.model import FAILURES, Delivery, Finding, Outcome, Result, Row, Unfinished
from worker.ports import WorkQueue
from worker.protection import is_protected
from worker.queueing.cap import HourlyCap
from worker.queueing.findings import dead_letter, encode_finding
from worker.queueing.messages import Parsed, ParsedRow, PoisonError, parse
from worker.queueing.patience import Patience
from worker.queueing.taken import Taken, batch_of, is_fenced

MOST_DELIVERIES: Final = 5
"""A message that was delivered more often killed its workers: it goes to the dead letters."""
_GATHER_S: Final = 0.02
_BEHIND_S: Final = 0.05
_WAIT_S: Final = 0.5
_EXTENSIONS: Final = 3
"""How often a lease is extended within itself."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a desk takes messages.

    Attributes:
        worker: This worker's name, for the results.
        until_empty: Whether the source is exhausted when the queue is empty; else it waits for more.
        most_rows: Rows to have at hand, in the calls and before them, at most.
        most_claims: Rows to hand out, after which the source is exhausted; None for no bound.
        key: Only messages signed with it count; None takes all.
        grace_s: Seconds that a lost broker has to come back once the desk closes.
    """

    worker: str
    until_empty: bool
    most_rows: int
    most_claims: int | None = None
    key: bytes | None = None
    grace_s: float = 10.0


class Desk:
    """A queue as the pipeline sees it: implements the ports `Source` and `Recorder`. A context manager.

    What the broker cannot take at the moment is kept and offered again; meanwhile `room` lets nobody call.

    Args:
        queue: The work, its results and its dead letters.
        terms: How messages are taken.
        log: Where it says what it did.
        protected: Ids that are never called.
        cap: How many rows an hour may have; None for no bound.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        queue: WorkQueue,
        terms: Terms,
        log: structlog.typing.FilteringBoundLogger,
        *,
        protected: AbstractSet[str] = frozenset(),
        cap: HourlyCap | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._terms = terms
        self._log = log
        self.protected = protected
        self._cap = cap
        self._clock = clock
        self._patience = Patience(log, clock)
        self._claims_left = math.inf if terms.most_claims is None else terms.most_claims
        self._closed = asyncio.Event()
        self._numbers = 0
        self._ready: collections.deque[Row] = collections.deque()
        self._places: dict[int, tuple[Taken, int]] = {}
        self._taken: dict[str, Taken] = {}
        self._changed: dict[str, Taken] = {}
        self._counts: collections.Counter[Outcome] = collections.Counter()
        self._doubted: list[Result] = []
        self._believed = False
        self._handed = self._settled = 0
        self._changed_since: float | None = None
        self._settling_since: float | None = None
        self._something = asyncio.Event()
        self._progress = asyncio.Event()
        self._finishing = False
        self._tasks: list[asyncio.Task[None]] = []
        self.on_record: Callable[[Mapping[Outcome, int]], None] = lambda _: None
        """Told what the broker has confirmed."""
        self.buried = 0
        """Messages that went to the dead letters."""
        self.unrecorded = 0
        """Rows that have an outcome which the broker did not take: they are delivered and called again."""

    @property
    def trouble(self) -> str:
        """Why the broker cannot be used now, or empty."""
        return self._patience.trouble

    async def __aenter__(self) -> Self:
        """Begin to keep leases and to record."""
        self._tasks = [asyncio.create_task(self._keep_recording()), asyncio.create_task(self._keep_leases())]
        self._tasks[0].add_done_callback(lambda _: self._progress.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give back what was not handed out, record what is known, and let go."""
        self.close()
        self._believe()
        self.give_back([Unfinished(row, row.earlier_requests) for row in self._ready])
        self._ready.clear()
        await self.flush()
        self._finishing = True
        self._something.set()
        recording, leases = self._tasks
        await recording
        leases.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leases

    def close(self) -> None:
        """Take nothing more: the source is exhausted. A broker that is lost has the grace to come back."""
        self._patience.end_after(self._terms.grace_s)
        self._closed.set()

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return up to `limit` rows; waits until there are any. Empty when closed, or empty if that was asked."""
        limit = int(min(limit, self._claims_left))
        while limit and not self._closed.is_set():
            if self._ready:
                rows = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
                self._claims_left -= len(rows)
                return rows
            await self._fetch(limit)
        return []

    def allows(self, row: Row) -> bool:
        """Return whether `row` may be called: neither of its ids is on the protected list by now."""
        return not is_protected(row, self.protected)

    async def _fetch(self, limit: int) -> None:
        """Try once to take messages; waits a little if there are none, no room for any, or no broker."""
        room = self._terms.most_rows - len(self._places)
        if room <= 0:
            await asyncio.sleep(_GATHER_S)
            return
        if self._cap is not None and await self._cap.waited(self._closed):
            return
        try:
            await self._receive(min(limit, room))
        except BrokerError as error:
            self._patience.lost(error)
            await self._patience.back_off(self._closed)
        else:
            self._patience.back()

    async def _receive(self, limit: int) -> None:
        if deliveries := await self._queue.receive(limit, _WAIT_S):
            await self._open(deliveries)
            return
        self._believe()
        if self._terms.until_empty:
            depth = await self._queue.depth()
            if not depth.waiting and not depth.taken:
                self.close()

    async def _open(self, deliveries: Sequence[Delivery]) -> None:
        """Take messages apart; those that nobody can work on go to the dead letters."""
        new = [
            delivery for delivery in deliveries if delivery.name not in self._taken
        ]  # else it is ours already
        parsed = [(delivery, read) for delivery in new if (read := await self._read(delivery))]
        asked: dict[str, set[int]] = collections.defaultdict(set)
        for delivery, read in parsed:
            if is_fenced(read):
                asked[batch_of(delivery, read)].update(row.index for row in read.rows)
        known = await self._patience.persist(lambda: self._queue.known(asked)) if asked else {}
        for delivery, read in parsed:
            done = known.get(batch_of(delivery, read), frozenset())
            rows = [row for row in read.rows if row.index not in done]
            if self._cap is None or not rows or await self._cap.admits(len(rows)):
                self._take(delivery, read, rows)
            else:
                await self._return([delivery])

    def _take(self, delivery: Delivery, read: Parsed, rows: Sequence[ParsedRow]) -> None:
        taken = Taken(delivery, read, len(rows))
        self._taken[delivery.name] = taken
        if not rows:
            self._change(taken)
        for row in rows:
            self._numbers += 1
            self._places[self._numbers] = taken, row.index
            self._ready.append(
                Row(self._numbers, row.user_id, row.identifier_id, maybe_sent=delivery.times > 1)
            )

    async def _read(self, delivery: Delivery) -> Parsed | None:
        if delivery.times > MOST_DELIVERIES:
            reason = f"it was delivered {delivery.times} times, and no worker finished it"
        else:
            try:
                return self._parse(delivery.body)
            except PoisonError as error:
                reason = str(error)
        letter = dead_letter(delivery, reason)
        await self._patience.persist(lambda: self._queue.bury(delivery, letter))
        self.buried += 1
        self._log.warning("buried", message=delivery.name, reason=reason)
        return None

    def _parse(self, body: bytes) -> Parsed:
        read = parse(body, key=self._terms.key)
        if self._cap is not None:
            self._cap.check(len(read.rows))
        return read

    def record(self, result: Result) -> None:
        """Take `result` for the next group; does not wait.

        Failures before the first success may be the evidence of a wrong worker: they are kept until there is a
        success, or nothing left to do that could bring one.
        """
        if result.verdict.outcome is Outcome.SUCCEEDED:
            self._believe()
            self._believed = True
        elif not self._believed and result.verdict.outcome in FAILURES:
            self._doubted.append(result)
            return
        self._file(result)

    def take_back(self, halt: Halt) -> None:
        """Give the rows back that were the evidence of a wrong worker (promise 6)."""
        doubted, self._doubted = self._doubted, []
        for result in doubted:
            is_evidence = result.verdict.outcome in halt.evidence
            if is_evidence and halt.evidence_status in (None, result.verdict.status):
                self.give_back([Unfinished(result.row, result.requests)])
            else:
                self._file(result)

    def _believe(self) -> None:
        doubted, self._doubted = self._doubted, []
        for result in doubted:
            self._file(result)

    def _file(self, result: Result) -> None:
        taken, index = self._places.pop(result.row.number)
        taken.findings.append(
            Finding(taken.batch, index, encode_finding(result, taken.batch, index, self._terms.worker))
        )
        taken.open -= 1
        self._counts[result.verdict.outcome] += 1
        self._change(taken)

    def give_back(self, rows: Sequence[Unfinished]) -> None:
        """Give rows back: their messages go to others once nothing of them is in the calls."""
        for each in rows:
            taken, _ = self._places.pop(each.row.number)
            taken.open -= 1
            taken.given_back = True
            self._change(taken)

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
        if self._tasks[0].done():
            self._tasks[0].result()  # a defect, if anything: it ends only when all is recorded
        await self._progress.wait()

    def _oldest(self) -> float | None:
        return self._changed_since if self._settling_since is None else self._settling_since

    def _change(self, taken: Taken) -> None:
        self._changed[taken.delivery.name] = taken
        self._handed += 1
        if self._changed_since is None:
            self._changed_since = self._clock()
        self._something.set()

    async def _keep_recording(self) -> None:
        """Hand groups of outcomes to the broker until told to finish; never cancelled."""
        while True:
            await self._something.wait()
            if not self._changed:
                if self._finishing:
                    return
                self._something.clear()
                continue
            await asyncio.sleep(_GATHER_S)
            await self._settle()

    async def _settle(self) -> None:
        """Hand one group over. What cannot be, until the patience ends, is delivered again after its lease."""
        changed, counts, mark = list(self._changed.values()), self._counts, self._handed
        self._changed, self._counts = {}, collections.Counter()
        self._settling_since, self._changed_since = self._changed_since, None
        settlements = [taken.settlement() for taken in changed]
        finished = [taken.delivery for taken in changed if not taken.open]
        returned = [taken.delivery for taken in changed if not taken.open and taken.given_back]
        try:
            await self._patience.persist(lambda: self._queue.settle(settlements))
        except BrokerError as error:
            self.unrecorded += counts.total()
            self._log.error("not_recorded", rows=counts.total(), messages=len(changed), error=str(error))
        else:
            self.on_record(counts)
            for delivery in finished:
                del self._taken[delivery.name]  # before it can come again
            await self._return(returned)
        self._settled, self._settling_since = mark, None
        self._progress.set()
        self._progress = asyncio.Event()

    async def _return(self, deliveries: Sequence[Delivery]) -> None:
        try:
            await self._patience.persist(lambda: self._queue.give_back(deliveries))
        except BrokerError as error:  # others get them after their lease
            self._log.warning("not_given_back", messages=len(deliveries), error=str(error))

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._queue.lease_s / _EXTENSIONS)
            deliveries = [taken.delivery for taken in self._taken.values()]
            with contextlib.suppress(
                BrokerError
            ):  # said by whoever needs it; the lease may outlast the trouble
                await self._queue.extend(deliveries)
