"""Whether a call may go now, from all there is to heed: rate, cool-down, outage, pause. Pure; clocks are passed in."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

from worker.model import Answer, Reply
from worker.pacing.adaptive import AdaptiveRate
from worker.pacing.headers import retry_after_s, server_limit
from worker.pacing.outage import Outage
from worker.pacing.plan import RatePlan
from worker.pacing.schedule import Schedule

_OK: Final = 200
_THROTTLED: Final = 429
_TRANSIENT: Final = frozenset({408, 425})
_SERVER_ERROR: Final = 500

_COOL_DOWN_S: Final = 0.2
"""After a 429 without Retry-After; doubles while nothing is accepted in between."""
_LONGEST_COOL_DOWN_S: Final = 30.0
_RAMP_FROM: Final = 0.1
_RAMP_UNLIMITED_PER_S: Final = 500.0
_RAMP_UNTIL_PER_S: Final = 10_000.0
_ADAPT_EVERY_S: Final = 0.1
_LOOKS_AT_FIRST: Final = 8
"""So many first answers are all looked at for rate-limit headers."""
_LOOK_EVERY: Final = 64
"""Answers between two looks afterwards; a look costs some microseconds."""


@dataclasses.dataclass(slots=True)
class _Ramp:
    """The way up after an outage: a rate that doubles each second."""

    began: float
    first_per_s: float

    def rate(self, now: float) -> float:
        return self.first_per_s * math.pow(2.0, min(now - self.began, 30.0))


class Governor:
    """Decides when calls may go and learns from what came back of them.

    Args:
        plan: The rate.
        now: Monotonic seconds, as everywhere below.
    """

    def __init__(self, plan: RatePlan, now: float) -> None:
        self.outage = Outage()
        self._plan = plan
        self._adaptive = AdaptiveRate(plan.ceiling_per_s, now) if plan.adaptive else None
        self._schedule = Schedule(None)
        self._ramp: _Ramp | None = None
        self._resume_at = -math.inf
        self._cool_down_s = _COOL_DOWN_S
        self._accepted_since = True
        """Whether a call was accepted after the last cool-down began."""
        self._paused = False
        self._idle_since: float | None = None
        self._idle_s = 0.0
        self._looks = _LOOKS_AT_FIRST
        self._until_look = 1
        self._adapt(now)

    def take(self, now: float) -> float:
        """Take a turn and return 0, or return the seconds until another look (inf: an event will tell)."""
        if self._paused:
            return math.inf
        if now < self._resume_at:
            return self._resume_at - now
        if self.outage.since is not None:
            return self._take_probe(now)
        if now >= self._adapt_at:
            self._adapt(now)
        return self._schedule.take(now)

    def learn(self, reply: Reply, now: float, wall: float | None, *, alone: bool) -> None:
        """Learn from what a call brought back.

        Args:
            reply: What came back.
            now: Monotonic seconds.
            wall: Epoch seconds, for dates in headers; None for the present.
            alone: Whether no other call is in flight.
        """
        if reply.__class__ is Answer:
            if reply.status == _THROTTLED:
                self._see(now, troubled=False, alone=alone)
                self._cool_down(now, retry_after_s(reply, wall))
                return
            
        

    def _take_probe(self, now: float) -> float:
        wait_s = self.outage.probe_at - now
        if wait_s > 0:
            return wait_s
        self.outage.probing()
        return 0.0
