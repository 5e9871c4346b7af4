"""Rows that wait in the ledger to go again: in no memory, over sessions, and never for longer than they should."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from unit.ledger.ledger_staging import look, plan, result, session

from worker.ledger import RunLedger, report_rows, verify
from worker.model import Effort, Outcome, Owed, Row, Unfinished

FAILED = Effort(
    tries=3,
    attempts=2,
    charged_s=4.5,
    refusals=1,
    doubtful=True,
    started_at=1234.5,
    wait_s=10.0,
    answered=7,
    owed=Owed.ATTEMPT,
    owed_s=2.5,
    free=True,
    status=503,
    error_code="http_503",
    error_message="busy",
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _fail(ledger: RunLedger, row: Row, wait_s: float = 10.0) -> None:
    effort = msgspec.structs.replace(FAILED, wait_s=wait_s)
    ledger.give_back([Unfinished(row, row.earlier_requests + 1, effort)])


async def test_a_row_that_waits_is_claimed_when_its_wait_is_over_with_all_that_is_known(
    tmp_path: Path,
) -> None:
    folder, clock = plan(tmp_path, 1), Clock()
    async with session(folder, monotonic=clock, wall=lambda: 1000.0) as ledger:
        (row,) = await ledger.claim(9)
        _fail(ledger, row)
        await ledger.flush()
        assert (ledger.pending, ledger.failed) == (1, 1)
        assert look(folder, "SELECT row FROM in_flight") == []
        clock.now += 9.9
        assert await ledger.claim(9) == []
        clock.now += 0.2
        (again,) = await ledger.claim(9)
        assert again.effort == msgspec.structs.replace(FAILED, wait_s=0.0)
        assert again.earlier_requests == 1
        ledger.record(result(again))
        await ledger.flush()
        assert (ledger.pending, ledger.failed) == (0, 0)
        assert not await ledger.more()
    verify(folder)
    assert look(folder, "SELECT * FROM carried") == []


async def test_more_waits_until_a_row_may_go(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    async with session(folder) as ledger:
        (row,) = await ledger.claim(9)
        _fail(ledger, row, wait_s=0.05)
        while not (again := await ledger.claim(9)):
            assert await ledger.more()
        assert [each.number for each in again] == [1]


async def test_more_is_over_once_the_last_row_has_its_outcome(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    async with session(folder) as ledger:
        (row,) = await ledger.claim(9)
        ended = asyncio.create_task(_is_over(ledger))
        await ledger.flush()
        assert not ended.done()
        ledger.record(result(row))
        assert await ended


async def _is_over(ledger: RunLedger) -> bool:
    """Wait until there will be no more rows; False if one comes."""
    while await ledger.more():
        if await ledger.claim(9):
            return False
    return True


async def test_closing_ends_what_waits(tmp_path: Path) -> None:
    folder = plan(tmp_path, 5)
    async with session(folder) as ledger:
        (row,) = await ledger.claim(1)
        _fail(ledger, row, wait_s=3600.0)
        await ledger.claim(9)
        more = asyncio.create_task(ledger.more())
        await ledger.flush()
        ledger.close()
        assert not await more
        assert await ledger.claim(9) == []
        assert await ledger.claim_elsewhere() is None


async def test_half_of_a_claim_are_rows_that_were_never_tried(tmp_path: Path) -> None:
    folder, clock = plan(tmp_path, 19), Clock()
    async with session(folder, monotonic=clock) as ledger:
        for row in await ledger.claim(10):
            _fail(ledger, row)
        await ledger.flush()
        clock.now += 11.0
        claimed = [row.number for row in await ledger.claim(8)]
        assert claimed == [11, 12, 13, 14, 1, 2, 3, 4]
        assert [row.number for row in await ledger.claim(30)] == [*range(15, 20), *range(5, 11)]


async def test_a_session_begins_with_others_than_those_that_failed_before(tmp_path: Path) -> None:
    folder, clock = plan(tmp_path, 4), Clock()
    async with session(folder, monotonic=clock, wall=lambda: 1000.0) as ledger:
        first, second = await ledger.claim(2)
        _fail(ledger, first, wait_s=0.0)
        _fail(ledger, second, wait_s=0.0)
    async with session(folder, monotonic=clock, wall=lambda: 1005.0) as ledger:
        assert (ledger.pending, ledger.failed) == (4, 2)
        assert [row.number for row in await ledger.claim(9)] == [3, 4]
        clock.now += 1.0
        again = await ledger.claim(9)
        assert [row.number for row in again] == [1, 2]
        kept = again[0].effort
        assert kept is not None
        assert (kept.attempts, kept.charged_s, kept.doubtful) == (2, 4.5, True), (
            "charges add up over sessions"
        )
        assert (kept.answered, kept.owed, kept.free) == (-1, Owed.NOTHING, False), (
            "evidence is of one session"
        )


async def test_no_wait_is_longer_than_five_minutes_from_a_sessions_start(tmp_path: Path) -> None:
    """Whatever the wall clock says: this one was set back by two days meanwhile."""
    folder, clock = plan(tmp_path, 1), Clock()
    async with session(folder, monotonic=clock, wall=lambda: 200_000.0) as ledger:
        _fail(ledger, (await ledger.claim(1))[0], wait_s=300.0)
    async with session(folder, monotonic=clock, wall=lambda: 30_000.0) as ledger:
        clock.now += 299.0
        assert await ledger.claim(9) == []
        clock.now += 2.0
        assert [row.number for row in await ledger.claim(9)] == [1]


async def test_the_wall_clock_moves_no_wait_while_a_session_works(tmp_path: Path) -> None:
    folder, clock, wall = plan(tmp_path, 1), Clock(), Clock()
    async with session(folder, monotonic=clock, wall=wall) as ledger:
        _fail(ledger, (await ledger.claim(1))[0], wait_s=5.0)
        await ledger.flush()
        wall.now += 3600.0
        assert await ledger.claim(9) == []
        wall.now -= 7200.0
        clock.now += 5.1
        assert [row.number for row in await ledger.claim(9)] == [1]


async def test_a_row_in_flight_that_waited_before_may_have_been_sent_when_it_is_killed(
    tmp_path: Path,
) -> None:
    folder, clock = plan(tmp_path, 1), Clock()
    async with session(folder, monotonic=clock) as ledger:
        _fail(ledger, (await ledger.claim(1))[0], wait_s=0.0)
        assert len(await ledger.claim(1)) == 1
    (pending,) = report_rows(folder)
    assert (pending.outcome, pending.sent, pending.requests) == (Outcome.PENDING, "maybe", 1)
    assert (pending.http_status, pending.error_code, pending.error_message) == (503, "http_503", "busy")
    async with session(folder, monotonic=clock) as ledger:
        clock.now += 1.0
        (row,) = await ledger.claim(1)
    assert (row.maybe_sent, row.earlier_requests) == (True, 1)


async def test_retrying_sets_what_was_charged_to_nothing_and_keeps_the_last_error(tmp_path: Path) -> None:
    folder, clock = plan(tmp_path, 1), Clock()
    async with session(folder, monotonic=clock) as ledger:
        _fail(ledger, (await ledger.claim(1))[0], wait_s=0.0)
        (row,) = await ledger.claim(1)
        ledger.record(result(row, Outcome.EXHAUSTED, status=503, code="http_503"))
    async with session(folder, retake=frozenset({Outcome.EXHAUSTED}), monotonic=clock) as ledger:
        (pending,) = report_rows(folder)
        assert pending.error_code == "http_503"
        (row,) = await ledger.claim(1)
        assert row.effort is None


async def test_a_few_rows_from_all_over_the_run_come_last(tmp_path: Path) -> None:
    folder = plan(tmp_path, 400)
    async with session(folder) as ledger:
        first = [row.number for row in await ledger.claim(400)]
        last = [row.number for row in await ledger.claim(400)]
        assert len(last) == 20
        assert sorted(first + last) == list(range(1, 401))
        assert {(number - 1) // 20 for number in last} == set(range(20)), "one of each part"


async def test_while_a_row_waits_those_that_come_last_are_kept(tmp_path: Path) -> None:
    folder, clock = plan(tmp_path, 40), Clock()
    async with session(folder, monotonic=clock) as ledger:
        rows = await ledger.claim(40)
        assert len(rows) == 38
        _fail(ledger, rows[-1])
        for row in rows[:-1]:
            ledger.record(result(row))
        assert await ledger.claim(9) == []
        elsewhere = await ledger.claim_elsewhere()
        assert elsewhere is not None
        ledger.record(result(elsewhere))
        assert elsewhere.number not in {row.number for row in rows}
        clock.now += 11.0
        (again,) = await ledger.claim(9)
        ledger.record(result(again))
        assert await ledger.more()
        assert len(await ledger.claim(9)) == 1, "the other one, now that no row waits"


async def test_a_row_from_elsewhere_is_one_that_is_far_off(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1000)
    async with session(folder) as ledger:
        await ledger.claim(10)
        drawn = [row.number for _ in range(40) if (row := await ledger.claim_elsewhere()) is not None]
        assert len(set(drawn)) == 40
        assert min(drawn) > 10
        assert max(drawn) - min(drawn) > 500
        rest = [row.number for row in await ledger.claim(2000)]
        assert not set(rest) & set(drawn)


async def test_a_protected_row_that_waits_is_excluded_when_it_comes_due(tmp_path: Path) -> None:
    folder, clock = plan(tmp_path, 1), Clock()
    async with session(folder, monotonic=clock) as ledger:
        _fail(ledger, (await ledger.claim(1))[0])
        await ledger.flush()
        await ledger.protect(frozenset({"u1"}))
        clock.now += 11.0
        assert await ledger.claim(9) == []
        assert (ledger.pending, ledger.failed) == (0, 0)
        assert not await ledger.more()
    (row,) = report_rows(folder)
    assert (row.outcome, row.requests, row.sent) == (Outcome.EXCLUDED, 1, "yes")
    verify(folder)


async def test_a_row_that_is_let_wait_while_it_is_looked_for_one_is_not_lost_to_the_session(
    tmp_path: Path,
) -> None:
    """Seen by a newcomer, one run in five: the last row broke off, and the session ended with it pending."""
    folder = plan(tmp_path, 1)
    async with session(folder, wall=lambda: 1000.0) as ledger:
        (row,) = await ledger.claim(9)
        looking = asyncio.create_task(ledger.more())
        await asyncio.sleep(0)  # it has asked the ledger by now
        _fail(ledger, row, wait_s=0.01)
        await ledger.flush()
        assert await asyncio.wait_for(looking, 5)
        assert await asyncio.wait_for(ledger.more(), 5)
        assert [again.number for again in await ledger.claim(9)] == [row.number]


async def test_a_closed_ledger_lets_nobody_wait_who_comes_late(tmp_path: Path) -> None:
    """A stop while a claim was on its way to the disk: the claim found nothing, and waited for ever."""
    folder = plan(tmp_path, 3)
    async with session(folder) as ledger:
        assert len(await ledger.claim(2)) == 2, "rows that are out, and given back only once nobody claims"
        ledger.close()
        assert await ledger.claim(1) == []
        async with asyncio.timeout(5):
            assert not await ledger.more()


async def test_rows_that_a_retry_leaves_alone_keep_no_row_of_it_from_being_called(tmp_path: Path) -> None:
    """It claimed nothing and was told that there was more, over and over: a processor at its limit, for ever."""
    folder = plan(tmp_path, 41)
    async with session(folder) as ledger:
        rows = [*await ledger.claim(41), *await ledger.claim(41)]
        assert len(rows) == 41
        _fail(ledger, rows[0], wait_s=0.0)
        for row in rows[1:]:
            ledger.record(result(row, Outcome.REFUSED, status=409))
    async with session(folder, retake=frozenset({Outcome.REFUSED})) as ledger:
        called = 0
        for _ in range(10):
            claimed = await ledger.claim(100)
            called += len(claimed)
            for row in claimed:
                ledger.record(result(row))
            if not claimed and not await ledger.more():
                break
        assert called == 40
        assert ledger.pending == 0
    verify(folder)
