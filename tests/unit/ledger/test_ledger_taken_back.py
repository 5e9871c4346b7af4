from __future__ import annotations

from pathlib import Path

import pytest
from unit.ledger.ledger_staging import look, plan, result, session, tamper, unfinished

from worker.errors import LedgerError
from worker.ledger import RunFolder, facts, report_rows, verify
from worker.model import Outcome, RunState

PENDING_AGAIN = frozenset({Outcome.REFUSED, Outcome.EXHAUSTED})


async def called(folder: RunFolder) -> None:
    """Rows 1 to 4: succeeded, refused (403), refused (404), exhausted without any request."""
    async with session(folder) as ledger:
        rows = await ledger.claim(4)
        ledger.record(result(rows[0]))
        ledger.record(result(rows[1], Outcome.REFUSED, status=403, requests=2))
        ledger.record(result(rows[2], Outcome.REFUSED, status=404))
        ledger.record(result(rows[3], Outcome.EXHAUSTED, status=None, requests=0, sent=False))
        await ledger.end_session(RunState.FINISHED)


async def test_taken_back_rows_are_pending_and_their_outcomes_history(tmp_path: Path) -> None:
    folder = plan(tmp_path, 4)
    await called(folder)
    calls = facts(folder).calls
    async with session(folder, retake=PENDING_AGAIN, wall=lambda: 5000.0) as ledger:
        assert look(
            folder, "SELECT row, outcome, http_status, requests, session, why, taken_back_at FROM history"
        ) == [
            (2, "refused", 403, 2, 1, "retry", 5000.0),
            (3, "refused", 404, 1, 1, "retry", 5000.0),
            (4, "exhausted", None, 0, 1, "retry", 5000.0),
        ]
        assert facts(folder).outcomes[Outcome.PENDING] == 3
        assert facts(folder).calls == calls == 4
        rows = await ledger.claim(9)
    assert [(row.number, row.earlier_requests, row.maybe_sent) for row in rows] == [
        (2, 2, False), (3, 1, False), (4, 0, False),
    ]  # fmt: skip
    verify(folder)


async def test_a_row_never_sent_is_taken_back_as_often_as_wanted(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    for retake in ([], [Outcome.EXHAUSTED], [Outcome.EXHAUSTED]):
        async with session(folder, retake=frozenset(retake)) as ledger:
            (row,) = await ledger.claim(1)
            ledger.record(result(row, Outcome.EXHAUSTED, status=None, requests=0, sent=False))
    verify(folder)
    assert look(folder, "SELECT count(*) FROM history") == [(2,)]
    assert look(folder, "SELECT * FROM carried") == []


async def test_evidence_is_taken_back_of_its_own_session_and_status_alone(tmp_path: Path) -> None:
    folder = plan(tmp_path, 6)
    await called(folder)
    async with session(folder) as ledger:
        fifth, sixth = await ledger.claim(2)
        ledger.record(result(fifth, Outcome.REFUSED, status=403))
        ledger.record(result(sixth, Outcome.REFUSED, status=404))
        await ledger.flush()
        ledger.take_back(PENDING_AGAIN, http_status=401, why="halt")
        ledger.take_back(frozenset(), why="nothing")
        await ledger.flush()
        assert look(folder, "SELECT * FROM history") == []
        ledger.take_back(PENDING_AGAIN, http_status=403, why="halt")
    assert look(folder, "SELECT row FROM outcomes ORDER BY row") == [(1,), (2,), (3,), (4,), (6,)]


@pytest.mark.parametrize("broken", ["sessions", "history"])
async def test_rows_go_again_with_the_session_that_says_why_or_not_at_all(
    tmp_path: Path, broken: str
) -> None:
    """Killed in between, a finished run would have pending rows and no session to tell of them."""
    folder = plan(tmp_path, 4)
    await called(folder)
    tamper(folder, f"CREATE TRIGGER no BEFORE INSERT ON {broken} BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(LedgerError):
        async with session(folder, retake=PENDING_AGAIN):
            pytest.fail("it began")
    known = facts(folder)
    assert (known.state, known.outcomes[Outcome.PENDING], len(known.sessions)) == (RunState.FINISHED, 0, 1)
    assert look(folder, "SELECT * FROM history") == []
    tamper(folder, "DROP TRIGGER no")
    async with session(folder, retake=PENDING_AGAIN):
        known = facts(folder)
        assert (known.outcomes[Outcome.PENDING], len(known.sessions)) == (3, 2)


async def test_a_maybe_stays_a_maybe_when_it_is_taken_back(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    async with session(folder) as ledger:
        await ledger.claim(1)
    async with session(folder) as ledger:
        ledger.record(result((await ledger.claim(1))[0], Outcome.REFUSED, status=403))
    async with session(folder, retake=PENDING_AGAIN) as ledger:
        (row,) = await ledger.claim(1)
    assert row.maybe_sent
    assert row.earlier_requests == 1


async def test_what_is_taken_back_goes_again_in_the_next_session_after_others(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    async with session(folder) as ledger:
        first, second = await ledger.claim(2)
        ledger.record(result(first, Outcome.REFUSED, status=403, code="forbidden"))
        ledger.take_back(PENDING_AGAIN, why="halt")
        ledger.give_back([unfinished(second)])
        assert await ledger.claim(9) == []
        assert not await ledger.more()
    verify(folder)
    (kept, *_) = report_rows(folder)
    assert (kept.outcome, kept.http_status, kept.error_code) == (Outcome.PENDING, 403, "forbidden")
    now = 0.0
    async with session(folder, monotonic=lambda: now) as ledger:
        assert [row.number for row in await ledger.claim(9)] == [2, 3]
        now = 1.5
        assert [row.number for row in await ledger.claim(9)] == [1]


async def test_commands_are_recorded_with_their_moment(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    async with session(folder, wall=lambda: 7.5) as ledger:
        await ledger.note_command("rate 20/s (by ann@host)")
    assert look(folder, "SELECT applied_at, command FROM commands") == [(7.5, "rate 20/s (by ann@host)")]
