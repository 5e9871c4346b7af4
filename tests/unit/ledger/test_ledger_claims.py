from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from unit.ledger.ledger_staging import look, plan, result, session, unfinished

from worker.errors import LedgerError
from worker.ledger import RunLedger, pending_rows, report_rows
from worker.model import Outcome, RunState

FLYING = "SELECT row FROM in_flight ORDER BY row"
DONE = "SELECT row, outcome FROM outcomes ORDER BY row"


async def test_claims_go_forward_and_end_with_nothing(tmp_path: Path) -> None:
    async with session(plan(tmp_path, 5)) as ledger:
        claimed = [[row.number for row in await ledger.claim(2)] for _ in range(4)]
    assert claimed == [[1, 2], [3, 4], [5], []]


async def test_a_claim_is_durable_before_it_is_returned(tmp_path: Path) -> None:
    folder = plan(tmp_path, 5)
    async with session(folder) as ledger:
        await ledger.claim(3)
        assert look(folder, FLYING) == [(1,), (2,), (3,)]


async def test_only_rows_to_call_are_claimed(tmp_path: Path) -> None:
    folder = plan(tmp_path, 5, protected=["u2", "i4"])
    async with session(folder) as ledger:
        assert [row.number for row in await ledger.claim(9)] == [1, 3, 5]


async def test_the_list_that_grew_excludes_at_the_claim(tmp_path: Path) -> None:
    folder = plan(tmp_path, 6)
    told: Counter[Outcome] = Counter()
    async with session(folder) as ledger:
        ledger.on_commit = told.update
        await ledger.claim(1)
        await ledger.protect(frozenset({"u2", "u3", "i5"}))
        assert look(folder, "SELECT id FROM protected ORDER BY id") == [("i5",), ("u2",), ("u3",)]
        assert [row.number for row in await ledger.claim(2)] == [4]  # the block 2, 3 was all excluded
        assert [row.number for row in await ledger.claim(2)] == [6]
        assert await ledger.claim(2) == []
        assert look(folder, DONE) == [(2, "excluded"), (3, "excluded"), (5, "excluded")]
        assert told == {Outcome.EXCLUDED: 3}


async def test_the_list_is_kept_for_later_sessions(tmp_path: Path) -> None:
    folder = plan(tmp_path, 2)
    async with session(folder) as ledger:
        await ledger.protect(frozenset({"u1"}))
        await ledger.protect(frozenset({"u1"}))
    async with session(folder) as ledger:
        assert [row.number for row in await ledger.claim(9)] == [2]


async def test_an_outcome_is_told_only_once_another_process_can_see_it(tmp_path: Path) -> None:
    folder = plan(tmp_path, 4)
    seen: list[tuple[dict[Outcome, int], list[tuple[int, str]]]] = []
    async with session(folder) as ledger:
        ledger.on_commit = lambda counts: seen.append((dict(counts), look(folder, DONE)))
        rows = await ledger.claim(3)
        for row in rows[:2]:
            ledger.record(result(row))
        ledger.record(result(rows[2], Outcome.REFUSED, status=403))
        assert look(folder, DONE) == []
        await ledger.flush()
        assert seen == [
            (
                {Outcome.SUCCEEDED: 2, Outcome.REFUSED: 1},
                [(1, "succeeded"), (2, "succeeded"), (3, "refused")],
            )
        ]
        assert look(folder, FLYING) == []


async def test_without_a_flush_outcomes_become_durable_by_themselves(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    durable = asyncio.Event()
    async with session(folder) as ledger:
        ledger.on_commit = lambda _: durable.set()
        ledger.record(result((await ledger.claim(1))[0]))
        await asyncio.wait_for(durable.wait(), 5)
        assert look(folder, DONE) == [(1, "succeeded")]


async def test_many_results_are_handed_over_before_their_time(tmp_path: Path) -> None:
    folder = plan(tmp_path, 2000)
    groups: list[int] = []
    async with session(folder) as ledger:
        ledger.on_commit = lambda counts: groups.append(sum(counts.values()))
        rows = [*await ledger.claim(2000), *await ledger.claim(2000)]  # some from all over the run come last
        for row in rows:
            ledger.record(result(row))
        await ledger.flush()
    assert groups == [512, 512, 512, 464]


async def test_all_that_is_known_of_an_outcome_is_kept(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    async with session(folder) as ledger:
        (row,) = await ledger.claim(1)
        ledger.record(result(row, Outcome.REFUSED, status=409, requests=3, code="conflict"))
    assert look(folder, "SELECT * FROM outcomes") == [
        (1, 1, "refused", 409, "conflict", "it was conflict", 3, "yes", 0, 2000.0, 2001.0, 1, 0)
    ]


async def test_a_second_outcome_breaks_the_ledger_and_replaces_nothing(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    ledger = await RunLedger.open(folder)
    await ledger.begin_session("", {})
    first, second, third = await ledger.claim(3)
    ledger.record(result(first))
    await ledger.flush()
    ledger.record(result(second))
    ledger.record(result(first, Outcome.REFUSED))
    with pytest.raises(LedgerError, match=r"UNIQUE constraint failed: outcomes\.row"):
        await ledger.flush()
    assert look(folder, DONE) == [(1, "succeeded")]  # nothing of the group that broke
    ledger.record(result(third))
    for attempt in (
        ledger.flush,
        ledger.aclose,
        lambda: ledger.claim(1),
        lambda: ledger.end_session(RunState.FINISHED),
    ):
        with pytest.raises(LedgerError):
            await attempt()
    assert look(folder, DONE) == [(1, "succeeded")]


async def test_closing_tells_of_results_that_could_not_be_recorded(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    ledger = await RunLedger.open(folder)
    await ledger.begin_session("", {})
    (row,) = await ledger.claim(1)
    for _ in range(2):
        ledger.record(result(row))
    with pytest.raises(LedgerError):
        await ledger.aclose()
    assert look(folder, DONE) == []
    assert look(folder, FLYING) == [(1,)]


async def test_everyone_who_waits_is_told_when_it_breaks(tmp_path: Path) -> None:
    folder = plan(tmp_path, 9)
    ledger = await RunLedger.open(folder)
    await ledger.begin_session("", {})
    (row,) = await ledger.claim(1)
    for _ in range(2):
        ledger.record(result(row))
    waiting = [asyncio.ensure_future(ledger.flush()) for _ in range(3)]
    waiting += [asyncio.ensure_future(ledger.claim(1)) for _ in range(3)]
    gone = asyncio.ensure_future(ledger.claim(1))
    await asyncio.sleep(0)
    gone.cancel()  # one that no longer waits harms nobody
    told = await asyncio.wait_for(asyncio.gather(*waiting, gone, return_exceptions=True), 5)
    assert [type(each) for each in told] == [LedgerError] * 6 + [asyncio.CancelledError]
    with pytest.raises(LedgerError):
        await ledger.aclose()


@pytest.mark.parametrize(
    "lose", [Path.unlink, lambda ledger: ledger.parent.rename(ledger.parent.parent / "moved")]
)
async def test_nothing_is_claimed_or_told_once_the_ledger_is_not_where_it_was(
    tmp_path: Path, lose: Callable[[Path], object]
) -> None:
    folder = plan(tmp_path, 2)
    told: Counter[Outcome] = Counter()
    ledger = await RunLedger.open(folder)
    await ledger.begin_session("", {})
    ledger.on_commit = told.update
    (row,) = await ledger.claim(1)
    lose(folder.ledger)
    ledger.record(result(row))
    ended = await asyncio.gather(ledger.flush(), ledger.claim(1), return_exceptions=True)
    ended += await asyncio.gather(ledger.aclose(), return_exceptions=True)
    assert [type(each) for each in ended] == [LedgerError] * 3
    assert all("was moved or deleted while it was written" in str(each) for each in ended)
    assert not told


async def test_room_does_not_wait_while_all_is_durable(tmp_path: Path) -> None:
    async with session(plan(tmp_path, 1)) as ledger:
        await asyncio.wait_for(ledger.room(), 1)


async def test_room_waits_for_a_slow_commit(tmp_path: Path) -> None:
    folder = plan(tmp_path, 2)
    now = [0.0]
    slow = asyncio.Event()
    async with session(folder, monotonic=lambda: now[0]) as ledger:
        first, second = await ledger.claim(2)
        ledger.record(result(first))
        await asyncio.wait_for(ledger.room(), 1)  # young results hold nobody up
        assert look(folder, DONE) == []
        now[0] = 0.051
        ledger.on_commit = lambda _: slow.set()
        await asyncio.wait_for(ledger.room(), 5)
        assert slow.is_set()
        assert look(folder, DONE) == [(1, "succeeded")]
        ledger.record(result(second))


async def test_what_is_given_back_is_pending_with_what_is_known(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    async with session(folder) as ledger:
        first, second, _ = await ledger.claim(3)
        ledger.give_back([unfinished(first), unfinished(second, 2)])
        await ledger.flush()
        assert look(folder, FLYING) == [(3,)]
        assert look(folder, "SELECT row, requests, maybe_sent, not_before FROM carried") == [(2, 2, 0, None)]
        assert await ledger.claim(3) == []  # forward only: not again in this session
    async with session(folder) as ledger:
        rows = await ledger.claim(3)
    assert [(row.number, row.earlier_requests, row.maybe_sent) for row in rows] == [
        (1, 0, False), (2, 2, False), (3, 0, True),
    ]  # fmt: skip


async def test_rows_of_a_killed_session_may_have_been_sent(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    async with session(folder) as ledger:
        rows = await ledger.claim(2)
        ledger.record(result(rows[0]))
    assert [row.number for row in pending_rows(folder)] == [2, 3]
    async with session(folder) as ledger:
        second, third = await ledger.claim(9)
        assert (second.maybe_sent, third.maybe_sent) == (True, False)
        ledger.record(result(second))
        ledger.record(result(third))
    assert look(folder, "SELECT row, sent, resent FROM outcomes") == [
        (1, "yes", 0), (2, "yes", 1), (3, "yes", 0),
    ]  # fmt: skip
    assert look(folder, "SELECT * FROM carried") == []


async def test_a_maybe_that_was_not_sent_again_stays_a_maybe(tmp_path: Path) -> None:
    folder = plan(tmp_path, 2)
    async with session(folder) as ledger:
        await ledger.claim(2)
    async with session(folder) as ledger:
        first, second = await ledger.claim(2)
        ledger.record(result(first, Outcome.EXHAUSTED, status=None, requests=0, sent=False))
        ledger.give_back([unfinished(second)])
    assert look(folder, "SELECT row, sent, resent FROM outcomes") == [(1, "maybe", 0)]
    async with session(folder) as ledger:
        (second,) = await ledger.claim(2)
    assert second.maybe_sent


async def test_a_maybe_that_was_sent_again_stays_known_as_such_without_an_outcome(tmp_path: Path) -> None:
    """Found by a reviewer: given back after its second call, the row's report told of neither call."""
    folder = plan(tmp_path, 2)
    async with session(folder) as ledger:
        await ledger.claim(2)
    async with session(folder) as ledger:
        ledger.give_back([unfinished(row, 1) for row in await ledger.claim(2)])
        await ledger.flush()
        assert [(row.sent, row.resent) for row in report_rows(folder)] == [("yes", True)] * 2
    async with session(folder) as ledger:
        await ledger.protect(frozenset({"u1"}))
        (second,) = await ledger.claim(2)
        ledger.record(result(second, Outcome.EXHAUSTED, status=None, requests=0, sent=False))
        await ledger.flush()
    assert look(folder, "SELECT row, outcome, requests, sent, resent FROM outcomes ORDER BY row") == [
        (1, "excluded", 1, "yes", 1), (2, "exhausted", 1, "yes", 1),
    ]  # fmt: skip


async def test_earlier_requests_survive_a_kill_and_count_once(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    async with session(folder) as ledger:
        ledger.give_back([unfinished((await ledger.claim(1))[0], 3)])
    async with session(folder) as ledger:
        await ledger.claim(1)
    async with session(folder) as ledger:
        (row,) = await ledger.claim(1)
        assert (row.earlier_requests, row.maybe_sent) == (3, True)
        ledger.record(result(row, requests=2))
    assert look(folder, "SELECT requests, sent, resent FROM outcomes") == [(5, "yes", 1)]


async def test_a_protected_row_that_may_have_been_sent_says_so(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    async with session(folder) as ledger:
        await ledger.claim(1)
    async with session(folder) as ledger:
        await ledger.protect(frozenset({"u1"}))
        assert await ledger.claim(1) == []
    assert look(folder, "SELECT outcome, sent FROM outcomes") == [("excluded", "maybe")]
    assert look(folder, "SELECT * FROM carried") == []


async def test_nothing_told_after_the_group_is_lost_by_closing(tmp_path: Path) -> None:
    folder = plan(tmp_path, 700)
    told: Counter[Outcome] = Counter()

    def count(counts: Mapping[Outcome, int]) -> None:
        told.update(counts)

    async with session(folder) as ledger:
        ledger.on_commit = count
        for row in [*await ledger.claim(700), *await ledger.claim(700)]:
            ledger.record(result(row))
    assert told == {Outcome.SUCCEEDED: 700}
    assert look(folder, "SELECT count(*) FROM outcomes") == [(700,)]
    await ledger.aclose()  # again: nothing happens
