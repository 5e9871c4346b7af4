"""Takes messages from a queue apart into rows for the pipeline, and brings the rows' outcomes back to them."""

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

import msgspec
import structlog

from worker.errors import BrokerError, LedgerError
from worker.guard import Halt
from worker.model import Delivery, Finding, Outcome, Result, Row, Unfinished
from worker.ports import WorkQueue
from worker.protection import is_protected
from worker.queueing.cap import HourlyCap
from worker.queueing.evidence import Evidence
from worker.queueing.findings import Finder, encode_finding
from worker.queueing.messages import MOST_ROWS, ParsedRow
from worker.queueing.parts import Packing, split
from worker.queueing.patience import Patience, is_set_within
from worker.queueing.reader import Read, Reader
from worker.queueing.settler import Keeper, Settler
from worker.queueing.taken import Taken
from worker.queueing.tried import as_parsed, effort_of
from worker.queueing.waiting import STAYS_S, WaitingRows

_MOST_WAITING: Final = 10_000
"""Rows that wait to go again take no room from others, up to so many."""
_NO_ROOM_S: Final = 0.02
_WAIT_S: Final = 1.0
_GOODBYE_S: Final = 2.0
_EXTENSIONS: Final = 3
"""How often a lease is extended within itself."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a desk takes messages.

    Attributes:
        finder: Who works, on what: the results say it, and messages for others are refused.
        until_empty: Whether the source is exhausted when the queue is empty; else it waits for more.
        most_rows: Rows to have at hand, in the calls and before them, at most.
        most_claims: Rows to hand out, after which the source is exhausted; None for no bound.
        key: Only messages signed with it count; None takes all.
        rows_each: A message of more rows is published anew in parts; None takes it as it is.
        grace_s: Seconds that a lost broker has to come back once the desk closes.
        accept: Outcomes that are no evidence of a wrong worker.
        wall: Epoch seconds: how long rows wait that were given back travels with their messages.
    """

    finder: Finder
    until_empty: bool
    most_rows: int
    most_claims: int | None = None
    key: bytes | None = None
    rows_each: int | None = None
    grace_s: float = 10.0
    accept: frozenset[Outcome] = frozenset()
    wall: Callable[[], float] = time.time


class Desk:
    """A queue as the pipeline sees it: implements the ports `Source` and `Recorder`. A context manager.

    While the broker cannot take what is known, `room` lets nobody call.

    Args:
        queue: The work, its results and its dead letters.
        terms: How messages are taken.
        log: Where it says what it did.
        protected: Ids that are never called.
        keeper: Who keeps the outcomes; None for the queue of results.
        cap: How many rows an hour may have; None for no bound.
        clock: Monotonic seconds.
        on_record: Told what the broker has confirmed.
    """

    def __init__(
        self,
        queue: WorkQueue,
        terms: Terms,
        log: structlog.typing.FilteringBoundLogger,
        *,
        protected: AbstractSet[str] = frozenset(),
        keeper: Keeper | None = None,
        cap: HourlyCap | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_record: Callable[[Mapping[Outcome, int]], None] = lambda _: None,
    ) -> None:
        self._queue = queue
        self._terms = terms
        self._log = log
        self.protected = protected
        self._cap = cap
        self._clock = clock
        self._wall = terms.wall
        self._patience = Patience(log, clock)
        self._claims_left = math.inf if terms.most_claims is None else terms.most_claims
        self._closed = asyncio.Event()
        self._let_go = asyncio.Event()
        self._numbers = 0
        self._ready: collections.deque[Row] = collections.deque()
        self._waiting = WaitingRows()
        self._places: dict[int, tuple[Taken, int]] = {}
        self._tried: set[int] = set()
        self._taken: dict[str, Taken] = {}
        self._opening: Sequence[Delivery] = ()
        """What came and is not taken up yet: fence, cap and dead letters may be slow."""
        self._in_hand: set[tuple[str, int]] = set()
        """Names of rows whose outcomes are not recorded yet."""
        self._evidence = Evidence(terms.accept)
        self._reader = Reader(
            queue, terms.finder, terms.key, self._patience, log, keeper, cap, terms.rows_each
        )
        self._rows_each = 1  # in a message, as the last ones had
        self._settler = Settler(queue, self._patience, log, clock, self._forget, on_record, keeper)

    @property
    def trouble(self) -> str:
        """Why the broker cannot be used now, or empty."""
        return self._patience.trouble

    @property
    def has_success(self) -> bool:
        """Whether a row succeeded."""
        return self._evidence.any_success

    @property
    def buried(self) -> int:
        """How many messages went to the dead letters."""
        return self._reader.buried

    @property
    def given_back(self) -> int:
        """How many messages others may take now."""
        return self._settler.given_back

    @property
    def unrecorded(self) -> int:
        """How many rows have an outcome that the broker did not take: they are delivered and called again."""
        return self._settler.unrecorded

    async def __aenter__(self) -> Self:
        """Begin to keep leases and to record."""
        self._settler.start()
        self._leases = asyncio.create_task(self._keep_leases())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give back what was not handed out, record what is known, and let go."""
        self.close()
        self._believe()
        self._return([*self._ready, *(row for _, row in self._waiting.take())])
        self._ready.clear()
        try:
            await self._settler.finish()
        except LedgerError:
            await self._settler.give_back([taken.delivery for taken in self._taken.values()])
            raise
        finally:
            self._let_go.set()
            await asyncio.wait([self._leases], timeout=_GOODBYE_S)

    def close(self) -> None:
        """Take nothing more: the source is exhausted. A broker that is lost has the grace to come back."""
        self._patience.end_after(self._terms.grace_s)
        self._closed.set()

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return up to `limit` rows; waits until there are any. Empty when closed, or empty if that was asked."""
        limit = int(min(limit, self._claims_left))
        while limit and not self._closed.is_set():
            self._settler.check()
            if rows := self._at_hand(limit):
                self._claims_left -= len(rows)
                return rows
            await self._fetch(limit)
        return []

    def _at_hand(self, limit: int) -> list[Row]:
        """Return up to `limit` rows that may go: half of them such that waited, where there are enough of both."""
        fresh = min(len(self._ready), max((limit + 1) // 2, limit - len(self._waiting)))
        rows = [self._ready.popleft() for _ in range(fresh)]
        rows += self._waiting.due(self._clock(), limit - fresh)
        while self._ready and len(rows) < limit:
            rows.append(self._ready.popleft())
        return rows

    async def more(self) -> bool:
        """Return False: `claim` waits by itself."""
        return False

    async def claim_elsewhere(self) -> Row | None:
        """Return a row that was taken last and never tried; None where there is none at hand."""
        return self._ready.pop() if self._ready and not self._closed.is_set() else None

    @property
    def pending(self) -> int:
        """How many rows are at hand."""
        return len(self._places)

    @property
    def failed(self) -> int:
        """How many of these were tried and have to go again."""
        return len(self._tried)

    def allows(self, row: Row) -> bool:
        """Return whether `row` may be called: neither of its ids is on the protected list by now."""
        return not is_protected(row, self.protected)

    async def _fetch(self, limit: int) -> None:
        """Try once to take messages; waits a little if there are none, no room for any, or no broker."""
        room = self._terms.most_rows - self._in_work
        if room <= 0:
            self._believe_if_stuck()
            await asyncio.sleep(_NO_ROOM_S)
            return
        if self._cap is not None and await self._cap.waited(self._closed):
            self._believe_if_stuck()
            return
        try:
            await self._pass_on_late()
            await self._receive(min(limit, room))
        except BrokerError as error:
            self._patience.lost(error)
            await self._patience.back_off(self._closed)
        else:
            self._patience.back()

    @property
    def _in_work(self) -> int:
        """How many rows take room: those that wait to go again leave it to others."""
        return len(self._places) - min(len(self._waiting), _MOST_WAITING)

    async def _receive(self, limit: int) -> None:
        messages = max(1, limit // self._rows_each)
        next_in = self._waiting.next_in(self._clock())
        wait_s = _WAIT_S if next_in is None else min(_WAIT_S, max(next_in, _NO_ROOM_S))
        if deliveries := await self._queue.receive(messages, wait_s):
            await self._open(deliveries)
            return
        self._believe()
        if self._terms.until_empty:
            depth = await self._queue.depth()
            if not depth.waiting and not depth.taken and not self._places:
                self.close()

    async def _open(self, deliveries: Sequence[Delivery]) -> None:
        # What has come before is ours already, and what was published twice may come twice at once.
        new = {delivery.name: delivery for delivery in deliveries if delivery.name not in self._taken}
        self._opening = list(new.values())
        try:
            beyond = await self._take_up(await self._reader.read(self._opening))
        except LedgerError:  # no message's fault, and no try of it
            await self._settler.give_back(self._opening)
            raise
        finally:
            self._opening = ()
        if beyond:
            await self._settler.give_back(beyond)

    async def _take_up(self, reads: Sequence[Read]) -> Sequence[Delivery]:
        """Take up what there is room for; return the rest."""
        if reads:
            self._rows_each = max(1, *(len(read.parsed.rows) for read in reads))
        beyond: list[Delivery] = []
        known: collections.Counter[str] = collections.Counter()
        for read in reads:
            taken = Taken(read.delivery, read.parsed, read.fence)
            rows = self._fresh(read, taken)
            if await self._has_room_for(rows):
                known[taken.batch] += len(read.parsed.rows) - len(rows)
                self._take(read, taken, rows)
            else:
                beyond.append(read.delivery)
        for batch, count in (+known).items():
            self._log.info("known_already", batch=batch, rows=count)
        return beyond

    async def _has_room_for(self, rows: Sequence[ParsedRow]) -> bool:
        """Return whether rows may be taken up: messages may be larger than those before, or the hour be full."""
        if not rows:
            return True
        if self._ready and self._in_work + len(rows) > self._terms.most_rows:
            return False
        return self._cap is None or await self._cap.admits(int(min(len(rows), self._claims_left)))

    def _fresh(self, read: Read, taken: Taken) -> list[ParsedRow]:
        """Return the rows of a message, but for what is done, or in hand by another copy of it."""
        batch, known, in_hand = taken.batch, read.known, self._in_hand
        return [
            row for row in read.parsed.rows if row.index not in known and (batch, row.index) not in in_hand
        ]

    def _take(self, read: Read, taken: Taken, rows: Sequence[ParsedRow]) -> None:
        delivery = read.delivery
        taken.open = len(rows)
        if taken.fenced:
            taken.names = {(taken.batch, row.index) for row in rows}
            self._in_hand |= taken.names
        self._taken[delivery.name] = taken
        if not rows:
            self._settler.change(taken)
        for row in rows:
            self._numbers += 1
            self._places[self._numbers] = taken, row.index
            effort = None if row.tried is None else effort_of(row.tried, self._wall)
            claimed = Row(
                self._numbers,
                row.user_id,
                row.identifier_id,
                earlier_requests=0 if row.tried is None else row.tried.requests,
                maybe_sent=delivery.times > 1,
                traceparent=read.parsed.traceparent,
                effort=effort,
            )
            if effort is None:
                self._ready.append(claimed)
            else:
                self._wait(claimed, effort.wait_s)

    def _forget(self, message: str) -> None:
        """Let go of a message that the broker has heard the end of, before it can come again."""
        self._in_hand -= self._taken.pop(message).names

    def record(self, result: Result) -> None:
        """Take `result` for the next group; does not wait. It may be kept back, as evidence of a wrong worker."""
        for each in self._evidence.hear(result):
            self._file(each)

    def take_back(self, halt: Halt) -> bool:
        """Give the rows back that were the evidence of a wrong worker (promise 6); return whether there were any."""
        shows, rest = self._evidence.show(halt)
        self._return([each.row for each in shows])
        for each in rest:
            self._file(each)
        return bool(shows)

    def _believe_if_stuck(self) -> None:
        """Believe the failures if no other row is in hand, and none can be taken: no success could come."""
        if len(self._evidence) == len(self._places):
            self._believe()

    def _believe(self) -> None:
        for each in self._evidence.release():
            self._file(each)

    def _file(self, result: Result) -> None:
        taken, index = self._places.pop(result.row.number)
        self._tried.discard(result.row.number)
        body = encode_finding(result, taken.batch, index, taken.heading, self._terms.finder)
        taken.findings.append(Finding(taken.fence, index, body))
        taken.open -= 1
        self._settler.change(taken, result.verdict.outcome)

    def give_back(self, rows: Sequence[Unfinished]) -> None:
        """Have rows go again that were tried, after their wait; others go back with their messages."""
        if self._closed.is_set():
            self._return([each.row for each in rows])
            return
        for each in rows:
            if each.effort is None:
                self._return([each.row])
                continue
            row = msgspec.structs.replace(each.row, effort=each.effort, earlier_requests=each.requests)
            self._wait(row, each.effort.wait_s)

    def _wait(self, row: Row, wait_s: float) -> None:
        now = self._clock()
        taken, _ = self._places[row.number]
        taken.failed_at = now if taken.failed_at is None else taken.failed_at
        self._tried.add(row.number)
        self._waiting.add(row, now + wait_s)

    async def _pass_on_late(self) -> None:
        """Publish anew what waits for too long already, with what is known of it, and be done with its message.

        A worker that is killed before that leaves its rows twice, under the same names.
        """
        now = self._clock()
        late: dict[str, list[int]] = collections.defaultdict(list)
        for number in self._waiting.numbers():
            taken, _ = self._places[number]
            if taken.failed_at is not None and now - taken.failed_at >= STAYS_S:
                late[taken.delivery.name].append(number)
        for name, numbers in late.items():
            taken = self._taken[name]
            if len(numbers) == taken.open:  # else some of its rows are in the calls, or were never tried
                await self._publish_anew(taken, numbers)

    async def _publish_anew(self, taken: Taken, numbers: Sequence[int]) -> None:
        waiting = self._waiting.take(set(numbers))
        ahead_s = self._wall() - self._clock()
        rows = [as_parsed(row, self._places[row.number][1], at + ahead_s) for at, row in waiting]
        packing = Packing(rows_each=MOST_ROWS, most_bytes=self._queue.most_bytes, key=self._terms.key)
        parts = split(taken.delivery, msgspec.structs.replace(taken.parsed, rows=rows), packing)
        try:
            await self._queue.publish(parts)
        except BrokerError:
            for at, row in waiting:
                self._waiting.add(row, at)
            raise
        for _, row in waiting:
            self._places.pop(row.number)
            self._tried.discard(row.number)
            taken.open -= 1
        self._settler.change(taken)
        self._log.info("given_back_to_wait", message=taken.delivery.name, rows=len(rows))

    def _return(self, rows: Sequence[Row]) -> None:
        """Give rows back: their messages go to others once nothing of them is in the calls."""
        for row in rows:
            taken, _ = self._places.pop(row.number)
            self._tried.discard(row.number)
            taken.open -= 1
            taken.given_back = True
            self._settler.change(taken)

    async def room(self) -> None:
        """Wait until no outcome has been waiting for the broker for more than 50 ms."""
        await self._settler.room()

    async def flush(self) -> None:
        """Wait until the broker has everything that was handed over before."""
        await self._settler.flush()

    async def _keep_leases(self) -> None:
        """Extend leases until told to let go: never cancelled, as brokers' libraries may lose a cancellation."""
        while not await is_set_within(self._let_go, self._queue.lease_s / _EXTENSIONS):
            deliveries = [*self._opening, *(taken.delivery for taken in self._taken.values())]
            # A lost broker is said by whoever needs it; the lease may outlast the trouble.
            with contextlib.suppress(BrokerError):
                await self._queue.extend(deliveries)
