"""A run's ledger as its one owner sees it: a source of pending rows and a recorder of outcomes."""

from __future__ import annotations

import asyncio
import collections
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

from worker.ledger import steps
from worker.ledger.folder import RunFolder
from worker.ledger.schema import broken, connect
from worker.ledger.writer import LedgerWriter
from worker.model import Outcome, Result, Row, RunState, Unfinished
from worker.protection import is_protected

_GATHER_S: Final = 0.02
"""How long results are gathered before they are handed to the writer."""
_GATHER_MOST: Final = 512
_BEHIND_S: Final = 0.05
"""Age of the oldest result that is not durable at which new calls wait (promise 3)."""


class RunLedger:
    """The ledger of a run, open for its owner. Implements the ports `Source` and `Recorder`.

    Args:
        writer: Writes it.
        protected: The protected list so far.
        wall: Epoch seconds.
        monotonic: Seconds.
    """

    def __init__(
        self,
        writer: LedgerWriter,
        protected: frozenset[str],
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._protected = set(protected)
        self._wall = wall
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._session = 0
        self._publishes = False
        self._cursor = 0
        self._results: list[Result] = []
        self._given_back: list[Unfinished] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._undurable: collections.deque[float] = collections.deque()
        self.on_commit: Callable[[Mapping[Outcome, int]], None] = lambda _: None
        """Told what became durable, a group at a time."""

    @classmethod
    async def open(
        cls,
        folder: RunFolder,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Open the ledger of `folder`, whose lock the caller holds; `aclose` ends it.

        Raises:
            LedgerError: The file is broken.
        """
        connection = connect(folder.ledger, read_only=False)
        try:
            connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
            protected = frozenset(id_ for (id_,) in connection.execute("SELECT id FROM protected"))
        except sqlite3.Error as error:
            connection.close()
            raise broken(folder.ledger, error) from error
        return cls(LedgerWriter(connection, folder.ledger), protected, wall, monotonic)

    async def begin_session(
        self,
        operator: str,
        settings: Mapping[str, str],
        *,
        retake: frozenset[Outcome] = frozenset(),
        publishes_to: str = "",
        recall: bool = False,
    ) -> int:
        """Begin a session and return its number; what a killed one left in flight may have been sent.

        Args:
            operator: Who begins it, `user@host`.
            settings: What steers it, for the record.
            retake: Rows of these outcomes, of any session, go again: pending by the same commit that says why.
            publishes_to: The queue whose workers call the rows in this session; what went to them in an earlier one
                stays with them. Empty if it calls by itself: then that comes back, and may have been called.
            recall: Whether that comes back all the same.

        Raises:
            LedgerError: The ledger is broken.
        """
        now, self._publishes = self._wall(), bool(publishes_to)
        self._session = await self._writer.perform(
            lambda connection: steps.begin_session(
                connection, now, operator, settings, retake, publishes_to=publishes_to, recall=recall
            )
        )
        return self._session

    async def published(self) -> Sequence[tuple[Row, str]]:
        """Return the rows that are with the workers of a queue, and under which name, in their order.

        Raises:
            LedgerError: The ledger is broken.
        """
        return await self._writer.perform(steps.published)

    async def publish(self, rows: Sequence[Row], batch: str) -> None:
        """Keep that claimed rows go to the workers of a queue now, and that their outcomes come back as `batch`.

        Raises:
            LedgerError: The ledger is broken.
        """
        numbers = [row.number for row in rows]
        await self._writer.perform(lambda connection: steps.publish(connection, numbers, batch))

    async def end_session(self, state: RunState, halt_reason: str = "", cool_down_s: float = 0.0) -> None:
        """Record how the session ended, and how much longer the tenant wants to be left alone.

        Raises:
            LedgerError: The ledger is broken.
        """
        now = self._wall()
        await self._writer.perform(
            lambda connection: steps.end_session(
                connection, self._session, now, state, halt_reason, now + cool_down_s
            )
        )

    async def protect(self, ids: frozenset[str]) -> None:
        """Add ids to the protected list: rows of theirs are excluded when they would be claimed (promise 11).

        Raises:
            LedgerError: The ledger is broken.
        """
        new = ids - self._protected
        self._protected |= new
        if new:
            await self._writer.perform(lambda connection: steps.protect(connection, new))

    async def note_command(self, command: str) -> None:
        """Record a command that is applied now.

        Raises:
            LedgerError: The ledger is broken.
        """
        now = self._wall()
        await self._writer.perform(lambda connection: steps.note_command(connection, now, command))

    def take_back(self, outcomes: frozenset[Outcome], *, why: str, http_status: int | None = None) -> None:
        """Put this session's rows with these outcomes back to pending and their outcomes into the history.

        In the next group commit, with what was recorded before it; does not wait. This session does not claim
        them any more, the next one does.

        Args:
            outcomes: Which outcomes.
            why: For the history.
            http_status: Only those with this status, or None for all.
        """
        if self._gathering is not None:
            self._hand_over()
        now, session = self._wall(), self._session
        self._writer.submit(
            lambda connection: steps.take_back(
                connection, outcomes, session=session, http_status=http_status, now=now, why=why
            ),
            lambda _: None,
        )

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return up to `limit` of the next pending rows, durably in flight; empty when none are left.

        Raises:
            LedgerError: The ledger is broken.
        """
        if self._gathering is not None:
            self._hand_over()  # one commit for both
        rows, excluded = await self._writer.perform(lambda connection: self._claim(connection, limit))
        if excluded:
            self.on_commit({Outcome.EXCLUDED: excluded})
        return rows

    def _claim(self, connection: sqlite3.Connection, limit: int) -> tuple[list[Row], int]:
        """Claim in the writer's thread, where alone the cursor moves while a session works."""
        excluded = 0
        while rows := steps.next_pending(connection, self._cursor, limit):
            self._cursor = rows[-1].number
            allowed = [row for row in rows if self.allows(row)]
            if len(allowed) < len(rows):
                barred = [row for row in rows if not self.allows(row)]
                steps.exclude(connection, self._session, barred, self._wall())
                excluded += len(barred)
            if allowed:
                steps.claim(connection, allowed)
                return allowed, excluded
        return [], excluded

    def allows(self, row: Row) -> bool:
        """Return whether `row` may be called: neither of its ids is on the protected list by now."""
        return not is_protected(row, self._protected)

    def record(self, result: Result) -> None:
        """Take `result` for the next group commit; does not wait."""
        self._results.append(result)
        if self._gathering is None:
            self._start_gathering()
        elif len(self._results) >= _GATHER_MOST:
            self._hand_over()

    async def note_again(self, again: Sequence[Result]) -> None:
        """Note durably that rows were called once more that have an outcome: that one stays, and says so.

        Raises:
            LedgerError: The ledger is broken.
        """
        await self._writer.perform(lambda connection: steps.note_again(connection, again))

    def give_back(self, rows: Sequence[Unfinished]) -> None:
        """Put claimed rows back to pending in the next group commit; does not wait."""
        self._given_back.extend(rows)
        if self._gathering is None and rows:
            self._start_gathering()

    async def room(self) -> None:
        """Wait until no result has been waiting to be durable for more than 50 ms.

        Raises:
            LedgerError: The ledger is broken.
        """
        while self._undurable and self._monotonic() - self._undurable[0] > _BEHIND_S:
            if self._gathering is not None:
                self._hand_over()
            await self._writer.perform(_nothing)

    async def flush(self) -> None:
        """Wait until everything handed over before this call is durable.

        Raises:
            LedgerError: The ledger is broken.
        """
        if self._gathering is not None:
            self._hand_over()
        await self._writer.perform(_nothing)

    async def aclose(self) -> None:
        """Make durable what was handed over, and close the file; cancelling it cancels no commit.

        Raises:
            LedgerError: The ledger broke; what was handed over since is not recorded.
        """
        if self._gathering is not None:
            self._hand_over()
        await self._writer.close()
        if self._undurable and self._writer.error is not None:
            raise self._writer.error

    def _start_gathering(self) -> None:
        self._undurable.append(self._monotonic())
        self._gathering = self._loop.call_later(_GATHER_S, self._hand_over)

    def _hand_over(self) -> None:
        assert self._gathering is not None
        self._gathering.cancel()
        self._gathering = None
        results, given_back = self._results, self._given_back
        session, publishes = self._session, self._publishes
        self._results, self._given_back = [], []

        def write(connection: sqlite3.Connection) -> None:
            steps.record(connection, session, results)
            if publishes:
                steps.forget_published(connection, [result.row for result in results])
            steps.give_back(connection, given_back)

        self._writer.submit(write, lambda _: self._became_durable(results))

    def _became_durable(self, results: list[Result]) -> None:
        self._undurable.popleft()
        self.on_commit(collections.Counter(result.verdict.outcome for result in results))


def _nothing(_: sqlite3.Connection) -> None:
    """Do nothing in the ledger: what is waited for is that all before it is durable."""
