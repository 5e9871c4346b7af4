"""The line of those who wait for a turn: order, slots, and turns that nobody takes."""

from __future__ import annotations

import asyncio
import math

import pytest
from multidict import CIMultiDict

from worker.model import Answer, Attempt, Decision, Outcome, Verdict
from worker.pacing.pacer import AsyncPacer
from worker.pacing.plan import RatePlan

UNLIMITED = RatePlan(None, adaptive=False)
OK = Answer(200, CIMultiDict(), b"")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_are_in_flight_than_there_are_slots_and_the_line_keeps_its_order() -> None:
    pacer = AsyncPacer(UNLIMITED, concurrency=2)
    went: list[int] = []

    async def call(number: int) -> None:
        assert await pacer.enter()
        went.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(call(number))
        await _settle()
        assert went == [0, 1]
        assert pacer.status().in_flight == 2
        for _ in range(3):
            pacer.leave(OK)
        await _settle()
        assert went == [0, 1, 2, 3, 4]
    assert pacer.status().in_flight == 2


async def test_a_turn_comes_when_its_slot_is_due() -> None:
    clock = Clock()
    pacer = AsyncPacer(RatePlan(100.0, adaptive=True), concurrency=10, clock=clock)
    assert await pacer.enter()
    turn = asyncio.ensure_future(pacer.enter())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(turn), 0.03)  # the clock stands still: it is never due
    clock.now += 0.01
    assert await asyncio.wait_for(turn, 5.0)


async def test_who_stops_waiting_takes_no_turn_from_the_others() -> None:
    pacer = AsyncPacer(UNLIMITED, concurrency=1)
    assert await pacer.enter()
    first, second = (asyncio.ensure_future(pacer.enter()) for _ in "ab")
    await _settle()
    first.cancel()
    await _settle()
    pacer.leave(OK)
    assert await asyncio.wait_for(second, 5.0)
    assert pacer.status().in_flight == 1


async def test_a_turn_that_comes_at_the_moment_of_giving_up_is_passed_on() -> None:
    pacer = AsyncPacer(UNLIMITED, concurrency=1)
    assert await pacer.enter()
    first, second = (asyncio.ensure_future(pacer.enter()) for _ in "ab")
    await _settle()
    pacer.leave(OK)  # the first has its turn, and does not know it yet
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await asyncio.wait_for(second, 5.0)
    assert pacer.status().in_flight == 1


async def test_a_turn_that_is_passed_on_goes_to_the_next_at_once_and_once() -> None:
    pacer = AsyncPacer(RatePlan(10.0, adaptive=True), concurrency=5, clock=Clock())
    assert await pacer.enter()
    turns = [asyncio.ensure_future(pacer.enter()) for _ in "ab"]
    await _settle()
    pacer.pass_on()
    await _settle()
    assert [turn.done() for turn in turns] == [True, False]
    pacer.leave(OK)
    await _settle()
    assert not turns[1].done()
    assert pacer.status().in_flight == 0


async def test_a_pause_lets_nobody_go_until_it_ends() -> None:
    pacer = AsyncPacer(UNLIMITED, concurrency=5)
    pacer.pause()
    turns = [asyncio.ensure_future(pacer.enter()) for _ in range(3)]
    await _settle()
    assert not any(turn.done() for turn in turns)
    pacer.resume()
    assert await asyncio.wait_for(asyncio.gather(*turns), 5.0) == [True] * 3


async def test_another_rate_reaches_those_who_wait_already() -> None:
    pacer = AsyncPacer(RatePlan(0.001, adaptive=True), concurrency=5)
    assert await pacer.enter()
    turn = asyncio.ensure_future(pacer.enter())
    await _settle()
    pacer.set_rate(UNLIMITED)
    assert await asyncio.wait_for(turn, 5.0)


@pytest.mark.parametrize(("per_s", "slack_s"), [(10.0, 0.1), (0.1, 10.0), (1_000.0, 0.001), (None, math.inf)])
async def test_a_call_is_in_its_place_for_as_long_as_a_slot_lasts(
    per_s: float | None, slack_s: float
) -> None:
    pacer = AsyncPacer(RatePlan(per_s, adaptive=per_s is not None), concurrency=1, clock=Clock())
    assert pacer.slack_s() == pytest.approx(slack_s)


async def test_a_closed_pacer_sends_everybody_away() -> None:
    pacer = AsyncPacer(UNLIMITED, concurrency=1)
    assert await pacer.enter()
    turn = asyncio.ensure_future(pacer.enter())
    await _settle()
    pacer.close()
    assert await turn is False
    assert await pacer.enter() is False


async def test_a_pacer_that_is_opened_again_goes_on_where_it_was() -> None:
    clock = Clock()
    pacer = AsyncPacer(RatePlan(10.0, adaptive=True), concurrency=5, clock=clock)
    assert await pacer.enter()
    pacer.leave(Answer(429, CIMultiDict({"Retry-After": "5"}), b""))
    pacer.close()
    pacer.reopen()
    turn = asyncio.ensure_future(pacer.enter())
    await _settle()
    assert not turn.done()
    assert pacer.cool_down_s == 5.0
    clock.now += 5.0
    pacer.look()
    assert await asyncio.wait_for(turn, 5.0)


BUSY = Verdict(Decision.RETRY, Outcome.EXHAUSTED, 503, "http_503", "busy")
FINE = Verdict(Decision.FINAL, Outcome.SUCCEEDED, 200)


async def _in_outage(clock: Clock) -> AsyncPacer:
    pacer = AsyncPacer(UNLIMITED, concurrency=50, clock=clock)
    clock.now += 2.0
    for _ in range(20):
        assert await pacer.enter()
    for row in range(1, 21):
        pacer.leave(Answer(503, CIMultiDict(), b""), Attempt(row, BUSY, pending=100))
    assert pacer.in_outage
    assert pacer.was_out(0)
    assert (pacer.answered, pacer.troubled) == (0, 20)
    assert pacer.trouble == "20 × 503 http_503: busy"
    return pacer


async def test_an_outage_whose_probe_is_given_up_asks_again() -> None:
    clock = Clock()
    pacer = await _in_outage(clock)
    clock.now += 1.0
    assert await pacer.enter()
    turn = asyncio.ensure_future(pacer.enter())
    await _settle()
    assert not turn.done()
    pacer.leave(None)
    assert await asyncio.wait_for(turn, 5.0)
    pacer.leave(OK, Attempt(7, FINE, pending=100))
    assert not pacer.in_outage
    assert (pacer.answered, pacer.troubled, pacer.trouble) == (1, 0, "")


@pytest.mark.parametrize("reply", [OK, Answer(503, CIMultiDict(), b"")])
async def test_what_is_about_no_row_ends_no_outage_and_makes_none_worse(reply: Answer) -> None:
    clock = Clock()
    pacer = await _in_outage(clock)
    clock.now += 1.0
    assert await pacer.enter()
    pacer.leave(reply)
    assert pacer.in_outage
    assert pacer.troubled == 20
    assert await asyncio.wait_for(pacer.enter(), 5.0), "the next probe may go at once"


async def test_a_pause_does_not_count_as_silence() -> None:
    clock = Clock()
    pacer = await _in_outage(clock)
    pacer.pause()
    clock.now += 100.0
    pacer.resume()
    clock.now += 3.0
    assert pacer.silent_s == 3.0
