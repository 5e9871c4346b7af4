"""What is measured at the ports, and that all else is passed on."""

from __future__ import annotations

import pytest

from worker.model import HELD_UP, Answer, Attempt, Call, NoAnswer, Reply, Trouble
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

    in_outage, answered, troubled = True, 7, 8

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

    def leave(self, reply: Reply | None, attempt: Attempt | None = None) -> bool:
        self.left.append(reply)
        return attempt is not None

    def was_out(self, answered: int) -> bool:
        return answered == 3

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
    assert not pacer.leave(None)
    assert pacer.leave(None, Attempt(1, HELD_UP))
    assert slow.left == [None, None]
    pacer.pass_on()
    assert slow.passed_on
    assert (pacer.in_outage, pacer.answered, pacer.troubled) == (True, 7, 8)
    assert (pacer.was_out(3), pacer.was_out(4)) == (True, False)
    pacer.close()
    assert not await pacer.enter()
    assert meter.waits[Wait.LIMITER] == Waited(2, 3.0)
