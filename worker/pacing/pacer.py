"""The asyncio edge of pacing: one line of waiters, a number of slots and one timer."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Final

from worker.model import Attempt, Decision, Outcome, Reply, Verdict
from worker.pacing.fleet import FleetRate
from worker.pacing.governor import TIMEOUT_S, Governor
from worker.pacing.plan import RatePlan

NOBODYS: Final = Attempt(0, Verdict(Decision.THROTTLED, Outcome.PENDING))
"""An attempt that was about no row: nothing is learnt of it but a refusal."""
_SHORTEST_TIMER_S: Final = 0.001
"""Event-loop timers have this grain; shorter sleeps spin."""


@dataclasses.dataclass(frozen=True, slots=True)
class PaceStatus:
    """The pace at a moment.

    Attributes:
        rate_per_s: The rate in force, or None for unlimited.
        why: Why it is that, in a few words.
        in_flight: Calls in flight.
    """

    rate_per_s: float | None
    why: str
    in_flight: int

    @property
    def text(self) -> str:
        """The pace in a line, for people."""
        rate = "unlimited" if self.rate_per_s is None else f"at most {self.rate_per_s:.4g}/s"
        return f"{rate} ({self.why}), {self.in_flight} in flight"


class AsyncPacer:
    """Rate, concurrency, cool-down and adaptation in one object; implements `worker.ports.Pacer`.

    Whoever enters waits in one line; one timer lets go whoever is due. Nothing is reserved ahead, so a
    cool-down, a pause or another rate takes effect at once.

    Args:
        rate_plan: The rate.
        concurrency: Most calls in flight.
        clock: Monotonic seconds.
        wall: Epoch seconds, for dates in headers.
        fleet: Keeps the rate instead, where others share it; it needs a `FleetLink`.
        timeout_s: When a call is given up.
    """

    def __init__(
        self,
        rate_plan: RatePlan,
        *,
        concurrency: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        fleet: FleetRate | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._governor = Governor(rate_plan, clock(), wall, fleet, timeout_s=timeout_s)
        self._concurrency = concurrency
        self._in_flight = 0
        self._waiting: collections.deque[asyncio.Future[bool]] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def enter(self) -> bool:
        """Wait for a turn. False when the pacer was closed."""
        if self._closed:
            return False
        if not self._waiting and self._in_flight < self._room() and not self._governor.take(self._clock()):
            self._in_flight += 1
            return True
        turn: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.append(turn)
        if self._timer is None:
            self._let_go()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave(None)  # the turn came at the same moment: pass the slot on
            raise

    def leave(self, reply: Reply | None, attempt: Attempt | None = None) -> bool:
        """Give the slot back and learn from what came back; returns whether that is taken for a refusal."""
        self._in_flight -= 1
        refused = False
        if reply is not None:
            refused = self._learn(reply, attempt or NOBODYS)
        elif not self._in_flight:
            self._governor.lost(self._clock())
        if self._waiting and self._timer is None:  # a timer that is set can at most be early
            self._let_go()
        return refused

    def _learn(self, reply: Reply, attempt: Attempt) -> bool:
        governor, now, alone = self._governor, self._clock(), not self._in_flight
        row, verdict = attempt.row, attempt.verdict
        is_final = verdict.decision is Decision.FINAL or verdict.decision is Decision.HALT
        refused = governor.learn(
            reply,
            now,
            alone=alone,
            row=row,
            took_s=attempt.took_s,
            answered=is_final,
            sick=attempt.sick,
        )
        if not row:
            if alone:
                governor.lost(now)
        elif is_final:
            governor.hear(now)
        elif not refused:
            governor.see_trouble(
                now,
                row,
                _cause(verdict),
                pending=attempt.pending,
                foreign=verdict.foreign,
                alone=alone,
            )
        elif alone:
            governor.lost(now)
        return refused

    def pass_on(self) -> None:
        """Give the turn of an `enter` that has just returned to the next in line, with its slot."""
        self._governor.put_back()
        self.leave(None)
        self._let_go()

    def close(self) -> None:
        """Give nobody a turn any more."""
        self._closed = True
        self._stop_timer()
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(False)
        self._waiting.clear()

    def reopen(self) -> None:
        """Give turns again after `close`, to another session; what was learnt still counts."""
        self._closed = False

    def pause(self) -> None:
        """Let nobody go until `resume`."""
        self._governor.pause(self._clock(), paused=True)

    def resume(self) -> None:
        """End a pause."""
        self._governor.pause(self._clock(), paused=False)
        self._let_go()

    def set_rate(self, rate_plan: RatePlan) -> None:
        """Keep another rate from now on."""
        self._governor.set_rate(rate_plan, self._clock())
        self._let_go()

    def hold(self, cool_down_s: float) -> None:
        """Go on with a cool-down that another session began, and that lasts so much longer."""
        self._governor.hold(self._clock(), cool_down_s)

    def hear_of(self, answered: int) -> None:
        """Count rows that got a final answer from other workers of the fleet: the tenant answers."""
        self._governor.hear(self._clock(), elsewhere=answered)
        self._let_go()

    def look(self) -> None:
        """Let everybody go who may by now: something has changed."""
        self._let_go()

    @property
    def line(self) -> int:
        """How many calls could go now if the rate allowed it."""
        free = min(len(self._waiting), self._room() - self._in_flight)
        return self._governor.demand(self._clock(), free)

    @property
    def cool_down_s(self) -> float:
        """Seconds that the present cool-down still lasts, 0 where there is none."""
        return self._governor.cool_down_s(self._clock())

    @property
    def in_outage(self) -> bool:
        """Whether the server is taken to be out."""
        return self._governor.outage.since is not None

    @property
    def answered(self) -> int:
        """How many rows have got a final answer, as far as is known."""
        return self._governor.outage.answered

    @property
    def troubled(self) -> int:
        """Attempts that met trouble since the last final answer."""
        return self._governor.outage.attempts

    @property
    def trouble(self) -> str:
        """What attempts met since the last final answer, the commonest first, with counts; empty if nothing."""
        return self._governor.outage.causes

    @property
    def silent_s(self) -> float:
        """For how long no row has got a final answer; pauses, and waits that the server named, do not count."""
        return self._governor.silence.silent_s(self._clock())

    def was_out(self, answered: int) -> bool:
        """Return whether the silence that followed so many final answers was, or is, an outage."""
        return answered in self._governor.outage.silences

    def slack_s(self) -> float:
        """Return how many seconds after its turn a call may go and still be in its place: those of a slot.

        In an outage any: its probes go one by one, and what became of each has to be known.
        """
        rate_per_s = None if self.in_outage else self._governor.rate_per_s(self._clock())
        return math.inf if rate_per_s is None else 1.0 / rate_per_s

    def status(self) -> PaceStatus:
        """Return the pace at this moment."""
        now = self._clock()
        return PaceStatus(self._governor.rate_per_s(now), self._governor.why(now), self._in_flight)

    def _room(self) -> int:
        """Return how many calls may be in flight now."""
        most = self._governor.most_in_flight(self._clock())
        return self._concurrency if most is None else min(self._concurrency, most)

    def _let_go(self) -> None:
        """Let everybody go who is due, and set the timer for the next one."""
        self._stop_timer()
        waiting = self._waiting
        while waiting and self._in_flight < self._room():
            if waiting[0].done():  # cancelled while it waited
                waiting.popleft()
                continue
            wait_s = self._governor.take(self._clock())
            if wait_s > 0.0:
                if wait_s != math.inf:
                    self._timer = self._loop.call_later(max(wait_s, _SHORTEST_TIMER_S), self._let_go)
                return
            self._in_flight += 1
            waiting.popleft().set_result(True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _cause(verdict: Verdict) -> str:
    """Return what an attempt met, in few words."""
    status = "" if verdict.status is None else f"{verdict.status} "
    message = f": {verdict.error_message}" if verdict.error_message else ""
    return f"{status}{verdict.error_code}{message}"
