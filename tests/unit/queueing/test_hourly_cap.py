"""How many rows an hour may have, on a clock of numbers."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from structlog.testing import CapturingLogger

from worker.errors import BrokerError
from worker.queueing import HourlyCap, OwnRowCount
from worker.queueing.messages import PoisonError


class Clock:
    def __init__(self) -> None:
        self.now = 90.0

    def __call__(self) -> float:
        return self.now


class LostCount:
    """A count that cannot be asked for some times."""

    def __init__(self, times: int) -> None:
        self.times = times

    async def count(self, rows: int, most: int) -> float:
        self.times -= 1
        if self.times >= 0:
            raise BrokerError("Redis cannot be used (ConnectionError).")
        return 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> CapturingLogger:
    return CapturingLogger()


def events(said: CapturingLogger) -> list[str]:
    return [call.kwargs["event"] for call in said.calls]


async def test_no_hour_has_more_rows_than_it_may_have(clock: Clock) -> None:
    count, times = OwnRowCount(clock), []
    while clock.now < 6 * 3600:
        for rows in (7, 1):
            if await count.count(rows, 100) == 0.0:
                times += [clock.now] * rows
        clock.now += 13.0
    most = max(sum(at <= other < at + 3600 for other in times) for at in times)
    assert 90 <= most <= 100
    assert len(times) > 5 * 90  # and each hour has nearly that


async def test_it_says_when_to_ask_again(clock: Clock) -> None:
    count = OwnRowCount(clock)
    assert await count.count(10, 10) == 0.0
    wait_s = await count.count(1, 10)
    assert wait_s == 3660.0 - 30.0  # the second minute has left the hour as a whole
    clock.now += wait_s
    assert await count.count(10, 10) == 0.0


async def test_a_cap_that_is_reached_is_said_once_and_so_is_that_there_is_room_again(
    clock: Clock, said: CapturingLogger
) -> None:
    cap = HourlyCap(10, OwnRowCount(clock), structlog.wrap_logger(said, []), clock=clock)
    assert await cap.admits(8)
    for _ in range(3):
        assert not await cap.admits(3)
    assert not await cap.admits(2)  # one that would fit does not overtake
    clock.now += 3000.0
    assert not await cap.admits(3)
    clock.now += 700.0
    assert await cap.admits(3)
    assert events(said) == ["hourly_cap_reached", "hour_has_room_again"]


async def test_while_the_count_cannot_be_asked_nothing_is_admitted(
    clock: Clock, said: CapturingLogger
) -> None:
    cap = HourlyCap(10, LostCount(2), structlog.wrap_logger(said, []), clock=clock)
    for _ in range(2):
        assert not await cap.admits(1)
        clock.now += 5.0
    assert await cap.admits(1)
    assert events(said) == ["row_count_lost", "hour_has_room_again"]
    assert "Redis cannot be used" in said.calls[0].kwargs["error"]


async def test_who_waits_for_room_is_let_go_by_what_it_looks_out_for(
    clock: Clock, said: CapturingLogger
) -> None:
    cap = HourlyCap(1, OwnRowCount(clock), structlog.wrap_logger(said, []), clock=clock)
    closed = asyncio.Event()
    assert not await cap.waited(closed)
    assert await cap.admits(1)
    assert not await cap.admits(1)
    waiting = asyncio.ensure_future(cap.waited(closed))
    await asyncio.sleep(0)
    assert not waiting.done()
    closed.set()
    assert await asyncio.wait_for(waiting, 5.0)


def test_a_message_that_no_hour_has_room_for_is_poison(clock: Clock, said: CapturingLogger) -> None:
    cap = HourlyCap(10, OwnRowCount(clock), structlog.wrap_logger(said, []), clock=clock)
    cap.check(10)
    with pytest.raises(PoisonError, match="it has 11 rows, and an hour may have 10"):
        cap.check(11)
