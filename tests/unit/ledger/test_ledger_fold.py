from __future__ import annotations

from pathlib import Path

import pytest
from unit.ledger.ledger_staging import look, pair, plan, result, session, tamper, unfinished

from worker.errors import LedgerError
from worker.ledger import RunFolder, RunLedger, facts, report_rows, verify
from worker.model import InputRow, Outcome, RunState
from worker.reportable import ReportRow


async def test_a_plan_alone(tmp_path: Path) -> None:
    known = facts(plan(tmp_path, [pair(1, "u", "i"), pair(2, "u", "i"), pair(3, "p", "i")], protected=["p"]))
    assert known.state is RunState.PLANNED
    assert {outcome: count for outcome, count in known.outcomes.items() if count} == {
        Outcome.PENDING: 1, Outcome.DUPLICATE: 1, Outcome.EXCLUDED: 1,
    }  # fmt: skip
    assert set(known.outcomes) == set(Outcome)
    assert (known.rows, known.calls, known.retries, known.elapsed_s) == (3, 0, 0, 0.0)
    assert (known.operator, known.reason, known.tenant) == ("ann@host", "T-1", "acme.example")
    assert (known.header, known.planned_at, known.sessions) == (("user_id", "identifier_id"), 1000.5, ())


async def test_calls_and_retries_over_sessions(tmp_path: Path) -> None:
    folder = plan(tmp_path, 5)
    async with session(folder) as ledger:
        rows = await ledger.claim(4)
        ledger.record(result(rows[0], requests=3))
        ledger.record(result(rows[1], Outcome.EXHAUSTED, requests=0, sent=False))
        ledger.give_back([unfinished(rows[2], 2), unfinished(rows[3])])
        await ledger.flush()
        known = facts(folder)
        assert (known.calls, known.retries) == (5, 3)
    async with session(folder) as ledger:
        ledger.record(result((await ledger.claim(1))[0]))
    known = facts(folder)
    assert (known.calls, known.retries) == (6, 4)
    assert sum(known.outcomes.values()) == known.rows == 5


async def test_sessions_tell_how_they_ended(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    now = [10.0]
    async with session(folder, wall=lambda: now[0]) as ledger:
        now[0] = 14.5
        await ledger.end_session(RunState.HALTED, "the key was refused")
    known = facts(folder)
    assert (known.state, known.halt_reason, known.elapsed_s) == (RunState.HALTED, "the key was refused", 4.5)
    (only,) = known.sessions
    assert (only.number, only.started_at, only.ended_at, only.settings) == (1, 10.0, 14.5, {"rate": "25/s"})


async def test_a_clock_set_back_makes_no_negative_time(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    now = [10.0]
    async with session(folder, wall=lambda: now[0]) as ledger:
        now[0] = 4.0
        await ledger.end_session(RunState.FINISHED)
    assert facts(folder).elapsed_s == 0.0


async def test_a_session_runs_while_it_is_owned_and_was_killed_otherwise(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    with folder.lock():
        async with session(folder, wall=lambda: 1990.0) as ledger:
            ledger.record(result((await ledger.claim(1))[0]))
        assert facts(folder).state is RunState.RUNNING
    known = facts(folder)
    assert (known.state, known.halt_reason) == (RunState.INTERRUPTED, "the process was killed")
    assert known.elapsed_s == 11.0  # until its last outcome
    async with session(folder, wall=lambda: 3000.0) as ledger:
        await ledger.end_session(RunState.FINISHED)
    first, second = facts(folder).sessions
    assert (first.state, first.ended_at) == (RunState.INTERRUPTED, 2001.0)
    assert (second.state, second.ended_at) == (RunState.FINISHED, 3000.0)
    assert facts(folder).elapsed_s == 11.0


async def test_a_killed_session_without_outcomes_took_no_time(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    async with session(folder, wall=lambda: 50.0):
        pass
    async with session(folder, wall=lambda: 60.0):
        pass
    assert [each.ended_at for each in facts(folder).sessions] == [50.0, None]
    assert facts(folder).elapsed_s == 0.0


async def test_a_report_row_for_every_state(tmp_path: Path) -> None:
    rows = [
        pair(1, "u", "i"), pair(2, "u", "i"), pair(3, "p", "i"), InputRow(4, 5, "x", "", ["x"], "missing", "no id"),
        pair(5, "v", "i", "more"), pair(6, "w", "i"), pair(7, "x", "i"), pair(8, "y", "i"),
    ]  # fmt: skip
    folder = plan(tmp_path, rows, protected=["p"])
    async with session(folder) as ledger:
        first, fifth, sixth, _ = await ledger.claim(4)
        ledger.record(result(first))
        ledger.record(result(fifth, Outcome.REFUSED, status=409, requests=2, code="conflict"))
        ledger.give_back([unfinished(sixth, 2)])
    excluded = ReportRow(["p", "i"], 3, Outcome.EXCLUDED, None, "protected", "on the protected list")
    duplicate = ReportRow(["u", "i"], 2, Outcome.DUPLICATE, None, "duplicate", "the same pair as row 1")
    duplicate.duplicate_of = 1
    assert list(report_rows(folder)) == [
        ReportRow(["u", "i"], 1, Outcome.SUCCEEDED, 200, "", "", 1, 2000.0, 2001.0, "yes", False, 1, False),
        duplicate,
        excluded,
        ReportRow(["x"], 4, Outcome.INVALID, None, "missing", "no id"),
        ReportRow(
            ["v", "i", "more"], 5, Outcome.REFUSED, 409, "conflict", "it was conflict", 2, 2000.0, 2001.0,
            "yes", False, 1, False,
        ),
        ReportRow(["w", "i"], 6, Outcome.PENDING, requests=2, sent="yes"),
        ReportRow(["x", "i"], 7, Outcome.PENDING, sent="maybe"),
        ReportRow(["y", "i"], 8, Outcome.PENDING),
    ]  # fmt: skip
    async with session(folder):
        pass
    assert list(report_rows(folder))[6] == ReportRow(["x", "i"], 7, Outcome.PENDING, sent="maybe")
    verify(folder)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM rows WHERE row = 2",
        "INSERT INTO rows SELECT 9, line, user_id, identifier_id, cells, NULL, NULL, NULL, NULL FROM rows LIMIT 1",
        "UPDATE rows SET planned = 'duplicate' WHERE row = 1",
        "UPDATE outcomes SET row = 99",
        "INSERT INTO in_flight VALUES (1)",
        "INSERT INTO carried (row, requests, maybe_sent) VALUES (1, 1, 0)",
        "UPDATE meta SET value = '4' WHERE name = 'rows'",
        "UPDATE meta SET value = 'four' WHERE name = 'rows'",
        "DELETE FROM meta WHERE name = 'rows'",
        "UPDATE outcomes SET outcome = 'pending'",
        "UPDATE outcomes SET outcome = 'splendid'",
        "UPDATE rows SET planned = 'succeeded' WHERE row = 3",
        "DROP TABLE outcomes",
    ],
)
async def test_what_was_tampered_with_is_not_reported(tmp_path: Path, change: str) -> None:
    folder = plan(tmp_path, 3)
    async with session(folder) as ledger:
        ledger.record(result((await ledger.claim(1))[0]))
        await ledger.end_session(RunState.FINISHED)
    verify(folder)
    tamper(folder, change)
    with pytest.raises(LedgerError, match="run-1"):
        verify(folder)


async def test_a_report_of_nonsense_is_a_sentence(tmp_path: Path) -> None:
    folder = plan(tmp_path, [pair(1, "u", "i", "more")])
    tamper(folder, "UPDATE rows SET cells = '[1'")
    with pytest.raises(LedgerError, match="cannot be used"):
        list(report_rows(folder))


async def test_a_reader_sees_one_moment_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    reading = report_rows(folder)
    assert next(reading).outcome is Outcome.PENDING
    async with session(folder) as ledger:
        for row in await ledger.claim(3):
            ledger.record(result(row))
        await ledger.flush()
        assert [row.outcome for row in reading] == [Outcome.PENDING] * 2
        assert facts(folder).outcomes[Outcome.SUCCEEDED] == 3


async def test_a_ledger_damaged_in_the_middle_is_a_sentence(tmp_path: Path) -> None:
    folder = plan(tmp_path, 5000)
    damage(folder, 20)
    with pytest.raises(LedgerError, match="keep it as evidence"):
        list(report_rows(folder))


async def test_a_ledger_that_is_damaged_begins_no_session(tmp_path: Path) -> None:
    folder = plan(tmp_path, 5000)
    damage(folder, 20)
    ledger = await RunLedger.open(folder)
    with pytest.raises(LedgerError, match="malformed"):
        await ledger.begin_session("", {})
    await ledger.aclose()
    assert look(folder, "SELECT count(*) FROM sessions") == [(0,)]


def damage(folder: RunFolder, page: int) -> None:
    with folder.ledger.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xff" * 4096 * 3)
