"""Whether a call may go now: rate, cool-down, outage and pause in one. Pure; the clocks are passed in."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Callable
from typing import Final

from worker.model import Answer, NoAnswer, Reply, Trouble
from worker.pacing.adaptive import AdaptiveRate
from worker.pacing.blocks import Blocks
from worker.pacing.fleet import FleetRate
from worker.pacing.headers import LONGEST_WAIT_S, asked_wait_s, server_limit
from worker.pacing.latency import InFlight
from worker.pacing.outage import Outage, SilenceClock
from worker.pacing.plan import RatePlan
from worker.pacing.quota import Quota
from worker.pacing.refusals import THROTTLED, Kind, Refusals, dress_of
from worker.pacing.schedule import Schedule
from worker.sharing import Found
from worker.units import format_duration

_TRANSIENT: Final = frozenset({408, 425})
_POLL_TAKES_S: Final = 1.0
"""While everything is refused one call goes at a time, and another one though the first takes longer than this."""
TIMEOUT_S: Final = 10.0
_FAR_BELOW: Final = 0.2
_WISH_FROM_S: Final = 10.0
"""A wait that the server asked for is named from this length on."""
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
_ADAPT_EVERY_S: Final = 0.1
_LOOKS_AT_FIRST: Final = 8
"""So many first answers are all looked at for rate-limit headers."""
_LOOK_EVERY: Final = 64
"""Answers between two looks afterwards; a look costs some microseconds."""
_LOOK_EVERY_S: Final = 0.2
"""Or so long, where answers are few."""


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
        timeout_s: When a call is given up.
    """

    def __init__(
        self,
        plan: RatePlan,
        now: float,
        wall: Callable[[], float],
        fleet: FleetRate | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
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
        self._refused_at = -math.inf
        """When the last refusal came that began or prolonged a cool-down."""
        self._polls = 0
        """Cool-downs in a row with nothing let through in between."""
        self._poll_out_at = -math.inf
        self._wish = (-math.inf, 0.0)
        """Until when (epoch) the server asked to wait, and for how long it said."""
        self._blocks = Blocks()
        self._refusals = Refusals()
        self._in_flight = InFlight(timeout_s)
        self._quota = Quota()
        self._before_test: Found | None = None
        """The rate and what was known of the limit before the pace was slowed to see whether that helps."""
        self._least_per_s = 0.0
        """What a limit that refuses by 5xx or so would let through at least: below it they are trouble."""
        self._was_testing = False
        self._paused = False
        self._looks = _LOOKS_AT_FIRST
        self._until_look = 1
        self._look_at = now
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
        if self._polls > 1 and now < self._poll_out_at + _POLL_TAKES_S:
            return self._poll_out_at + _POLL_TAKES_S - now
        wait_s = self._schedule.take(now)
        if self._polls and not wait_s:
            self._poll_out_at = now
        return wait_s

    def put_back(self) -> None:
        """Take the last turn back, as no call was made: its slot is there for another."""
        self._schedule.put_back()
        self._poll_out_at = -math.inf

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
        row: int = 0,
        took_s: float = 0.0,
        answered: bool | None = None,
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
        if answered is None:
            answered = _is_answered(reply)
        self._poll_out_at = -math.inf
        is_429 = dress_of(reply) == THROTTLED
        if not answered and (sick or (self.outage.since is not None and not is_429)):
            return False
        kind = self._refusals.see(reply, now, now - took_s, row, answered=answered)
        if (
            kind in (Kind.TEST, Kind.SHUT)
            and isinstance(self._adaptive, AdaptiveRate)
            and self._adaptive.is_limit_known
        ):
            self._refusals.confirm()
            kind = Kind.REFUSAL
        self._count(reply, now, took_s, kind)
        if kind is Kind.REFUSAL:
            self._refused(reply, now, now - took_s)
        elif kind is Kind.ANSWER:
            self._accepted(reply, now, now - took_s)
        self._test(now, kind)
        return kind in (Kind.REFUSAL, Kind.TEST) or is_429

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

    def most_in_flight(self, _now: float) -> int | None:
        """Return how many calls may be in flight so that each is answered in time, or None for any number."""
        return self._in_flight.most

    def lost(self, now: float) -> None:
        """Say that the last call in flight ended with nothing to learn from."""
        self.outage.lost(now)
        self._poll_out_at = -math.inf

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
            return self._why_waiting(now)
        if self._ramp is not None:
            return "starting up again after an outage"
        return self._why_this_rate(now)

    def _why_this_rate(self, now: float) -> str:
        """Return why the rate is what it is while calls go."""
        if self._in_flight.is_slow:
            return f"at most {self._in_flight.most} calls at once, as answers are slow to come"
        if self._adaptive is None:
            return "as asked for"
        if self._refusals.is_testing:
            return "slower for a moment, to see whether the trouble is a limit's"
        if self._slowed(now) < 1.0:
            return "slower while the server has trouble"
        dressed = ", ".join(self._refusals.limits)
        by = f", by {dressed}" if dressed and self._adaptive.why.startswith("just below") else ""
        return f"{self._adaptive.why}{by}" or "as asked for"

    def _why_waiting(self, now: float) -> str:
        """Return what the cool-down that is under way is."""
        left = format_duration(self._resume_at - now)
        until, asked_s = self._wish
        if until - self._wall() < _WISH_FROM_S:
            return f"cooling down after a refusal, asking again in {left}"
        clock = dt.datetime.fromtimestamp(until, dt.UTC).strftime("%H:%M:%S")
        asked = f"the server asks to wait until {clock} UTC ({format_duration(asked_s)})"
        return f"cooling down: {asked}; asking again in {left}"

    def _take_probe(self, now: float) -> float:
        wait_s = self.outage.probe_at - now
        if wait_s > 0 or (wait_s := self._schedule.take(now)):  # a probe takes a slot, too (promise 4)
            return wait_s
        self.outage.probing()
        return 0.0

    def _outage_turned(self, now: float) -> None:
        """Act on an outage that has just begun or ended."""
        self._refusals.forget()
        if self.outage.since is not None and isinstance(self._adaptive, AdaptiveRate):
            self._adaptive.doubt()
            if self._was_testing and self._before_test is not None:
                self._adaptive.go_back(self._before_test)
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
        self._look_at = now + _LOOK_EVERY_S
        limit = server_limit(reply.headers, self._wall()) if isinstance(reply, Answer) else None
        if limit is None or self._adaptive is None:
            return
        if (allowed_per_s := self._quota.see(limit, now)) is not None:
            self._adaptive.told(allowed_per_s, now)

    def _slowed(self, now: float) -> float:
        """Return the share of the rate that a server with some trouble, short of an outage, is given."""
        return max(1.0 - _SLOWS_BY * max(self.outage.share(now) - _USUAL_TROUBLE, 0.0), _SLOWEST)

    def _count(self, reply: Reply, now: float, took_s: float, kind: Kind) -> None:
        """Learn from how long a reply took."""
        if kind is Kind.ANSWER:
            self._in_flight.answered(now, took_s)
        elif isinstance(reply, NoAnswer) and reply.trouble is Trouble.TIMEOUT:
            self._in_flight.timed_out()

    def _accepted(self, reply: Reply, now: float, sent_at: float) -> None:
        self._blocks.accepted(now, sent_at)
        if sent_at >= self._resume_at:
            self._polls = 0
        if self._adaptive is None:
            return
        self._adaptive.accepted(now, sent_at)
        self._until_look -= 1
        if self._until_look <= 0 or now >= self._look_at:
            self._look(reply, now)

    def _refused(self, reply: Reply, now: float, sent_at: float) -> None:
        """Hold everybody until the tenant may be called again; `resume_at` only ever moves later (promise 5)."""
        asked_s = asked_wait_s(reply, self._wall())
        if dress_of(reply) != THROTTLED and not self._polls:
            asked_s = (
                0.0  # a 503 asks for its row first; it asks for everybody where nothing else comes through
            )
        if sent_at < self._refused_at and not asked_s:
            if isinstance(self._adaptive, AdaptiveRate):
                self._adaptive.straggled()
            return  # it was under way when another one was refused, which held everybody
        wait_s = min(asked_s, LONGEST_WAIT_S) or self._blocks.poll_s(now)
        if now >= self._resume_at:  # else an answer to a call from before the present cool-down
            self._polls += 1
            self._refused_at = now
        self._blocks.refused(now, now + wait_s)
        self._resume_at = max(self._resume_at, now + wait_s)
        self.silence.troubled(now)
        if asked_s:
            self.silence.named(now, now + wait_s)
            self._wish = (self._wall() + asked_s, asked_s)
        if self._adaptive is not None:
            self._adaptive.throttled(now, self._resume_at)
            if self._adaptive.are_strays_known or self._adaptive.rate_per_s < self._least_per_s:
                self._refusals.belie(now)
            self._adapt(now)

    def _test(self, now: float, kind: Kind) -> None:
        """Slow down to see whether that helps, or go back where it did not."""
        if not isinstance(self._adaptive, AdaptiveRate):
            return
        if kind in (Kind.TEST, Kind.SHUT):
            self._adaptive.suspect(now)
        if self._refusals.slow_down and kind is not Kind.REFUSAL:
            if not self._was_testing:
                self._before_test = self._adaptive.found
            self._least_per_s = _FAR_BELOW * self._adaptive.rate_per_s * (1.0 - self._refusals.share)
            self._adaptive.slow_down(now, self._refusals.share)
            self._adapt(now)
        elif self._refusals.go_back and self._before_test is not None:
            self._adaptive.go_back(self._before_test)
            self._adapt(now)
        self._was_testing = self._refusals.is_testing


def _is_answered(reply: Reply) -> bool:
    """Return whether a reply is a final answer, as far as its status tells."""
    return isinstance(reply, Answer) and not dress_of(reply) and reply.status not in _TRANSIENT
