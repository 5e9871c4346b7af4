"""Messages become rows and rows' outcomes become results, against the real broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Never

import pytest
from brokers.queues import OpenQueue, bodies, depth_when_back
from brokers.servers import Server

from worker import logs
from worker.errors import BrokerError
from worker.guard import Halt, HaltKind
from worker.model import Decision, Depth, Outcome, Result, Row, Unfinished, Verdict
from worker.ports import WorkQueue
from worker.queueing import (
    Desk,
    Finder,
    Heading,
    HourlyCap,
    OwnRowCount,
    ParsedRow,
    Terms,
    compose,
    decode_findings,
    decode_letter,
)


@contextlib.asynccontextmanager
async def desk_on(
    queue: WorkQueue,
    *,
    most_rows: int = 1000,
    most_claims: int | None = None,
    rows_each: int | None = None,
    key: bytes | None = None,
    grace_s: float = 10.0,
    protected: frozenset[str] = frozenset(),
    until_empty: bool = True,
    cap: HourlyCap | None = None,
) -> AsyncIterator[Desk]:
    terms = Terms(
        finder=Finder("w", "t", "unverify-email"),
        until_empty=until_empty,
        most_rows=most_rows,
        most_claims=most_claims,
        rows_each=rows_each,
        key=key,
        grace_s=grace_s,
    )
    async with Desk(queue, terms, logs.to_stderr(key=""), protected=protected, cap=cap) as desk:
        yield desk


def message(*indexes: int, batch_id: str | None = None) -> bytes:
    rows = [ParsedRow(index=index, user_id=f"u-{index}", identifier_id=f"i-{index}") for index in indexes]
    return compose(rows, Heading(batch_id))


def result(row: Row, outcome: Outcome = Outcome.SUCCEEDED, status: int = 200) -> Result:
    return Result(row, Verdict(Decision.FINAL, outcome, status), 1, True, 1.0, 2.0)


async def all_rows(desk: Desk) -> list[Row]:
    rows: list[Row] = []
    while claimed := await desk.claim(10):
        rows += claimed
        for row in claimed:
            desk.record(result(row))
    return rows


async def found(queue: WorkQueue) -> list[tuple[str, int, str]]:
    return sorted(
        (each.batch, each.index, str(each.outcome))
        for body in await bodies(queue.results())
        for each in decode_findings(body)
    )


async def test_rows_come_out_and_results_go_in(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, 2, batch_id="b"), message(9, batch_id="b")])
    async with desk_on(queue) as desk:
        assert [row.user_id for row in await all_rows(desk)] == ["u-0", "u-1", "u-2", "u-9"]
    assert await found(queue) == [("b", index, "succeeded") for index in (0, 1, 2, 9)]
    assert await queue.depth() == Depth(0, 0)


async def test_two_copies_of_a_message_in_one_hand_are_called_once(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, batch_id="b"), message(0, 1, 2, batch_id="b")])
    async with desk_on(queue) as desk:
        taken: list[Row] = []
        while len(taken) < 3:
            taken += await desk.claim(9)
        assert [row.user_id for row in taken] == ["u-0", "u-1", "u-2"]
        for row in taken:
            desk.record(result(row))
        assert await desk.claim(1) == []
    assert await found(queue) == [("b", index, "succeeded") for index in (0, 1, 2)]
    assert await queue.depth() == Depth(0, 0)


async def test_what_is_not_called_as_it_is_known_is_told_of(
    queue_of: OpenQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    """A producer that does not number the rows of a batch has no other way to find out."""
    queue = queue_of("worker")
    await queue.publish([message(0, 1, batch_id="b"), message(1, 2, batch_id="b")])
    async with desk_on(queue) as desk:
        rows: list[Row] = []
        while len(rows) < 3:
            rows += await desk.claim(9)
        for row in rows:
            desk.record(result(row))
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(each["event"], each["batch"], each["rows"]) for each in told] == [("known_already", "b", 1)]


async def test_poison_goes_to_the_dead_letters_with_its_reason(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"{nonsense", message(0, batch_id="b")])
    async with desk_on(queue) as desk:
        assert len(await all_rows(desk)) == 1
        assert desk.buried == 1
    [letter] = [decode_letter(body) for body in await bodies(queue.dead)]
    assert (letter.body, letter.times) == ("{nonsense", 1)
    assert "Invalid JSON" in letter.reason


async def test_a_message_that_kills_its_workers_is_buried(queue_of: OpenQueue) -> None:
    await queue_of("producer").publish([message(0, batch_id="b")])
    for number in range(5):
        queue = queue_of(f"killed-{number}")
        while not await queue.receive(1, 0.05):
            pass
        await queue.aclose()
    last = queue_of("worker")
    async with desk_on(last) as desk:
        assert await desk.claim(10) == []
    [letter] = [decode_letter(body) for body in await bodies(last.dead)]
    assert "delivered 6 times" in letter.reason


async def test_the_protected_are_not_allowed(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, batch_id="b")])
    async with desk_on(queue, protected=frozenset({"u-1"})) as desk:
        rows = await desk.claim(10)
        assert [desk.allows(row) for row in rows] == [True, False]


async def test_evidence_of_a_wrong_worker_is_not_recorded(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, 2, batch_id="b")])
    halt = Halt(HaltKind.STREAK, "all 404", evidence=frozenset({Outcome.NOT_FOUND}), evidence_status=404)
    async with desk_on(queue) as desk:
        first, second, third = await desk.claim(3)
        desk.record(result(first, Outcome.NOT_FOUND, 404))
        desk.record(result(second, Outcome.REFUSED, 400))
        desk.take_back(halt)
        desk.give_back([Unfinished(third, 0)])
    assert await found(queue) == [("b", 1, "refused")]
    async with desk_on(queue_of("another")) as desk:
        assert {"u-0", "u-2"} <= {row.user_id for row in await all_rows(desk)}


@pytest.mark.parametrize(("count", "most_rows"), [(6, 4), (5, 2)])
async def test_failures_that_fill_the_desk_are_recorded_and_more_is_taken(
    queue_of: OpenQueue, count: int, most_rows: int
) -> None:
    queue = queue_of("worker")
    await queue.publish([message(number, batch_id="b") for number in range(count)])
    async with asyncio.timeout(20), desk_on(queue, most_rows=most_rows) as desk:
        while rows := await desk.claim(10):
            for row in rows:
                desk.record(result(row, Outcome.REFUSED, 400))
    assert await found(queue) == [("b", index, "refused") for index in range(count)]


async def test_a_failure_after_a_success_is_recorded_at_once(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, batch_id="b")])
    async with desk_on(queue) as desk:
        first, second = await desk.claim(2)
        desk.record(result(first, Outcome.NOT_FOUND, 404))
        desk.record(result(second))
        await desk.flush()
        assert await found(queue) == [("b", 0, "not_found"), ("b", 1, "succeeded")]


async def test_after_a_success_a_streak_is_kept_back_until_it_is_known_what_it_shows(
    queue_of: OpenQueue,
) -> None:
    queue = queue_of("worker")
    await queue.publish([message(*range(6), batch_id="b")])
    halt = Halt(HaltKind.STREAK, "403", evidence=frozenset({Outcome.REFUSED}), evidence_status=403)
    async with desk_on(queue) as desk:
        rows = await desk.claim(6)
        desk.record(result(rows[0]))
        desk.record(result(rows[1], Outcome.REFUSED, 403))
        await desk.flush()
        assert await found(queue) == [("b", 0, "succeeded")]
        desk.record(result(rows[2], Outcome.REFUSED, 422))  # so the one before was that row's own
        for row in rows[3:]:
            desk.record(result(row, Outcome.REFUSED, 403))
        assert desk.take_back(halt)
    assert await found(queue) == [("b", 1, "refused"), ("b", 2, "refused")]
    async with desk_on(queue_of("another")) as desk:
        assert {"u-3", "u-4", "u-5"} <= {row.user_id for row in await all_rows(desk)}


class Hour:
    """A clock, and a count that has room for some rows."""

    def __init__(self, room: int) -> None:
        self._room = room
        self.now = 0.0
        self.is_full = asyncio.Event()

    async def count(self, rows: int, _most: int) -> float:
        self._room -= rows
        if self._room >= 0:
            return 0.0
        self.is_full.set()
        return 3600.0


async def test_failures_are_recorded_while_the_hour_has_no_room_for_more_rows(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, batch_id="b"), message(2, 3, batch_id="b")])
    hour = Hour(2)
    cap = HourlyCap(2, hour, logs.to_stderr(key=""), clock=lambda: hour.now)
    async with asyncio.timeout(30), desk_on(queue, cap=cap, until_empty=False) as desk:
        taken = await desk.claim(2)
        waiting = asyncio.create_task(desk.claim(2))
        await hour.is_full.wait()
        hour.now = 3599.9  # it is looked at often from now on, and not asked again
        for row in taken:
            desk.record(result(row, Outcome.REFUSED, 409))
        while not (await queue.results().depth()).waiting:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        desk.close()
        assert await waiting == []


async def test_a_probe_counts_the_row_that_it_tries_and_not_its_message(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(*range(9), batch_id="b")])
    count = OwnRowCount(lambda: 90.0)
    cap = HourlyCap(10, count, logs.to_stderr(key=""))
    for _ in range(3):
        async with desk_on(queue, most_claims=1, cap=cap) as desk:
            [row] = await desk.claim(5)
            desk.give_back([Unfinished(row, 0)])
    assert await count.count(7, 10) == 0.0
    assert await count.count(1, 10) > 0.0


async def test_no_more_rows_at_hand_than_allowed(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(number, batch_id="b") for number in range(10)])
    async with desk_on(queue, most_rows=4) as desk:
        assert len(await desk.claim(10)) == 4
        assert await queue.depth() == Depth(waiting=6, taken=4)
        waiting = asyncio.create_task(desk.claim(10))
        await asyncio.sleep(0)
        desk.close()
        assert await waiting == []


async def test_messages_are_taken_by_their_rows_and_what_is_beyond_is_given_back(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, batch_id="b"), *(message(*range(9), batch_id=f"b{n}") for n in range(4))])
    async with desk_on(queue, most_rows=10) as desk:
        taken = await desk.claim(10)
        while len(taken) < 10:
            taken += await desk.claim(10 - len(taken))
        depth = await queue.depth()
        assert (depth.waiting, depth.taken) == (3, 2), (
            "it holds one row and nine, and not what came with these"
        )
        for row in taken:
            desk.record(result(row))
        await all_rows(desk)
    assert len(await found(queue)) == 37


@pytest.mark.kills_broker
async def test_outcomes_outlive_a_broker_that_is_lost_for_a_while(
    queue_of: OpenQueue, broker: Server
) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, 1, batch_id="b")])
    async with desk_on(queue) as desk:
        first, second = await desk.claim(2)
        broker.kill()
        desk.record(result(first))
        await trouble_of(desk)
        desk.record(result(second))
        broker.start()
        await desk.flush()
    assert await found(queue) == [("b", 0, "succeeded"), ("b", 1, "succeeded")]


@pytest.mark.kills_broker
async def test_a_desk_that_is_closed_while_the_broker_is_lost_ends_in_its_grace(
    queue_of: OpenQueue, broker: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = queue_of("worker")
    await queue.publish([message(0, batch_id="b")])
    try:
        async with desk_on(queue, grace_s=0.2) as desk:
            [row] = await desk.claim(1)
            broker.kill()
            desk.record(result(row))
        events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
        assert "not_recorded" in events
        assert desk.unrecorded == 1
    finally:
        broker.start()
    await depth_when_back(queue, 1)  # it goes to another


@pytest.mark.kills_broker
async def test_a_desk_that_waits_for_a_lost_broker_can_be_closed(queue_of: OpenQueue, broker: Server) -> None:
    try:
        async with desk_on(queue_of("worker"), grace_s=0.0) as desk:
            broker.kill()
            waiting = asyncio.create_task(desk.claim(1))
            await trouble_of(desk)
            desk.close()
            assert await waiting == []
    finally:
        broker.start()


async def test_messages_that_cannot_be_looked_up_wait_no_longer_than_the_grace(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(_: object) -> Never:
        raise BrokerError("lost")

    queue = queue_of("worker")
    await queue.publish([message(0, batch_id="b")])
    monkeypatch.setattr(queue, "known", lost)
    async with desk_on(queue, grace_s=0.2) as desk:
        waiting = asyncio.create_task(desk.claim(1))
        await trouble_of(desk)
        desk.close()
        assert await waiting == []
    assert await queue.depth() == Depth(waiting=0, taken=1)  # it goes to another after its lease


async def test_messages_that_cannot_be_looked_up_stay_ours_meanwhile(
    queue_of: OpenQueue, broker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(_: object) -> Never:
        raise BrokerError("lost")

    queue, other = queue_of("worker"), queue_of("other")
    await queue.publish([message(0, batch_id="b")])
    async with desk_on(queue) as desk:
        with monkeypatch.context() as patch:
            patch.setattr(queue, "known", lost)
            claiming = asyncio.create_task(desk.claim(1))
            await trouble_of(desk)
            until = time.monotonic() + 2 * broker.lease_s
            while time.monotonic() < until:
                assert list(await other.receive(1, broker.lease_s / 8)) == []
        [row] = await claiming
        desk.record(result(row))
    assert await queue.depth() == Depth(0, 0)


async def trouble_of(desk: Desk) -> None:
    """Return once the desk has found its broker gone."""
    while not desk.trouble:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
