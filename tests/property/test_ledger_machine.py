"""The ledger against a model of it: whatever happens in whatever order, every row has one state."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from unit.ledger.ledger_staging import look, pairs, plan, result

from worker.ledger import RunFolder, RunLedger, facts, report_rows, verify
from worker.model import FAILURES, Effort, Outcome, Row, RunState, Unfinished

T = TypeVar("T")

CALLED = st.sampled_from([Outcome.SUCCEEDED, *sorted(FAILURES)])


class Ledgers(RuleBasedStateMachine):
    """Keeps beside the ledger what must be known of each row; `maybe` only ever grows."""

    @initialize(rows=st.integers(1, 12))
    def begin(self, rows: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.home = Path(tempfile.mkdtemp())
        self.copies = 0
        self.rows = rows
        self.folder = plan(self.home, pairs(rows))
        self.outcomes: dict[int, Outcome] = {}
        self.requests = dict.fromkeys(range(1, rows + 1), 0)
        self.maybe: set[int] = set()
        self.resent: set[int] = set()
        self.flying: dict[int, Row] = {}
        self.past: set[int] = set()
        """Pending, and behind what this session has claimed or not what it takes again: the next one's."""
        self.ended: set[int] = set()
        """Rows whose outcome is of this session."""
        self.protected: set[str] = set()
        self.due: dict[int, float] = {}
        """Pending rows that were tried, and when they may go again."""
        self.closed = False
        self.now = 0.0
        self.open()

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(what)

    def open(self, retake: frozenset[Outcome] = frozenset()) -> None:
        async def opened() -> RunLedger:
            ledger = await RunLedger.open(self.folder, monotonic=lambda: self.now)
            await ledger.begin_session("ann@host", {}, retake=retake)
            return ledger

        self.ledger = self.do(opened())
        self.now += 301.0
        self.closed = False
        self.past = {number for number in range(1, self.rows + 1) if retake and number not in self.outcomes}
        self.ended.clear()
        self.due = dict.fromkeys(self.due, self.now - 1.0)
        self.pend(retake, set(self.outcomes))

    def pend(self, outcomes: frozenset[Outcome], among: set[int]) -> set[int]:
        """Forget the outcomes of rows; a maybe stays one, or nobody learns that it was sent again."""
        taken = {number for number in among if self.outcomes[number] in outcomes}
        for number in taken:
            del self.outcomes[number]
        return taken

    def send(self, number: int) -> None:
        """Note that a row was sent in a session that knows of it."""
        if number in self.maybe:
            self.resent.add(number)

    def told(self, number: int) -> tuple[str, int]:
        """Return `sent` and `resent` of a row with an outcome."""
        if number in self.resent:
            return "yes", 1
        return "maybe" if number in self.maybe else "yes" if self.requests[number] else "no", 0

    @rule(limit=st.integers(1, 5))
    def claim(self, limit: int) -> None:
        claimed = self.do(self.ledger.claim(limit))
        numbers = [row.number for row in claimed]
        open_rows = [
            number
            for number in range(1, self.rows + 1)
            if number not in self.outcomes
            and number not in self.flying
            and number not in self.past
            and self.due.get(number, self.now) <= self.now
            and not self.closed
        ]
        allowed = [number for number in open_rows if f"u{number}" not in self.protected]
        assert set(numbers) <= set(allowed)
        assert bool(numbers) == bool(allowed)
        fresh = [number for number in allowed if number not in self.due]
        in_order = [number for number in numbers if number not in self.due]
        assert in_order == fresh[: len(in_order)]
        assert len(in_order) >= min(len(fresh), (limit + 1) // 2) or len(open_rows) > len(allowed)
        excluded = look(self.folder, "SELECT row, sent, resent FROM outcomes WHERE outcome = 'excluded'")
        for number, *told in excluded:
            assert tuple(told) == self.told(number)
            assert f"u{number}" in self.protected
            assert number in open_rows or self.outcomes[number] is Outcome.EXCLUDED
            if number not in self.outcomes:
                self.ended.add(number)
            self.outcomes[number] = Outcome.EXCLUDED
            self.due.pop(number, None)
        for row in claimed:
            assert row.earlier_requests == self.requests[row.number]
            assert row.maybe_sent == (row.number in self.maybe)
            assert row.resent == (row.number in self.resent)
            self.flying[row.number] = row

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), outcome=CALLED, requests=st.integers(0, 3))
    def record(self, data: st.DataObject, outcome: Outcome, requests: int) -> None:
        row = self.flying.pop(data.draw(st.sampled_from(sorted(self.flying))))
        self.ledger.record(result(row, outcome, requests=requests, sent=requests > 0))
        self.do(self.ledger.flush())
        self.outcomes[row.number] = outcome
        self.due.pop(row.number, None)
        self.ended.add(row.number)
        self.requests[row.number] += requests
        (told,) = look(self.folder, "SELECT sent, resent FROM outcomes WHERE row = ?", row.number)
        if requests:
            self.send(row.number)
        assert told == self.told(row.number)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), requests=st.integers(0, 2))
    def give_back(self, data: st.DataObject, requests: int) -> None:
        row = self.flying.pop(data.draw(st.sampled_from(sorted(self.flying))))
        self.ledger.give_back([Unfinished(row, row.earlier_requests + requests, row.effort)])
        self.do(self.ledger.flush())
        self.requests[row.number] += requests
        if requests:
            self.send(row.number)
        if row.effort is None:
            self.past.add(row.number)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), wait_s=st.sampled_from([0.0, 5.0, 300.0]))
    def fail(self, data: st.DataObject, wait_s: float) -> None:
        """Have a row wait in the ledger to go again."""
        row = self.flying.pop(data.draw(st.sampled_from(sorted(self.flying))))
        effort = Effort(tries=1, wait_s=wait_s, status=503, error_code="http_503")
        self.ledger.give_back([Unfinished(row, row.earlier_requests + 1, effort)])
        self.do(self.ledger.flush())
        self.requests[row.number] += 1
        self.send(row.number)
        self.due[row.number] = self.now + wait_s

    @rule(seconds=st.sampled_from([1.0, 10.0, 300.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(outcomes=st.frozensets(CALLED, min_size=1))
    def take_back(self, outcomes: frozenset[Outcome]) -> None:
        """What was the evidence of a wrong run: this session's, and not for this session to claim again."""
        taken = self.pend(outcomes, self.ended)
        self.ledger.take_back(outcomes, why="halt")
        self.do(self.ledger.flush())
        self.ended -= taken
        self.closed = True
        self.due |= {number: self.now for number in taken if self.is_carried(number)}

    def is_carried(self, number: int) -> bool:
        """Return whether anything is known of a row that has no outcome: else it goes as if never tried."""
        return bool(self.requests[number]) or number in self.maybe

    @rule(number=st.integers(1, 12))
    def protect(self, number: int) -> None:
        self.protected.add(f"u{number}")
        self.do(self.ledger.protect(frozenset({f"u{number}"})))

    @rule(data=st.data(), retake=st.frozensets(CALLED))
    def kill(self, data: st.DataObject, retake: frozenset[Outcome]) -> None:
        """What is on the disk now, and was not flushed, is all that the next process gets."""
        torn = data.draw(st.lists(st.sampled_from(sorted(self.flying)), unique=True)) if self.flying else []
        for number in torn:
            self.ledger.record(result(self.flying[number]))
        self.copies += 1
        copy = RunFolder(self.home / f"copy-{self.copies}")
        shutil.copytree(self.folder.path, copy.path)
        self.do(self.ledger.aclose())
        self.folder = copy
        self.maybe |= set(self.flying)
        self.flying.clear()
        assert facts(self.folder).state is RunState.INTERRUPTED
        self.open(retake)

    @rule(retake=st.frozensets(CALLED))
    def leave_and_resume(self, retake: frozenset[Outcome]) -> None:
        self.ledger.give_back(
            [Unfinished(row, row.earlier_requests, row.effort) for row in self.flying.values()]
        )
        self.flying.clear()
        self.do(self.ledger.end_session(RunState.INTERRUPTED))
        self.do(self.ledger.aclose())
        self.open(retake)

    @invariant()
    def it_adds_up(self) -> None:
        verify(self.folder)
        known = facts(self.folder)
        assert sum(known.outcomes.values()) == known.rows == self.rows
        assert known.calls == sum(self.requests.values())
        assert known.retries == known.calls - sum(1 for requests in self.requests.values() if requests)
        rows = list(report_rows(self.folder))
        assert [row.number for row in rows] == list(range(1, self.rows + 1))
        for row in rows:
            assert row.outcome == self.outcomes.get(row.number, Outcome.PENDING)
            assert row.requests == self.requests[row.number]
        pending_maybe = {row.number for row in rows if row.outcome is Outcome.PENDING and row.sent == "maybe"}
        unsure = (self.maybe | set(self.flying)) - self.resent
        assert pending_maybe == {n for n in unsure if n not in self.outcomes}
        assert {row.number for row in rows if row.resent} == self.resent

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.do(self.ledger.aclose())
            self.do(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.home)


Ledgers.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestLedgers = Ledgers.TestCase
