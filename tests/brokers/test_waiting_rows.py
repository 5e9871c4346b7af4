"""Rows of a queue that have to go again: with their delivery for a minute, then with all that is known of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec
from brokers.queues import OpenQueue, bodies

from worker import logs
from worker.model import Decision, Depth, Effort, Outcome, Owed, Result, Row, Unfinished, Verdict
from worker.ports import WorkQueue
from worker.queueing import Desk, Finder, Heading, ParsedRow, Terms, compose, decode_findings, parse
from worker.queueing.waiting import STAYS_S

KEY = b"a key that signs, of some length"
FAILED = Effort(
    tries=3, attempts=2, charged_s=4.5, refusals=1, doubtful=True, wait_s=20.0, answered=7, owed=Owed.ATTEMPT,
    owed_s=2.5, status=503, error_code="http_503", error_message="busy",
)  # fmt: skip


class Clock:
    """Seconds that pass only when a test says so; `wall` is an hour and more ahead of it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 5000.0


@contextlib.asynccontextmanager
async def desk_on(queue: WorkQueue, clock: Clock, *, most_rows: int = 1000) -> AsyncIterator[Desk]:
    terms = Terms(
        finder=Finder("w", "t", "unverify-email"),
        until_empty=True,
        most_rows=most_rows,
        key=KEY,
        wall=clock.wall,
    )
    async with Desk(queue, terms, logs.to_stderr(key=""), clock=clock) as desk:
        yield desk


def _message(count: int) -> bytes:
    rows = [
        ParsedRow(index=index, user_id=f"u-{index}", identifier_id=f"i-{index}") for index in range(count)
    ]
    return compose(rows, Heading("b"), key=KEY)


def _succeed(desk: Desk, row: Row) -> None:
    desk.record(
        Result(row, Verdict(Decision.FINAL, Outcome.SUCCEEDED, 200), row.earlier_requests + 1, True, 1, 2)
    )


def _fail(desk: Desk, row: Row, effort: Effort = FAILED) -> None:
    desk.give_back([Unfinished(row, row.earlier_requests + 1, effort)])


async def test_a_row_that_waits_goes_again_from_here_with_what_is_known(queue_of: OpenQueue) -> None:
    queue, clock = queue_of("worker"), Clock()
    await queue.publish([_message(2)])
    async with desk_on(queue, clock) as desk:
        first, second = await desk.claim(9)
        _fail(desk, first)
        _succeed(desk, second)
        assert (desk.pending, desk.failed) == (1, 1)
        clock.now += 20.0
        (again,) = await desk.claim(9)
        assert (again.number, again.earlier_requests, again.effort) == (first.number, 1, FAILED)
        _succeed(desk, again)
        assert await desk.claim(9) == []
        assert (desk.pending, desk.failed) == (0, 0)
    assert await queue.depth() == Depth(0, 0)


async def test_rows_that_wait_take_no_room_from_others(queue_of: OpenQueue) -> None:
    queue, clock = queue_of("worker"), Clock()
    await queue.publish(
        [compose([ParsedRow(n, f"u-{n}", f"i-{n}")], Heading("b"), key=KEY) for n in range(6)]
    )
    async with desk_on(queue, clock, most_rows=2) as desk:
        taken: list[str] = []
        while len(taken) < 6:
            for row in await desk.claim(1):
                taken.append(row.user_id)
                _fail(desk, row)
        assert taken == [f"u-{n}" for n in range(6)]


async def test_a_row_that_waits_for_a_minute_is_given_back_with_its_message(queue_of: OpenQueue) -> None:
    """Whoever gets it next goes on where this worker was; the rows that are done are not called again."""
    queue, clock = queue_of("worker"), Clock()
    await queue.publish([_message(3)])
    async with desk_on(queue, clock) as desk:
        rows = await desk.claim(9)
        _succeed(desk, rows[0])
        for row in rows[1:]:
            _fail(desk, row, msgspec.structs.replace(FAILED, wait_s=300.0))
        clock.now += STAYS_S - 0.1
        await desk._pass_on_late()
        assert desk.pending == 2
        clock.now += 0.2
        await desk._pass_on_late()
        assert desk.pending == 0
        await desk.flush()
    assert await queue.depth() == Depth(1, 0)
    (delivery,) = await queue.receive(1, 1.0)
    parsed = parse(delivery.body, key=KEY)
    assert parsed.heading.batch_id == "b"
    assert [row.index for row in parsed.rows] == [1, 2]
    tried = parsed.rows[0].tried
    assert tried is not None
    assert (tried.requests, tried.attempts, tried.not_before) == (1, 2, 100.0 + 300.0 + 5000.0)
    await queue.give_back([delivery])
    clock.now = 350.0
    async with desk_on(queue_of("another"), clock) as desk:
        waits: list[Row] = []
        while not desk.pending:
            await desk._fetch(9)
        assert (desk.pending, desk.failed) == (2, 2)
        clock.now = 400.0
        while len(waits) < 2:
            waits += await desk.claim(9)
        effort = waits[0].effort
        assert effort is not None
        assert (effort.attempts, effort.charged_s, effort.refusals, effort.doubtful) == (2, 4.5, 1, True)
        assert (effort.answered, effort.owed) == (-1, Owed.NOTHING)
        for row in waits:
            _succeed(desk, row)
        await desk.flush()
    found = [each for body in await bodies(queue.results()) for each in decode_findings(body)]
    assert sorted((each.batch, each.index, each.requests) for each in found) == [
        ("b", 0, 1),
        ("b", 1, 2),
        ("b", 2, 2),
    ]
    assert await queue.depth() == Depth(0, 0)


async def test_a_message_goes_back_whole_only_when_nothing_of_it_is_in_the_calls(queue_of: OpenQueue) -> None:
    queue, clock = queue_of("worker"), Clock()
    await queue.publish([_message(2)])
    async with desk_on(queue, clock) as desk:
        first, second = await desk.claim(9)
        _fail(desk, first, msgspec.structs.replace(FAILED, wait_s=300.0))
        clock.now += 2 * STAYS_S
        await desk._pass_on_late()
        assert desk.pending == 2, "the other one is in the calls"
        _succeed(desk, second)
        await desk._pass_on_late()
        assert desk.pending == 0
        await desk.flush()
    assert await queue.depth() == Depth(1, 0)
