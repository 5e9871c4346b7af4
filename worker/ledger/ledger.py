"""A run's ledger as its one owner sees it: a source of pending rows and a recorder of outcomes."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
import random
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

from worker.ledger import steps
from worker.ledger.folder import RunFolder
from worker.ledger.protection import keys_in
from worker.ledger.schema import broken, connect
from worker.ledger.writer import LedgerWriter
from worker.model import Outcome, Result, Row, RunState, Unfinished
from worker.protection import is_protected

_GATHER_S: Final = 0.02
"""How long results are gathered before they are handed to the writer."""
_GATHER_MOST: Final = 512
_BEHIND_S: Final = 0.05
"""Age of the oldest result that is not durable at which new calls wait (promise 3)."""

_KEPT: Final = 64
_KEPT_ONE_IN: Final = 20
_KEPT_EACH: Final = 5
"""Rows that are kept for each row that waits: an answer for each of its attempts."""


class RunLedger:
    """The ledger of a run, open for its owner. Implements the ports `Source` and `Recorder`.

    Args:
        writer: Writes it.
        protected: Keys of the protected ids so far.
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
        self._claims = _Claims(0, frozenset())
        self._out = 0
        """Rows that are claimed, and neither recorded nor given back."""
        self._changed = asyncio.Event()
        self._closed = False
        self.pending = self.failed = 0
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
            protected = keys_in(connection)
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
        self._began, self._began_at = self._monotonic(), now
        self._closed = False

        def begin(connection: sqlite3.Connection) -> tuple[int, steps.Standing, frozenset[int]]:
            number = steps.begin_session(
                connection, now, operator, settings, retake, publishes_to=publishes_to, recall=recall
            )
            standing = steps.standing(connection)
            kept = frozenset[int]() if publishes_to else _draw(connection, standing)
            return number, standing, kept

        self._session, standing, kept = await self._writer.perform(begin)
        self._claims = _Claims(0, kept)
        self.pending, self.failed = standing.pending, standing.failed
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

    async def protect(self, keys: frozenset[str]) -> None:
        """Add keys of ids to the protected list: rows of theirs are excluded when they would be claimed (promise 11).

        Raises:
            LedgerError: The ledger is broken.
        """
        new = keys - self._protected
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

    async def keep_setting(self, name: str, value: str) -> None:
        """Keep what steers this session from now on, for the next one to go on with.

        Raises:
            LedgerError: The ledger is broken.
        """
        await self._writer.perform(
            lambda connection: steps.keep_setting(connection, self._session, name, value)
        )

    async def note_outage(self, met: str, silent_s: float) -> None:
        """Record that the tenant has been out for so long, and what attempts met; nothing met says that it is back.

        Raises:
            LedgerError: The ledger is broken.
        """
        now = self._wall()
        if met:
            await self._writer.perform(lambda connection: steps.begin_outage(connection, now - silent_s, met))
        else:
            await self._writer.perform(lambda connection: steps.end_outage(connection, now))

    def take_back(
        self,
        outcomes: frozenset[Outcome],
        *,
        why: str,
        http_status: int | None = None,
        numbers: frozenset[int] | None = None,
    ) -> None:
        """Put this session's rows with these outcomes back to pending and their outcomes into the history.

        In the next group commit, with what was recorded before it; does not wait. This session claims nothing any
        more: the next one claims them, after others.

        Args:
            outcomes: Which outcomes.
            why: For the history.
            http_status: Only those with this status, or None for all.
            numbers: Only rows of these numbers, or None for all.
        """
        if self._gathering is not None:
            self._hand_over()
        self.close()
        now, session = self._now(), self._session
        self._writer.submit(
            lambda connection: steps.take_back(
                connection,
                outcomes,
                session=session,
                http_status=http_status,
                now=now,
                why=why,
                rows=numbers,
            ),
            lambda _: None,
        )

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return up to `limit` pending rows that may go now, durably in flight; empty when there are none.

        Half of them are rows that waited, where there are enough of both.

        Raises:
            LedgerError: The ledger is broken.
        """
        return await self._take(lambda connection: self._claim(connection, limit))

    async def claim_elsewhere(self) -> Row | None:
        """Claim one row that was never tried, drawn at random; None where there is none.

        Raises:
            LedgerError: The ledger is broken.
        """
        rows = await self._take(self._claim_elsewhere)
        return rows[0] if rows else None

    async def _take(self, step: Callable[[sqlite3.Connection], tuple[list[Row], list[Row]]]) -> Sequence[Row]:
        """Claim by `step`, which returns what is claimed and what is protected by now."""
        if self._gathering is not None:
            self._hand_over()  # one commit for both
        self._out += 1  # what is about to be claimed
        try:
            rows, barred = await self._writer.perform(step)
        finally:
            self._out -= 1
            self._changed.set()
        self._out += len(rows)
        if barred:
            self.pending -= len(barred)
            self.failed -= sum(row.effort is not None for row in barred)
            self.on_commit({Outcome.EXCLUDED: len(barred)})
        return rows

    async def more(self) -> bool:
        """Wait until rows may have come that can be claimed; False if none ever will, or once it is closed.

        Raises:
            LedgerError: The ledger is broken.
        """
        self._changed.clear()
        if self._gathering is not None:
            self._hand_over()
        were_out = self._out  # a row may be let wait after it was looked, and before that is known here
        due_at = await self._writer.perform(steps.due_at)
        if self._closed:  # maybe before this began, and then nobody tells it again
            return False
        if due_at is None and not self._out:
            return bool(were_out) or bool(self._claims.kept)
        wait_s = None if due_at is None else max(0.0, due_at - self._now())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), wait_s)
        return not self._closed

    def close(self) -> None:
        """Have no more rows: whoever waits for some is told."""
        self._closed = True
        self._changed.set()

    def _now(self) -> float:
        """Return epoch seconds by the clock that this session began with: it is not set meanwhile."""
        return self._began_at + self._monotonic() - self._began

    def _claim(self, connection: sqlite3.Connection, limit: int) -> tuple[list[Row], list[Row]]:
        """Claim in the writer's thread, where alone it is known what this session has passed."""
        if self._closed:
            return [], []
        now = math.inf if self._publishes else self._now()
        barred: list[Row] = []
        while True:
            waited = steps.next_due(connection, now, limit)
            fresh = self._claims.fresh(connection, max(limit - len(waited), (limit + 1) // 2))
            rows = [*fresh, *waited[: limit - len(fresh)]]
            if not rows:
                return [], barred
            allowed = self._allowed(connection, rows, barred)
            if allowed:
                steps.claim(connection, allowed)
                return allowed, barred

    def _claim_elsewhere(self, connection: sqlite3.Connection) -> tuple[list[Row], list[Row]]:
        barred: list[Row] = []
        while not self._closed and (row := self._claims.elsewhere(connection)) is not None:
            if allowed := self._allowed(connection, [row], barred):
                steps.claim(connection, allowed)
                return allowed, barred
        return [], barred

    def _allowed(self, connection: sqlite3.Connection, rows: list[Row], barred: list[Row]) -> list[Row]:
        """Return those of `rows` that may be called; the others are excluded, and added to `barred`."""
        allowed = [row for row in rows if self.allows(row)]
        if len(allowed) < len(rows):
            protected = [row for row in rows if not self.allows(row)]
            steps.exclude(connection, self._session, protected, self._wall())
            barred += protected
        return allowed

    def allows(self, row: Row) -> bool:
        """Return whether `row` may be called: neither of its ids is on the protected list by now."""
        return not is_protected(row, self._protected)

    def record(self, result: Result) -> None:
        """Take `result` for the next group commit; does not wait."""
        self._results.append(result)
        self.pending -= 1
        self._out -= 1
        if result.row.effort is not None:
            self.failed -= 1
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
        self._out -= len(rows)
        self.failed += sum((each.effort is not None) - (each.row.effort is not None) for each in rows)
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
        session, publishes, now = self._session, self._publishes, self._now()
        self._results, self._given_back = [], []

        def write(connection: sqlite3.Connection) -> None:
            steps.record(connection, session, results)
            if publishes:
                steps.forget_published(connection, [result.row for result in results])
            steps.give_back(connection, given_back, now)

        self._writer.submit(write, lambda _: self._became_durable(results))
        self._changed.set()

    def _became_durable(self, results: list[Result]) -> None:
        self._undurable.popleft()
        self.on_commit(collections.Counter(result.verdict.outcome for result in results))


class _Claims:
    """What a session has passed of the rows that were never tried: they go in their order, but for some.

    A few rows from all over the run are kept for the end. While others wait to go again, these show, one at a time,
    whether it is a row or the tenant that is sick: rows that always fail may be the last of their file.

    Args:
        passed: The last row that was claimed in order.
        kept: Numbers of the rows that are kept for the end.
    """

    def __init__(self, passed: int, kept: frozenset[int]) -> None:
        self._passed = passed
        self.kept = set(kept)
        """Numbers of the rows that are kept still."""

    def fresh(self, connection: sqlite3.Connection, limit: int) -> list[Row]:
        """Return the next rows in order; at their end those that are kept and that no row that waits may need."""
        while found := steps.next_pending(connection, self._passed, limit):
            self._passed = found[-1].number
            if rows := [row for row in found if row.number not in self.kept]:
                return rows
        needed = steps.count_waiting(connection, len(self.kept)) * _KEPT_EACH
        free = sorted(self.kept)[: max(0, min(limit, len(self.kept) - needed))]
        self.kept -= set(free)
        return [steps.pending_row(connection, number) for number in free]

    def elsewhere(self, connection: sqlite3.Connection) -> Row | None:
        """Return a row drawn at random: of those that are far off, and then of those that are kept."""
        last = steps.last_row(connection)
        for at_least in (random.randint(self._passed + 1, max(last, self._passed + 1)), 0):  # noqa: S311 - no secret
            number = steps.fresh_row(connection, at_least, self._passed, self.kept)
            if number is not None:
                return steps.pending_row(connection, number)
        if not self.kept:
            return None
        number = random.choice(sorted(self.kept))  # noqa: S311 - no secret
        self.kept.remove(number)
        return steps.pending_row(connection, number)


def _draw(connection: sqlite3.Connection, standing: steps.Standing) -> frozenset[int]:
    """Return the rows that are kept for the end: at most one in twenty, from all over the run."""
    wanted = min(_KEPT, (standing.pending - standing.failed) // _KEPT_ONE_IN)
    drawn: set[int] = set()
    for part in range(wanted):
        at_least = standing.last * (2 * part + 1) // (2 * wanted)
        number = steps.fresh_row(connection, at_least, 0, drawn)
        if number is not None:
            drawn.add(number)
    return frozenset(drawn)


def _nothing(_: sqlite3.Connection) -> None:
    """Do nothing in the ledger: what is waited for is that all before it is durable."""
