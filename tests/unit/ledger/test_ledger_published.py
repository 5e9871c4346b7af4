"""Rows that are with the workers of a queue: kept over sessions, and not called by others in silence."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from unit.ledger.ledger_staging import look, plan, result, tamper, unfinished

from worker.ledger import RunFolder, RunLedger, report_rows, verify
from worker.model import Effort, Outcome, Unfinished

QUEUE = "redis://host unverify"


@contextlib.asynccontextmanager
async def session(
    folder: RunFolder, queue: str = QUEUE, retake: frozenset[Outcome] = frozenset()
) -> AsyncIterator[RunLedger]:
    async with contextlib.aclosing(await RunLedger.open(folder)) as ledger:
        await ledger.begin_session("ann@host", {}, publishes_to=queue, retake=retake)
        yield ledger


async def published(ledger: RunLedger) -> list[tuple[int, str, bool]]:
    return [(row.number, batch, row.maybe_sent) for row, batch in await ledger.published()]


async def test_what_is_published_stays_with_the_workers_over_sessions(tmp_path: Path) -> None:
    folder = plan(tmp_path, 4)
    async with session(folder) as ledger:
        await ledger.publish(await ledger.claim(2), "r.1.0")
    async with session(folder) as ledger:
        assert await published(ledger) == [(1, "r.1.0", False), (2, "r.1.0", False)]
        assert [row.number for row in await ledger.claim(9)] == [3, 4]
    assert look(folder, "SELECT value FROM meta WHERE name = 'published_to'") == [(QUEUE,)]
    assert [row.sent for row in report_rows(folder)] == ["maybe"] * 4


async def test_an_outcome_ends_it(tmp_path: Path) -> None:
    folder = plan(tmp_path, 2)
    async with session(folder) as ledger:
        rows = await ledger.claim(2)
        await ledger.publish(rows, "r.1.0")
        ledger.record(result(rows[0]))
        await ledger.flush()
        assert await published(ledger) == [(2, "r.1.0", False)]
    verify(folder)


async def test_a_row_that_was_claimed_and_not_published_comes_back(tmp_path: Path) -> None:
    folder = plan(tmp_path, 2)
    async with session(folder) as ledger:
        await ledger.publish(await ledger.claim(1), "r.1.0")
        await ledger.claim(1)
    async with session(folder) as ledger:
        assert [(row.number, row.maybe_sent) for row in await ledger.claim(9)] == [(2, True)]


async def test_who_calls_by_itself_takes_them_back_as_maybe_sent(tmp_path: Path) -> None:
    folder = plan(tmp_path, 2)
    async with session(folder) as ledger:
        await ledger.publish(await ledger.claim(1), "r.1.0")
    async with session(folder, queue="") as ledger:
        assert await published(ledger) == []
        assert [(row.number, row.maybe_sent) for row in await ledger.claim(9)] == [(1, True), (2, False)]


async def test_a_row_that_is_taken_back_is_not_with_the_workers(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    async with session(folder) as ledger:
        rows = await ledger.claim(1)
        await ledger.publish(rows, "r.1.0")
        ledger.record(result(rows[0], Outcome.EXHAUSTED, status=503))
    async with session(folder, retake=frozenset({Outcome.EXHAUSTED})) as ledger:
        assert await published(ledger) == []
        [row] = await ledger.claim(1)
        await ledger.publish([row], "r.2.0")
        await ledger.publish([row], "r.2.1")
        assert await published(ledger) == [(1, "r.2.1", False)]


async def test_a_ledger_of_version_1_is_brought_up_to_this_one(tmp_path: Path) -> None:
    folder = plan(tmp_path, 2)
    made_older(folder)
    for statement in ("DROP TABLE published", "DROP TABLE collected", "PRAGMA user_version = 1"):
        tamper(folder, statement)
    assert len(list(report_rows(folder))) == 2  # to read, it needs none of it
    async with session(folder) as ledger:
        await ledger.publish(await ledger.claim(1), "r.1.0")
        assert await published(ledger) == [(1, "r.1.0", False)]


async def test_a_ledger_of_version_2_is_read_as_it_is_and_brought_up_to_be_written(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    async with session(folder) as ledger:
        first, *_ = await ledger.claim(1)
        ledger.give_back([unfinished(first, 2)])
    made_older(folder)
    tamper(folder, "PRAGMA user_version = 2")
    assert [(row.outcome, row.requests) for row in report_rows(folder)] == [
        (Outcome.PENDING, 2), (Outcome.PENDING, 0), (Outcome.PENDING, 0),
    ]  # fmt: skip
    assert look(folder, "SELECT name FROM pragma_table_info('carried')") == [
        ("row",), ("requests",), ("maybe_sent",),
    ]  # fmt: skip
    async with session(folder) as ledger:
        assert [row.earlier_requests for row in await ledger.claim(9)] == [2, 0, 0]


def made_older(folder: RunFolder) -> None:
    """Have what is carried as versions 1 and 2 had it."""
    tamper(folder, "DROP INDEX waiting")
    for (name,) in look(folder, "SELECT name FROM pragma_table_info('carried')")[3:]:
        tamper(folder, f"ALTER TABLE carried DROP COLUMN {name}")


async def test_a_row_that_two_workers_called_says_so(tmp_path: Path) -> None:
    folder = plan(tmp_path, 4)
    async with session(folder) as ledger:
        rows = await ledger.claim(4)
        await ledger.publish(rows, "r.1.0")
        first = [result(row) for row in rows]
        for each in first:
            ledger.record(each)
        await ledger.flush()
        later = msgspec.structs.replace(first[0], started_at=first[0].started_at + 1)
        stranger = msgspec.structs.replace(
            first[2], row=msgspec.structs.replace(rows[2], user_id="another"), started_at=0.0
        )
        uncalled = msgspec.structs.replace(first[3], requests=0, started_at=0.0)
        await ledger.note_again([later, first[1], stranger, uncalled])
    assert [row.resent for row in report_rows(folder)] == [True, False, False, False]
    verify(folder)


async def test_an_outcome_of_before_a_retry_tells_nothing_of_the_one_after(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    async with session(folder) as ledger:
        rows = await ledger.claim(1)
        await ledger.publish(rows, "r.1.0")
        before = result(rows[0], Outcome.EXHAUSTED, status=503)
        ledger.record(before)
    async with session(folder, retake=frozenset({Outcome.EXHAUSTED})) as ledger:
        [row] = await ledger.claim(1)
        ledger.record(msgspec.structs.replace(result(row), started_at=before.started_at + 60))
        await ledger.flush()
        await ledger.note_again([before])
    assert [row.resent for row in report_rows(folder)] == [False]


async def test_a_row_that_waited_unsent_and_that_workers_called_is_not_called_again(tmp_path: Path) -> None:
    """It waited as nothing could be reached, went to the workers, and who published it was stopped meanwhile."""
    folder = plan(tmp_path, 2)
    async with session(folder, queue="") as ledger:
        rows = await ledger.claim(2)
        ledger.give_back([Unfinished(row, 0, Effort(tries=1, status=None)) for row in rows])
    async with session(folder) as ledger:
        await ledger.publish(await ledger.claim(9), "r.1.0")
    async with session(folder) as ledger:
        row, _ = (await ledger.published())[0]
        ledger.record(result(row))
    assert look(folder, "SELECT row FROM carried WHERE row IN (SELECT row FROM outcomes)") == []
    verify(folder)
