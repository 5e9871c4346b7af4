"""The asyncio edge of pacing: who may go now, and who waits for what."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Final

from worker.model import Answer, NoAnswer, Reply
from worker.pacing.adaptive import AdaptiveRate
from worker.pacing.headers import retry_after_s, server_limit
from worker.pacing.outage import Outage
from worker.pacing.plan import RatePlan
from worker.pacing.schedule import Schedule

_OK: Final = 200
_THROTTLED: Final = 429
_TRANSIENT: Final = frozenset({408, 425})
_SERVER_ERROR: Final = 500

_SHORTEST_TIMER_S: Final = 0.001
"""Event-loop timers have this grain; shorter sleeps spin."""
_COOL_DOWN_S: Final = 0.25
"""After a 429 without Retry-After; doubles within an episode."""
_LONGEST_COOL_DOWN_S: Final = 30.0
_EPISODE_S: Final = 5.0
_RAMP_FROM: Final = 0.1
_RAMP_UNLIMITED_PER_S: Final = 50.0
_RAMP_UNTIL_PER_S: Final = 10_000.0
_ADAPT_EVERY_S: Final = 0.1
_READ_EVERY: Final = 64
"""Answers between two looks for rate-limit headers while there are none: a look costs 1 µs."""


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


class AsyncPacer:
    """Rate, concurrency, cool-down and adaptation in one object; implements `worker.ports.Pacer`.

    Whoever enters waits in one line; one timer lets go whoever is due. Nothing is reserved ahead, so a
    cool-down, a pause or another rate takes effect at once.

    Args:
        plan: The rate.
        concurrency: Most calls in flight.
        clock: Monotonic seconds.
        wall: Epoch seconds, for dates in headers.
    """

    def __init__(
        self,
        plan: RatePlan,
        *,
        concurrency: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._concurrency = concurrency
        self._in_flight = 0
        self._waiting: collections.deque[asyncio.Future[bool]] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None
        self._outage = Outage()
        self._resume_at = float("-inf")
        self._cool_down_s = _COOL_DOWN_S
        self._throttled_at = float("-inf")
        self._paused = False
        self._idle_since: float | None = None
        self._idle_s = 0.0
        self._ramp: tuple[float, float] | None = None
        self._unread = 0
        self._read_every = 1
        self._closed = False
        self.set_rate(plan)

    def set_rate(self, plan: RatePlan) -> None:
        """Keep another rate from now on."""
        now = self._clock()
        self._plan = plan
        self._adaptive = AdaptiveRate(plan.ceiling_per_s, now) if plan.adaptive else None
        self._adapted_at = now
        self._schedule = Schedule(self._rate(now))
        self._pump()

    @property
    def in_outage(self) -> bool:
        """Whether the server is taken to be out."""
        return self._outage.since is not None

    @property
    def outage_since(self) -> float | None:
        """When the present outage began (monotonic seconds), or None."""
        return self._outage.since

    @property
    def paused_s(self) -> float:
        """Seconds spent in outages and operator's pauses so far."""
        return self._idle_s + (0.0 if self._idle_since is None else self._clock() - self._idle_since)

    async def enter(self) -> bool:
        """Wait for a turn. False when the pacer was closed."""
        if not self._waiting and self._may_go():
            self._in_flight += 1
            return True
        if self._closed:
            return False
        turn: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.append(turn)
        self._pump()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave(None)  # the turn came at the same moment: pass the slot on
            raise

    def leave(self, reply: Reply | None) -> None:
        """Give the slot back and learn from what came back."""
        self._in_flight -= 1
        if reply is not None:
            self._learn(reply)
        if self._waiting:
            self._pump()

    def close(self) -> None:
        """Give nobody a turn any more."""
        self._closed = True
        self._cancel_timer()
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(False)
        self._waiting.clear()

    def pause(self) -> None:
        """Let nobody go until `resume`."""
        self._paused = True
        self._count_idle(self._clock())

    def resume(self) -> None:
        """End a pause."""
        self._paused = False
        self._count_idle(self._clock())
        self._pump()

    def status(self) -> PaceStatus:
        """Return the pace at this moment."""
        now = self._clock()
        return PaceStatus(self._rate(now), self._why(now), self._in_flight)

    def _may_go(self) -> bool:
        """Take a turn if one can be had now."""
        return self._wait_s() == 0.0

    def _wait_s(self) -> float:
        """Take a turn and return 0, or return the seconds until another look (inf: an event will tell)."""
        if self._closed or self._paused or self._in_flight >= self._concurrency:
            return float("inf")
        now = self._clock()
        if self._outage.since is not None:
            wait_s = self._outage.probe_at - now
            if wait_s <= 0:
                self._outage.probing()
                return 0.0
            return wait_s
        if self._resume_at > now:
            return self._resume_at - now
        if (self._adaptive is not None or self._ramp is not None) and now - self._adapted_at > _ADAPT_EVERY_S:
            self._adapted_at = now
            self._schedule.set_rate(self._rate(now))
        return self._schedule.take(now)

    def _pump(self) -> None:
        """Let everybody go who is due, and set the timer for the next one."""
        waiting = self._waiting
        while waiting:
            if waiting[0].done():  # cancelled while it waited
                waiting.popleft()
                continue
            wait_s = self._wait_s()
            if wait_s > 0:
                self._set_timer(wait_s)
                return
            self._in_flight += 1
            waiting.popleft().set_result(True)

    def _set_timer(self, wait_s: float) -> None:
        self._cancel_timer()
        if wait_s != float("inf"):
            self._timer = self._loop.call_later(max(wait_s, _SHORTEST_TIMER_S), self._pump)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _learn(self, reply: Reply) -> None:
        now = self._clock()
        throttled = isinstance(reply, Answer) and reply.status == _THROTTLED
        if throttled:
            self._cool_down(now, retry_after_s(reply, self._wall()))
            return
        troubled = _is_trouble(reply)
        if self._outage.see(now, troubled=troubled):
            self._outage_changed(now)
        if self._adaptive is not None:
            self._adaptive.accepted()
            if troubled:
                self._adaptive.troubled(now)
            elif isinstance(reply, Answer):
                self._heed_headers(reply, now)

    def _heed_headers(self, answer: Answer, now: float) -> None:
        """Read rate-limit headers; where the first answers carry none, look at one in 64 only."""
        self._unread += 1
        if self._unread < self._read_every:
            return
        self._unread = 0
        limit = server_limit(answer.headers, self._wall())
        self._read_every = _READ_EVERY if limit is None else 1
        if limit is not None and limit.quota and limit.window_s and self._adaptive is not None:
            self._adaptive.told(limit.quota / limit.window_s, now)

    def _cool_down(self, now: float, asked_s: float) -> None:
        """Hold everybody until the tenant may be called again; `resume_at` only ever moves later (promise 5)."""
        if now > self._resume_at:  # not an answer to a call from before the present cool-down
            fresh = now - self._throttled_at > _EPISODE_S
            self._cool_down_s = _COOL_DOWN_S if fresh else min(self._cool_down_s * 2, _LONGEST_COOL_DOWN_S)
            self._throttled_at = now
        self._resume_at = max(self._resume_at, now + (asked_s or self._cool_down_s))
        if self._adaptive is not None:
            self._adaptive.throttled(now, self._resume_at)
            self._schedule.set_rate(self._rate(now))

    def _outage_changed(self, now: float) -> None:
        self._count_idle(now)
        if self._outage.since is None:
            self._ramp = (now, (self._plan.ceiling_per_s or _RAMP_UNLIMITED_PER_S / _RAMP_FROM) * _RAMP_FROM)
            self._schedule.set_rate(self._rate(now))
        self._pump()

    def _count_idle(self, now: float) -> None:
        if self._paused or self._outage.since is not None:
            self._idle_since = now if self._idle_since is None else self._idle_since
        elif self._idle_since is not None:
            self._idle_s += now - self._idle_since
            self._idle_since = None

    def _rate(self, now: float) -> float | None:
        limit = self._plan.ceiling_per_s if self._adaptive is None else self._adaptive.rate(now)
        if self._ramp is None:
            return limit
        began, first = self._ramp
        ramped = first * math.pow(2.0, now - began)
        if ramped >= (limit or _RAMP_UNTIL_PER_S):
            self._ramp = None
            return limit
        return ramped

    def _why(self, now: float) -> str:
        if self._paused:
            return "paused by the operator"
        if self._outage.since is not None:
            return f"outage for {now - self._outage.since:.0f} s, asking again from time to time"
        if self._resume_at > now:
            return f"cooling down for {self._resume_at - now:.1f} s"
        if self._ramp is not None:
            return "starting up again after an outage"
        if self._adaptive is not None and self._adaptive.found_per_s is not None:
            return "just below what the server allows"
        return "as asked for" if self._plan.ceiling_per_s is not None else "looking for the limit"


def _is_trouble(reply: Reply) -> bool:
    if isinstance(reply, NoAnswer):
        return True
    return reply.status != _OK and (reply.status >= _SERVER_ERROR or reply.status in _TRANSIENT)
