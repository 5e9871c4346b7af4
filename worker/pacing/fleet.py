"""The one rate of a fleet, as one of its workers keeps it. Pure; the clock is passed in.

A worker reserves the slots of some tens of milliseconds at a time, so that a 429 that another one met, which it hears
of with the answer, holds it before long. One worker leads: it moves the rate for all. A worker that hears nothing
of the others keeps to its share of the rate that was in force last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from worker.pacing.adaptive import AdaptiveRate, first_guess_per_s
from worker.pacing.leading import Lead
from worker.pacing.plan import RatePlan
from worker.pacing.reserved import ReservedSlots, ServerClock
from worker.pacing.schedule import Schedule
from worker.sharing import ABSENT_S, Ask, Found, Grant

HORIZON_S: Final = 0.08
"""All that the fleet has reserved together lasts so long and an answer's way, or two slots of each worker
where that lasts longer."""
_LONGEST_HORIZON_S: Final = 1.0
"""The store takes what is further ahead, and no such two slots of each, for the work of a clock that was set."""
_LEAST_SLOTS: Final = 2
"""One to wait for, and one for the time that the way to the store takes."""
_GAP_S: Final = 0.004
"""The least time between two asks: one costs some hundred microseconds of this process."""
_POLL_S: Final = 0.025
"""Who has calls to make asks at least so often, to hear of a 429."""
_NEAR_S: Final = 0.1
"""Until a slot is so near, there is no hurry to hear."""
_IDLE_S: Final = 1.0
_FORGETS: Final = 0.9
"""Share of the longest way that is still believed with each answer that came sooner."""


class FleetRate:
    """Slots and rate of a fleet: stands where a worker alone has a `Schedule` and an `AdaptiveRate`.

    Args:
        plan: The rate of the whole fleet; it has a ceiling or is adaptive.
        workers: How many workers there are at least, for a share.
        worker: This one's name.
        now: Monotonic seconds, as everywhere below.
    """

    def __init__(self, plan: RatePlan, *, workers: int, worker: str, now: float) -> None:
        self._worker = worker
        self._ceiling_per_s = plan.ceiling_per_s
        self._least_workers = workers
        self._counted = self._present = 1
        self._slots = ReservedSlots()
        self._clock = ServerClock()
        self._own = Schedule(None)
        """What this worker may take of the slots where the server has trouble, or had an outage."""
        self._share: _Share | None = None
        self._lead: Lead | None = None
        self._found = Found(first_guess_per_s(plan.ceiling_per_s))
        self._in_force_per_s = self._found.rate_per_s
        self._accepted = self._refused = self._expected = 0
        self._answered = self._answered_elsewhere = 0
        """Rows that got a final answer here and were not told of, and those elsewhere that were not taken."""
        self._fleet_answered: int | None = None
        self._fleet_accepted = 0
        self._resume_at = -math.inf
        self._free_at = -math.inf
        """Its share, when it was alone last, had no slot before this."""
        self._resume_s = -math.inf
        """The same as `_resume_at`, on the store's clock and as the store told it."""
        self._told_per_s: float | None = None
        self._asked_at = now - _IDLE_S
        self._asked_alone = False
        self._way_s = 0.0
        """How long answers take: while a slow one is on its way there have to be slots."""
        self.on_want: Callable[[], None] = lambda: None
        """Told when it is time to look whether to ask."""

    def take(self, now: float) -> float:
        """Take a slot if one is due and return 0, else return the seconds until one is; inf if none is reserved."""
        if self._share is not None:
            return self._share.take(now)
        wait_s = self._slots.next_in(now) or self._own.take(now)
        if wait_s == 0.0:
            self._slots.use()
        if wait_s == math.inf or self._is_low(len(self._slots)):
            self.on_want()
        return wait_s

    def put_back(self) -> None:
        """Have the slot that was taken last taken again, as nobody used it."""
        (self._slots if self._share is None else self._share.schedule).put_back()

    def set_rate(self, rate_per_s: float | None) -> None:
        """Keep to a rate below the fleet's, as far as this worker goes."""
        if self._share is not None:
            self._share.schedule.set_rate(rate_per_s)
        elif rate_per_s is None or rate_per_s >= self._in_force_per_s:
            self._own.set_rate(None)
        else:
            self._own.set_rate(rate_per_s / self._present)

    @property
    def rate_per_s(self) -> float:
        """The rate in force: the fleet's, or this worker's share while it is alone."""
        return self._in_force_per_s if self._share is None else self._share.adaptive.rate_per_s

    @property
    def why(self) -> str:
        """Why the rate is what it is, in a few words."""
        if self._share is not None:
            return "this worker's share, as the fleet's rate cannot be shared now"
        return (self._lead.why if self._lead is not None else "") or "the whole fleet's"

    def set_ceiling(self, ceiling_per_s: float | None) -> None:
        """Tell the fleet another ceiling from now on."""
        self._ceiling_per_s = ceiling_per_s

    def accepted(self, now: float, sent_at: float | None = None) -> None:
        """Count a call that was answered."""
        if self._share is None:
            self._accepted += 1
        else:  # not told later: all at once, it would seem to be a rate that the server allows
            self._share.adaptive.accepted(now, sent_at)

    @property
    def are_strays_known(self) -> bool:
        """Whether refusals were found to come whatever the rate."""
        return self._share is not None and self._share.adaptive.are_strays_known

    def throttled(self, now: float, resume_at: float) -> None:
        """Hold the fleet: a call was answered 429, and nothing goes before `resume_at`."""
        self._refused += 1
        self._resume_at = max(self._resume_at, resume_at)
        self._slots.drop()
        if self._share is not None:
            self._share.adaptive.throttled(now, resume_at)
        self.on_want()

    def hear(self) -> None:
        """Count a row that got a final answer."""
        self._answered += 1

    def take_answered_elsewhere(self) -> int:
        """Return how many rows got a final answer from other workers since this was asked last."""
        taken, self._answered_elsewhere = self._answered_elsewhere, 0
        return taken

    def told(self, limit_per_s: float, now: float) -> None:
        """Pass on a limit that the server names."""
        self._told_per_s = limit_per_s
        if self._share is not None:
            self._share.adaptive.told(limit_per_s, now)

    def advance(self, now: float) -> None:
        """Let time pass for this worker's share; the fleet's rate is moved by who leads."""
        if self._share is not None:
            self._share.adaptive.advance(now)

    @property
    def is_alone(self) -> bool:
        """Whether this worker hears nothing of the others and keeps to its share."""
        return self._share is not None

    @property
    def workers(self) -> int:
        """How many workers share the rate, as far as is known."""
        return max(self._least_workers, self._counted)

    def due_s(self, now: float, line: int) -> float:
        """Return in how many seconds to ask; `line`: calls that could go now if there were slots."""
        if self._share is not None:  # before its first call once more: the answer may only have been late
            every_s = _POLL_S if self._expected and not self._asked_alone else _IDLE_S
        elif self._refused or self._wanted(line, now) or not self._clock.is_known:
            every_s = _GAP_S
        elif line:
            next_s = self._slots.next_in(now) if now >= self._free_at else self._free_at - now
            every_s = min(max(_POLL_S, next_s - _NEAR_S), _IDLE_S)
        else:
            every_s = _IDLE_S if self._lead is None or self._lead.found == self._found else _POLL_S
        return max(0.0, self._asked_at + every_s - now)

    def ask(self, now: float, line: int) -> Ask:
        """Return what to tell and ask for now; while this worker is alone it asks for no slot."""
        self._asked_at = now
        self._asked_alone = self._share is not None
        if self._asked_alone and now >= self._resume_at:
            self._refused = 0  # that is over, and nothing that the others could learn from
        if self._lead is not None:
            self._found = self._lead.found
        return Ask(
            worker=self._worker,
            ceiling_per_s=self._ceiling_per_s,
            slots=self._wanted(line, now),
            accepted=self._accepted,
            refused=self._refused,
            cool_down_s=max(0.0, self._resume_at - now) if self._refused else 0.0,
            told_per_s=self._told_per_s,
            willing=self._share is None and (line > 0 or self._accepted > 0 or now < self._resume_at),
            found=self._found,
            expected=self._expected,
            answered=self._answered,
        )

    def granted(self, ask: Ask, grant: Grant, now: float) -> float:
        """Take what was granted; return for how many seconds nobody may call.

        A store that counted more before has lost its memory, and with it the slots that others hold: it was lost.
        """
        forgot = grant.accepted < self._fleet_accepted
        self._fleet_accepted = grant.accepted
        if forgot and self._share is None:
            self.lost(now)
            return 0.0
        self._way_s = max(now - self._asked_at, self._way_s * _FORGETS)
        was_set = self._clock.see(self._asked_at, now, grant.at_s)
        self._answered -= ask.answered
        if self._fleet_answered is not None:
            others = grant.answered - self._fleet_answered - ask.answered
            self._answered_elsewhere += max(0, others)
        self._fleet_answered = grant.answered
        self._accepted -= ask.accepted
        self._refused -= ask.refused
        self._told_per_s = None
        self._expected = 0
        self._counted, self._present = grant.workers, grant.present
        self._in_force_per_s = grant.rate_per_s
        if self._share is not None:
            self._free_at = self._share.free_at
            self._share = None
        resume_at = self._clock.here(grant.resume_s)
        self._resume_at = max(self._resume_at, resume_at)
        if was_set or grant.resume_s != self._resume_s:  # at a cool-down all give up what they hold
            self._slots.drop()
        self._resume_s = grant.resume_s
        self._slots.add(self._clock.here(grant.first_s), grant.interval_s, grant.slots)
        self._follow(grant, now, resume_at)
        return max(0.0, resume_at - now)

    def lost(self, now: float) -> None:
        """Keep to a share from now on: what was asked for was not answered.

        It begins only when the others reckon with that, and when the slots that they hold are over.
        """
        if self._share is not None:
            return
        self._slots.drop()
        self._lead = None
        self._asked_at = now
        self._accepted = 0
        self._expected = self.workers
        self._share = _Share(self._in_force_per_s / self.workers, now, self._horizon_s)

    def _follow(self, grant: Grant, now: float, resume_at: float) -> None:
        """Learn what the fleet met, if this worker leads, else what the one found who does."""
        if not grant.leads:
            self._lead, self._found = None, grant.found
        elif self._lead is None:
            self._lead, self._found = Lead(grant, now), grant.found
        else:
            self._lead.learn(grant, now, resume_at)

    @property
    def _horizon_s(self) -> float:
        return min(HORIZON_S + self._way_s, _LONGEST_HORIZON_S)

    def _most(self) -> int:
        """Return how many slots to hold at most."""
        return max(_LEAST_SLOTS, int(self._in_force_per_s * self._horizon_s / self._present))

    def _is_low(self, held: int) -> bool:
        return held <= self._most() // 2

    def _wanted(self, line: int, now: float) -> int:
        """Return how many slots to ask for now."""
        held = len(self._slots)
        if self.is_alone or now < self._free_at or not self._clock.is_known or not self._is_low(held):
            return 0
        return max(0, min(line, self._most()) - held)


class _Share:
    """What a worker may do by itself while it hears nothing of the others."""

    def __init__(self, rate_per_s: float, now: float, horizon_s: float) -> None:
        self.adaptive = AdaptiveRate(rate_per_s, now)
        over_s = max(horizon_s, 1.0 / rate_per_s)
        self.schedule = Schedule(rate_per_s, last_at=now + max(over_s, ABSENT_S))
        self._over_at = now + over_s + 1.0 / rate_per_s
        self._is_used = False

    def take(self, now: float) -> float:
        """Take a slot if one is due and return 0, else return the seconds until one is."""
        wait_s = self.schedule.take(now)
        self._is_used |= wait_s == 0.0
        return wait_s

    @property
    def free_at(self) -> float:
        """When a worker that hears the others again may take a slot of theirs."""
        return self.schedule.next_at if self._is_used else self._over_at
