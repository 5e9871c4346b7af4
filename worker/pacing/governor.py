"""Whether a call may go now: rate, cool-down, outage and pause in one. Pure; the clocks are passed in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Final

from worker.model import Answer, Reply
from worker.pacing.adaptive import AdaptiveRate
from worker.pacing.fleet import FleetRate
from worker.pacing.headers import LONGEST_WAIT_S, retry_after_s, server_limit
from worker.pacing.outage import Outage, SilenceClock
from worker.pacing.plan import RatePlan
from worker.pacing.schedule import Schedule

_THROTTLED: Final = 429

_COOL_DOWN_S: Final = 0.2
"""After a 429 without Retry-After; doubles while nothing is accepted in between."""
_LONGEST_COOL_DOWN_S: Final = 30.0
_RAMP_FROM: Final = 0.1
_RAMP_FROM_PER_S: Final = 1.0
"""Or from this, up to the rate: a slow one would wait ten of its own slots before it can ramp up."""
_RAMP_UNLIMITED_PER_S: Final = 500.0
_RAMP_UNTIL_PER_S: Final = 10_000.0
_USUAL_TROUBLE: Final = 0.1
"""A share of attempts in transient trouble up to which the rate stays as it is."""
_SLOWS_BY: Final = 1.5
"""Share of the rate that goes for each share in trouble beyond that."""
_SLOWEST: Final = 0.4
"""Share of the rate that is left at the brink of an outage, and beyond it where the answers before it are too old
to count, and the one that opens the outage has not come yet."""
_LONGEST_WINDOW_S: Final = 60.0
"""A quota of a longer window says nothing of a pace: a run may be over before it is used up."""
_ADAPT_EVERY_S: Final = 0.1
_LOOKS_AT_FIRST: Final = 8
"""So many first answers are all looked at for rate-limit headers."""
_LOOK_EVERY: Final = 64
"""Answers between two looks afterwards; a look costs some microseconds."""


@dataclasses.dataclass(frozen=True, slots=True)
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
        wall: Epoch seconds, for dates in headers.
        fleet: Keeps the rate instead, where others share it.
    """

    def __init__(
        self, plan: RatePlan, now: float, wall: Callable[[], float], fleet: FleetRate | None = None
    ) -> None:
        self._wall = wall
        self.outage = Outage(now)
        self.silence = SilenceClock(now)
        self._plan = plan
        self._adaptive: AdaptiveRate | FleetRate | None = fleet
        if fleet is None and plan.adaptive:
            self._adaptive = AdaptiveRate(plan.ceiling_per_s, now)
        self._schedule: Schedule | FleetRate = fleet or Schedule(None)
        self._ramp: _Ramp | None = None
        self._resume_at = -math.inf
        self._cool_down_s = _COOL_DOWN_S
        self._accepted_since = True
        """Whether a call was accepted after the last cool-down ended."""
        self._paused = False
        self._longest_reset_s = 0.0
        """Where a server names a quota and no window: the window is at least this long."""
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

    def put_back(self) -> None:
        """Take the last turn back, as no call was made: its slot is there for another."""
        self._schedule.put_back()

    def demand(self, now: float, line: int) -> int:
        """Return how many of a `line` of calls could go now, if the rate allowed it."""
        if self._paused or now < self._resume_at:
            return 0
        if self.outage.since is not None:
            return min(line, int(now >= self.outage.probe_at))
        return line

    def learn(
        self,
        reply: Reply,
        now: float,
        *,
        alone: bool,  # noqa: ARG002
        row: int = 0,  # noqa: ARG002
        took_s: float = 0.0,  # noqa: ARG002
        answered: bool | None = None,  # noqa: ARG002
        sick: bool = False,
    ) -> bool:
        """Learn from what a call brought back; return whether it is taken as a limiter's refusal.

        Args:
            reply: What came back.
            now: Monotonic seconds.
            alone: Whether no other call is in flight.
            row: The row's number.
            took_s: Seconds from the turn to the reply.
            answered: Whether the API itself gave the row a final answer; None: any 2xx to 4xx is taken for one.
            sick: Whether this row was refused again and again while others were answered: its refusals say
                nothing of the tenant.
        """
        if isinstance(reply, Answer) and reply.status == _THROTTLED:
            if sick:
                return False
            self._cool_down(now, retry_after_s(reply, self._wall()))
            return True
        if now >= self._resume_at:
            self._accepted_since = True
        if self._adaptive is None:
            return False
        self._adaptive.accepted(now)
        self._until_look -= 1
        if not self._until_look:
            self._look(reply, now)
        return False

    def hear(self, now: float, *, elsewhere: int = 0) -> None:
        """Say that a row got a final answer, or so many that other workers of the fleet called."""
        self.silence.heard()
        if isinstance(self._adaptive, FleetRate) and not elsewhere:
            self._adaptive.hear()
        if self.outage.hear(now, rows=elsewhere or 1):
            self._outage_turned(now)

    def see_trouble(
        self, now: float, row: int, cause: str, *, pending: int, foreign: bool, alone: bool
    ) -> None:
        """Say that an attempt met trouble that is no refusal; see `Outage.see_trouble`."""
        self.silence.troubled(now)
        if self.outage.see_trouble(now, row, cause, pending=pending, foreign=foreign, alone=alone):
            self._outage_turned(now)

    def most_in_flight(self, now: float) -> int | None:  # noqa: ARG002
        """Return how many calls may be in flight so that each is answered in time, or None for any number."""
        return None

    def lost(self, now: float) -> None:
        """Say that the last call in flight ended with nothing to learn from."""
        self.outage.lost(now)

    def set_rate(self, plan: RatePlan, now: float) -> None:
        """Keep another rate from now on; the slot that was taken last and a limit that was found still count."""
        self._plan = plan
        if not plan.adaptive:
            self._adaptive = None
        elif self._adaptive is None:
            self._adaptive = AdaptiveRate(plan.ceiling_per_s, now)
        else:
            self._adaptive.set_ceiling(plan.ceiling_per_s)
        self._adapt(now)

    def hold(self, now: float, cool_down_s: float) -> None:
        """Go on with a cool-down that an earlier session began, and that lasts so much longer."""
        self._resume_at = max(self._resume_at, now + min(cool_down_s, LONGEST_WAIT_S))

    def cool_down_s(self, now: float) -> float:
        """Return the seconds that the present cool-down still lasts, 0 where there is none."""
        return max(0.0, self._resume_at - now)

    def pause(self, now: float, *, paused: bool) -> None:
        """Begin or end an operator's pause."""
        self._paused = paused
        self.silence.pause(now, paused=paused)

    def rate_per_s(self, now: float) -> float | None:
        """Return the rate in force, or None for no limit; cool-downs, outages and pauses apart."""
        limit = self._plan.ceiling_per_s
        if self._adaptive is not None:
            limit = self._adaptive.rate_per_s * self._slowed(now)
        if self._ramp is None:
            return limit
        return self._ramp.rate(now) if limit is None else min(limit, self._ramp.rate(now))

    def why(self, now: float) -> str:
        """Return why the rate in force is what it is, in a few words."""
        if self._paused:
            return "paused by the operator"
        if self.outage.since is not None:
            met = f": {self.outage.causes}" if self.outage.causes else ""
            return f"outage for {now - self.outage.since:.0f} s{met}; asking again from time to time"
        if self._resume_at > now:
            return f"cooling down for {self._resume_at - now:.1f} s"
        if self._ramp is not None:
            return "starting up again after an outage"
        if self._adaptive is None:
            return "as asked for"
        return (
            "slower while the server has trouble" if self._slowed(now) < 1.0 else self._adaptive.why
        ) or "as asked for"

    def _take_probe(self, now: float) -> float:
        wait_s = self.outage.probe_at - now
        if wait_s > 0 or (wait_s := self._schedule.take(now)):  # a probe takes a slot, too (promise 4)
            return wait_s
        self.outage.probing()
        return 0.0

    def _outage_turned(self, now: float) -> None:
        """Act on an outage that has just begun or ended."""
        if self.outage.since is None:
            usual = self.rate_per_s(now) or _RAMP_UNLIMITED_PER_S
            self._ramp = _Ramp(now, max(usual * _RAMP_FROM, min(usual, _RAMP_FROM_PER_S)))
            self._adapt(now)

    def _adapt(self, now: float) -> None:
        """Bring the schedule up to the rate in force."""
        if self._adaptive is not None and self._slowed(now) == 1.0:
            self._adaptive.advance(now)
        if self._ramp is not None:
            limit = self._plan.ceiling_per_s if self._adaptive is None else self._adaptive.rate_per_s
            if self._ramp.rate(now) >= (limit or _RAMP_UNTIL_PER_S):
                self._ramp = None
        self._schedule.set_rate(self.rate_per_s(now))
        moves = self._adaptive is not None or self._ramp is not None
        self._adapt_at = now + _ADAPT_EVERY_S if moves else math.inf

    def _look(self, reply: Reply, now: float) -> None:
        """Look for rate-limit headers: in each of the first answers, then in one of many."""
        self._looks = max(self._looks - 1, 0)
        self._until_look = 1 if self._looks else _LOOK_EVERY
        limit = server_limit(reply.headers, self._wall()) if isinstance(reply, Answer) else None
        if limit is None or limit.quota is None or self._adaptive is None:
            return
        self._longest_reset_s = max(self._longest_reset_s, limit.reset_s or 0.0)
        window_s = limit.window_s or self._longest_reset_s
        if 0.0 < window_s <= _LONGEST_WINDOW_S:
            self._adaptive.told(limit.quota / window_s, now)

    def _slowed(self, now: float) -> float:
        """Return the share of the rate that a server with some trouble, short of an outage, is given."""
        return max(1.0 - _SLOWS_BY * max(self.outage.share(now) - _USUAL_TROUBLE, 0.0), _SLOWEST)

    def _cool_down(self, now: float, asked_s: float) -> None:
        """Hold everybody until the tenant may be called again; `resume_at` only ever moves later (promise 5)."""
        if now >= self._resume_at:  # else an answer to a call from before the present cool-down
            self._cool_down_s = (
                _COOL_DOWN_S if self._accepted_since else min(self._cool_down_s * 2, _LONGEST_COOL_DOWN_S)
            )
            self._accepted_since = False
        self._resume_at = max(self._resume_at, now + (asked_s or self._cool_down_s))
        self.silence.troubled(now)
        if asked_s:
            self.silence.named(now, now + asked_s)
        if self._adaptive is not None:
            self._adaptive.throttled(now, self._resume_at)
            self._adapt(now)
