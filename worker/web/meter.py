"""Measures calls and waits at the ports, around whatever implements them: what is not measured costs nothing."""

from __future__ import annotations

import collections
import dataclasses
import enum
import time
from collections.abc import Callable

from worker.model import Answer, Attempt, Call, Reply
from worker.ports import Pacer, Transport

Clock = Callable[[], float]


class Wait(enum.StrEnum):
    """What a row waits for."""

    LIMITER = "limiter"
    """Its turn: the rate, a slot, a cool-down, an outage."""
    SERVER = "server"
    """The answer, connecting included."""


@dataclasses.dataclass(slots=True)
class Waited:
    """How often something was waited for, and for how many seconds in all."""

    times: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more wait."""
        self.times += 1
        self.seconds += seconds


class Meter:
    """What was measured since the process began.

    Attributes:
        calls: Calls by the answer's HTTP status, or by the word for why there was no answer.
        waits: Finished waits by what was waited for, those of all rows added up.
    """

    def __init__(self) -> None:
        self.calls: collections.Counter[int | str] = collections.Counter()
        self.waits = {wait: Waited() for wait in Wait}


class MeteredTransport:
    """A transport that is measured. Implements `worker.ports.Transport`.

    Args:
        transport: What sends.
        meter: Is told of calls, and of the waits for their answers.
        clock: Monotonic seconds.
    """

    def __init__(self, transport: Transport, meter: Meter, clock: Clock = time.monotonic) -> None:
        self._transport = transport
        self._calls = meter.calls
        self._server = meter.waits[Wait.SERVER]
        self._clock = clock

    async def send(self, call: Call, *, however_late: bool = False) -> Reply | None:
        """Send `call` once and return what came back; None was not sent, and is no call."""
        began = self._clock()
        reply = await self._transport.send(call, however_late=however_late)
        self._server.add(self._clock() - began)
        if reply is not None:
            self._calls[reply.status if isinstance(reply, Answer) else reply.trouble] += 1
        return reply

    def distrust(self) -> None:
        """Use no connection again that is idle now."""
        self._transport.distrust()


class MeteredPacer:
    """A pacer that is measured. Implements `worker.ports.Pacer`.

    Args:
        pacer: What gives turns.
        meter: Is told of the waits for turns.
        clock: Monotonic seconds.
    """

    def __init__(self, pacer: Pacer, meter: Meter, clock: Clock = time.monotonic) -> None:
        self._pacer = pacer
        self._limiter = meter.waits[Wait.LIMITER]
        self._clock = clock

    async def enter(self) -> bool:
        """Wait for a turn. False when the pacer was closed."""
        began = self._clock()
        may_go = await self._pacer.enter()
        self._limiter.add(self._clock() - began)
        return may_go

    def leave(self, reply: Reply | None, attempt: Attempt | None = None) -> bool:
        """Give the slot of one `enter` back and learn from what came back."""
        return self._pacer.leave(reply, attempt)

    def pass_on(self) -> None:
        """Give the turn of an `enter` that has just returned to the next in line."""
        self._pacer.pass_on()

    def close(self) -> None:
        """Give nobody a turn any more."""
        self._pacer.close()

    @property
    def in_outage(self) -> bool:
        """Whether the server is taken to be out."""
        return self._pacer.in_outage

    @property
    def answered(self) -> int:
        """How many rows have got a final answer."""
        return self._pacer.answered

    @property
    def troubled(self) -> int:
        """Attempts that met trouble since the last final answer."""
        return self._pacer.troubled

    def was_out(self, answered: int) -> bool:
        """Return whether the silence that followed so many final answers was, or is, an outage."""
        return self._pacer.was_out(answered)
