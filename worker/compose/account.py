"""What a standing worker has done and how it stands, over all its sessions: for `--json` and for `--listen`."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from worker.errors import BrokerError
from worker.model import Depth, Outcome
from worker.pacing import PaceStatus
from worker.ports import Queue
from worker.queueing import Desk, is_set_within
from worker.web import Meter, Moment

_LOOK_S: Final = 5.0
_GOODBYE_S: Final = 2.0


class Account:
    """Sums up what sessions did; knows the one that is open.

    Attributes:
        outcomes: Rows by durable outcome.
        meter: Calls and waits, where they are measured.
        halted: Why no session may call at the moment, or empty.
        lost: Why the queue cannot be reached before the first session, or empty.
        stopping: Whether the worker was told to stop.
    """

    def __init__(self) -> None:
        self.outcomes: collections.Counter[Outcome] = collections.Counter()
        self.meter = Meter()
        self.halted = ""
        self.lost = ""
        self.stopping = False
        self._began = False
        self._before: collections.Counter[str] = collections.Counter()
        self._desk: Desk | None = None
        self._pace: Callable[[], PaceStatus] | None = None
        self._depth: Depth | None = None

    @contextlib.contextmanager
    def session(self, desk: Desk, pace: Callable[[], PaceStatus]) -> Iterator[None]:
        """Follow a session while the block lasts, which is longer than its desk is open."""
        self._began, self._desk, self._pace = True, desk, pace
        try:
            yield
        finally:
            self._before = self.counts()
            self._desk = self._pace = None

    def counts(self) -> collections.Counter[str]:
        """Return messages that were `buried` and `given_back`, and rows that were not recorded (`unrecorded`)."""
        counts = self._before.copy()
        if (desk := self._desk) is not None:
            counts.update(buried=desk.buried, given_back=desk.given_back, unrecorded=desk.unrecorded)
        return counts

    @property
    def trouble(self) -> str:
        """Why the worker is not ready, or empty."""
        if self.stopping:
            return "The worker is stopping."
        if self.halted:
            return f"Halted: {self.halted}."
        if not self._began:
            return self.lost or "The worker is starting."
        return "" if self._desk is None else self._desk.trouble

    def moment(self) -> Moment:
        """Return how it stands now."""
        counts = self.counts()
        pace = None if self._pace is None else self._pace()
        return Moment(
            rows=self.outcomes,
            unrecorded=counts["unrecorded"],
            buried=counts["buried"],
            given_back=counts["given_back"],
            meter=self.meter,
            in_flight=0 if pace is None else pace.in_flight,
            rate_per_s=0.0 if pace is None else pace.rate_per_s,
            depth=self._depth,
            trouble=self.trouble,
        )

    @contextlib.asynccontextmanager
    async def following(self, queue: Queue) -> AsyncIterator[None]:
        """Ask every few seconds how much `queue` holds, until the block ends."""
        let_go = asyncio.Event()
        asking = asyncio.create_task(self._ask(queue, let_go))
        try:
            yield
        finally:
            let_go.set()  # not cancelled: brokers' libraries may lose that
            await asyncio.wait([asking], timeout=_GOODBYE_S)

    async def _ask(self, queue: Queue, let_go: asyncio.Event) -> None:
        while True:
            try:
                self._depth = await queue.depth()
            except BrokerError:  # said by whoever needs it; what is not known is not told
                self._depth = None
            if await is_set_within(let_go, _LOOK_S):
                return
