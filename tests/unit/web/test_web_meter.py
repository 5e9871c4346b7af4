"""What is measured at the ports, and that a stop cuts short what is waited for there."""

from __future__ import annotations

import asyncio

import pytest
from unit.pipeline.stand_ins import Book, Echo, Rows, Server, Turns

from worker.guard import Guard
from worker.model import Answer, Call, NoAnswer, Reply, Trouble
from worker.pipeline import Pipeline, Ports
from worker.retry import RetryLimits
from worker.web import Meter, MeteredPacer, MeteredTransport
from worker.web.meter import Wait, Waited

CALL = Call("POST", "x")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A transport and a pacer that take as long as they are told."""

    in_outage = True
    paused_s = 7.0

    def __init__(self, clock: Clock, takes_s: float, reply: Reply | None) -> None:
        self.clock, self.takes_s, self.reply = clock, takes_s, reply
        self.left: list[Reply | None] = []
        self.closed = self.distrusted = self.however_late = self.passed_on = False

    async def send(self, call: Call, *, however_late: bool = False) -> Reply | None:
        self.clock.now += self.takes_s
        self.however_late = however_late
        return self.reply

    def pass_on(self) -> None:
        self.passed_on = True

    def distrust(self) -> None:
        self.distrusted = True

    async def enter(self) -> bool:
        self.clock.now += self.takes_s
        return not self.closed

    def leave(self, reply: Reply | None) -> None:
        self.left.append(reply)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("reply", "calls"),
    [
        (Answer(200, {}, b""), {200: 2}),
        (Answer(429, {}, b""), {429: 2}),
        (NoAnswer(Trouble.TIMEOUT, "late", sent=True), {"timeout": 2}),
        (None, {}),
    ],
)
async def test_calls_are_counted_by_what_came_back(reply: Reply | None, calls: dict[int | str, int]) -> None:
    clock, meter = Clock(), Meter()
    slow = Slow(clock, 0.25, reply)
    transport = MeteredTransport(slow, meter, clock)
    for _ in range(2):
        assert await transport.send(CALL, however_late=True) is reply
    transport.distrust()
    assert slow.however_late
    assert slow.distrusted
    assert meter.calls == calls
    assert meter.waits[Wait.SERVER] == Waited(2, 0.5)
    assert meter.waits[Wait.LIMITER] == Waited()


async def test_a_turn_is_measured_and_the_rest_is_passed_on() -> None:
    clock, meter = Clock(), Meter()
    slow = Slow(clock, 1.5, None)
    pacer = MeteredPacer(slow, meter, clock)
    assert await pacer.enter()
    pacer.leave(None)
    assert slow.left == [None]
    pacer.pass_on()
    assert slow.passed_on
    assert (pacer.in_outage, pacer.paused_s) == (True, 7.0)
    pacer.close()
    assert not await pacer.enter()
    assert meter.waits[Wait.LIMITER] == Waited(2, 3.0)


async def test_a_stop_cuts_a_measured_wait_for_a_retry_short() -> None:
    meter, source, book = Meter(), Rows(3), Book()
    turns = MeteredPacer(Turns(3), meter)
    calls = MeteredTransport(Server(lambda *_: 503), meter)
    backing_off = asyncio.Barrier(4)

    async def back_off(delay_s: float) -> None:
        async with backing_off:
            await turns.back_off(delay_s)

    pipeline = Pipeline(
        Ports(source, Echo(), calls, turns, book, lambda _: 3600.0),  # each answer asks to wait for an hour
        Guard(max_failures=1.0, accept=frozenset()),
        RetryLimits(5, 10_000.0),
        concurrency=3,
        sleep=back_off,
    )
    async with asyncio.timeout(10):
        running = asyncio.create_task(pipeline.run())
        await backing_off.wait()
        for _ in range(10):  # and now each of them is in its wait
            await asyncio.sleep(0)
        pipeline.stop()
        await running
    assert meter.calls == {503: 3}
    assert meter.waits[Wait.RETRY].times == 3
    assert sorted(book.given_back) == [1, 2, 3]
