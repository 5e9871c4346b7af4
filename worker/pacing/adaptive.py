"""Finds a server's hidden limit and stays just under it. Pure; the clock is passed in.

Without a ceiling the rate starts low and doubles until the first refusal; under a ceiling it starts there. All
refusals until a call is accepted again are one episode, and an episode moves the rate once:

- Refused within two seconds: far too fast. A window of a second lets through at most what went in the last
  second; the rate goes on some way below that, since a bucket had saved up and two windows may have had a share.
- Refused while climbing: the climb passed the limit within the last window and a half. Go back so far, and climb
  slowly next.
- Refused while the rate is held: a little lower, or what was let through from one refusal to the next, whichever
  is higher. One refusal among many calls is borne, and so are those that come whatever the rate
  (`worker.pacing.strays`).
- Refused for seconds: a window's quota is used up, or it is a penalty. The rate that a window would allow is kept
  until it has been quiet for longer than from one refusal to the next; what it lets through then is no window's.
- If all refusals so far fit a server that counts by the second (`worker.pacing.window`), or in longer windows
  (`worker.pacing.blocks`), they tell its limit: the rate is held below it, or climbs slowly towards it where there
  is doubt.

How a rate rises again is in `worker.pacing.climbing`.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from worker.pacing.blocks import SHORTEST_S, Blocks
from worker.pacing.climbing import CLIMBS, HELD, Climb
from worker.pacing.counting import BestSpan, LastSecond
from worker.pacing.strays import Advice, Episode, Strays
from worker.pacing.window import SecondsLimit
from worker.sharing import Found

_START_PER_S: Final = 10.0
_SLOWEST_PER_S: Final = 0.2
"""A server, or a header, that asks for less does not stop the run."""
_USED: Final = 0.4
"""Share of the rate that must have gone in the last second before it rises; else something else limits it."""

_TRIED_S: Final = 2.0
"""A rate that was let through for so long passed at least one whole window of a second."""
_FIRST_GUESS: Final = 0.65
_NEXT_GUESS: Final = 0.82
"""Shares of the last second's calls to go on with when the rate was far too high."""
_DEEPEST_CUT: Final = 0.1
_PASSED_S: Final = 1.5
"""So long before it is refused a climb may have passed the limit of a window."""
_BELOW: Final = 0.993

_SHARP: Final = 1.07
_VAGUE: Final = 1.3
"""Spreads of a guess up to which its rate is held, and from which it is none."""
_BELOW_GUESS: Final = 0.985

_SOON_CUT: Final = 0.9
_SMALL_CUT: Final = 0.97
_SMALLEST_CUT: Final = 0.985
_QUIET_S: Final = 10.0
"""A rate that was held so long was right, and a refusal hardly more than a mischance."""

_DOUBTED_FOR_S: Final = 120.0
"""Who is out again within this time, and well in between, may have a limit."""
_WELL_BELOW: Final = 0.85
"""Share of what would seem to be let through, to go on with where that is to be seen."""
_LEAST: Final = 0.3
"""Share of what was let through at the best of times, of late, below which no refusal brings the rate."""
_DEEPEST_TEST: Final = 0.3
_NEAR: Final = 0.8
_MARKED: Final = 1.05
_PENALTY_GUESS: Final = 0.76
_PENALTY_NEXT: Final = 0.92
"""Shares of a refused rate to go on with where a refusal costs seconds; the latter if it was borne for long."""
_ABOVE_WINDOW: Final = 1.06

_BELOW_TOLD: Final = 0.98
_TOLD_TAKES_S: Final = 1.0
"""A refusal this soon after a server named its limit answers the rate of before."""
_SAME_TOLD: Final = 0.1


def first_guess_per_s(ceiling_per_s: float | None) -> float:
    """Return the rate to begin with: the ceiling, or without one a low rate."""
    return _START_PER_S if ceiling_per_s is None else ceiling_per_s


class AdaptiveRate:
    """The rate in force, moved by what the server answers.

    Args:
        ceiling_per_s: Never above this, and the first guess; None to start low and find out.
        now: Monotonic seconds, as everywhere below.
        found: What another knew of the limit, to go on from.
    """

    def __init__(self, ceiling_per_s: float | None, now: float, found: Found | None = None) -> None:
        self._ceiling = math.inf if ceiling_per_s is None else ceiling_per_s
        self._rate = first_guess_per_s(ceiling_per_s)
        self._climb = Climb(None if found is None else found.climb)
        self._told = self._belied = math.inf
        """The limit that the server names, and one that it named and did not keep."""
        self._told_at = -math.inf
        self._went = LastSecond()
        self._best = BestSpan()
        self._seconds = SecondsLimit()
        self._blocks = Blocks()
        self._strays = Strays()
        self._accepted_since, self._refused_together = 0, 1
        """Calls accepted since the last cool-down ended, and refused in the episode before it."""
        self._doubted_at = -math.inf
        """When an outage ended last that may have been a limit."""
        self._refused_at = self._resumed_at = self._moved_at = self._quiet_since = now
        """When the last episode began, when its cool-down ended (ahead of now during one), when the rate was last
        moved or found unused, and since when no refusal has told anything."""
        self._started_at = now
        self._is_limit_known = self._is_sharp = False
        self._soon = self._is_doubtful = False
        """Whether the last episode began within `_TRIED_S`, and whether an outage was part of it."""
        self._episode = _Refused(0.0, 0.0, 0, 0.0)
        self._apart_s = 0.0
        """From one long cool-down's end to the next one's; 0 until there was one."""
        self._is_penalty = False
        """Whether long cool-downs were found to be no window's end."""
        self._marks: list[tuple[float, int]] = []
        """Rates on the way up, and how many calls had been accepted then, since the last cool-down ended."""
        if found is not None and (found.climb is not None or ceiling_per_s is None):
            self._rate = found.rate_per_s

    @property
    def found(self) -> Found:
        """What is known of the limit, for another to go on from."""
        return Found(self.rate_per_s, self._climb.stage)

    @property
    def rate_per_s(self) -> float:
        """The rate for now."""
        return max(min(self._rate, self._most), min(_SLOWEST_PER_S, self._ceiling))

    @property
    def why(self) -> str:
        """Why the rate is what it is, in a few words; empty while nothing but the ceiling limits it."""
        if self._most < self._ceiling and self._most <= self._rate:
            return f"just below what the server says it allows, {self._told:.4g}/s"
        if self._climb.stage is not None and self._rate < self._ceiling:
            return f"just below what the server allows: it refused at {self._episode.rate_per_s:.4g}/s"
        return "looking for the server's limit" if self._ceiling == math.inf else ""

    def set_ceiling(self, ceiling_per_s: float | None) -> None:
        """Keep another ceiling from now on; a limit that was found stays found."""
        self._ceiling = math.inf if ceiling_per_s is None else ceiling_per_s
        if self._climb.stage is None and ceiling_per_s is not None:
            self._rate = ceiling_per_s

    def accepted(self, now: float, sent_at: float | None = None) -> None:
        """Count a call that was answered; one that went before a cool-down is no sign that it is over."""
        sent_at = now if sent_at is None else sent_at
        self._went.add(now)
        self._best.add(now)
        self._seconds.accepted(now)
        blocked_s = self._blocks.accepted(now, sent_at)
        if sent_at >= self._resumed_at:
            if blocked_s is not None and blocked_s >= SHORTEST_S:
                self._after_block(now, blocked_s)
            self._accepted_since += 1

    def advance(self, now: float) -> None:
        """Let time pass; call it some ten times a second while calls go out."""
        if self._rate < self._most and self._is_used(now):
            passed_s, quiet_s = now - self._moved_at, now - self._quiet_since
            self._rate = min(self._climb.advance(self._rate, now, passed_s, quiet_s), self._most)
            if not self._marks or self._rate > _MARKED * self._marks[-1][0]:
                self._marks.append((self._rate, self._accepted_since))
        self._moved_at = max(self._moved_at, now)

    def throttled(self, now: float, resume_at: float) -> None:
        """Learn from a refusal; nothing goes before `resume_at`. Only the first of an episode moves the rate."""
        self._blocks.refused(now, resume_at)
        if now >= self._resumed_at and self._accepted_since:
            self._begin(now, resume_at)
        self._resumed_at = self._moved_at = resume_at

    def straggled(self) -> None:
        """Count a refusal of a call that was under way when another one was refused."""
        self._refused_together += 1

    def go_back(self, found: Found) -> None:
        """Go back to what was known before a refusal that was none."""
        self._rate = found.rate_per_s
        self._climb.free(found.climb)
        self._quiet_since = -math.inf

    def slow_down(self, now: float, share: float) -> None:
        """Give way to what may be refusals, a share of the last calls, without a cool-down."""
        rate = self.rate_per_s
        self.throttled(now, now)
        self._rate = max(rate * max((1.0 - share) * _WELL_BELOW, _DEEPEST_TEST), _SLOWEST_PER_S)

    def suspect(self, now: float) -> None:
        """Count a call that may have been refused."""
        self._blocks.refused(now, now)

    def doubt(self) -> None:
        """Say that what is refused now may be an outage: a single one tells nothing of the limit."""
        self._is_doubtful = True

    def told(self, limit_per_s: float, now: float) -> None:
        """Heed a limit that the server names: rise up to just below it, until a refusal belies it."""
        if abs(limit_per_s - self._belied) > _SAME_TOLD * limit_per_s:
            if limit_per_s < self._told * (1.0 - _SAME_TOLD):
                self._told_at = now
            self._told = limit_per_s

    @property
    def are_strays_known(self) -> bool:
        """Whether refusals were found to come whatever the rate."""
        return self._strays.are_known

    @property
    def is_limit_known(self) -> bool:
        """Whether there is a limit for certain where nothing is let through for a while."""
        return self._blocks.is_sure or self._is_limit_known

    @property
    def _most(self) -> float:
        return min(self._ceiling, self._told * _BELOW_TOLD)

    def _is_used(self, now: float) -> bool:
        return now > self._resumed_at and self._went.count(now) >= _USED * self._rate

    def _begin(self, now: float, resume_at: float) -> None:
        """Move the rate for an episode that has just begun."""
        rate, tried_s, cool_down_s = self.rate_per_s, now - self._resumed_at, resume_at - now
        self._episode = _Refused(rate, tried_s, self._accepted_since, now)
        steady = self._climb.stage == HELD or rate >= self._most
        probed = self._climb.before_probe < math.inf
        near, near_s = self._calls_near(rate, tried_s)
        blocked_s = self._resumed_at - self._refused_at
        episode = Episode(rate, near, near_s, blocked_s, cool_down_s, self._refused_together)
        self._refused_together = 1
        advice = Advice.SLOW_DOWN
        if resume_at > now:
            advice = self._strays.see(episode, now, steady=steady and not probed)
            self._climb.cost(cool_down_s)
        if advice is Advice.TRY_FASTER:
            self._rate = self._strays.faster_per_s
            self._climb.free(HELD)
        elif advice is Advice.RETURN:
            self._rate = self._strays.slower_per_s * _SMALL_CUT
            self._climb.refused(self._strays.slower_per_s)
        elif advice is Advice.SLOW_DOWN:
            least = min(max(_SLOWEST_PER_S, _LEAST * self._best.per_s(now)), rate)
            self._rate = max(self._estimate(rate, tried_s, now, cool_down_s), least)
            self._climb.refused(self._rate if self._is_sharp else rate)
        if not self._strays.are_known:
            self._quiet_since = resume_at
        self._refused_at = now
        self._accepted_since = 0
        self._marks.clear()

    def _calls_near(self, rate: float, tried_s: float) -> tuple[int, float]:
        """Return how many calls were accepted since the rate has been near the present one, and how long that is."""
        before = [count for marked, count in self._marks if marked < _NEAR * rate]
        calls = self._accepted_since - (before[-1] if before else 0)
        return calls, min(tried_s, calls / rate) if before else tried_s

    def _after_block(self, now: float, blocked_s: float) -> None:
        """Go on after nothing was let through for seconds: a window was used up, or it is a penalty."""
        refused, climb = self._episode, self._climb
        if self._strays.are_known:
            return
        doubtful, self._is_doubtful = self._is_doubtful, False
        if doubtful and not self._blocks.is_sure:
            doubted_at, self._doubted_at = self._doubted_at, now
            if now - doubted_at > _DOUBTED_FOR_S + blocked_s:
                return
            self._is_limit_known = True
        self._strays.forget()
        if self._belied < math.inf:  # the quota was used up, by others as well, and the pace is still right
            self._told, self._belied = self._belied, math.inf
            return
        apart_s, self._apart_s = self._apart_s, refused.tried_s + blocked_s
        climb.penalise(blocked_s)
        self._quiet_since = self._moved_at = now
        window = self._blocks.window
        if (pace := self._blocks.pace_per_s) is not None and not self._is_penalty:
            self._rate, climb.stage = pace * _BELOW_TOLD, HELD
            climb.refused_per_s = pace
        elif self._is_penalty or 0.0 < apart_s < refused.tried_s:
            # More came through since the last one than a window of that length would have let through.
            self._is_penalty = True
            guess = _PENALTY_GUESS if refused.tried_s < _QUIET_S or climb.stage != HELD else _PENALTY_NEXT
            self._rate, climb.stage = max(refused.rate_per_s * guess, _SLOWEST_PER_S), HELD
        elif apart_s == 0.0 and window is not None and window.least_s > 0.0:
            # Faster than such a window could bear: if it comes through for longer than that, there is none.
            self._rate = min(window.quota / window.least_s * _ABOVE_WINDOW, refused.rate_per_s)
            climb.stage, climb.after_s = 0, 1.1 * window.most_s
        else:
            self._rate = max(refused.calls / self._apart_s * _BELOW_GUESS, _SLOWEST_PER_S)
            climb.stage, climb.after_s = 1, self._apart_s

    def _estimate(self, rate: float, tried_s: float, now: float, cool_down_s: float) -> float:
        """Return the rate to go on with after `rate` was refused, and begin, or end, the climb to it."""
        if rate <= self._told < math.inf:
            if now - self._told_at < _TOLD_TAKES_S:
                return self._rate
            self._belied, self._told = self._told, math.inf
        before_probe = self._climb.before_probe
        self._is_sharp = False
        estimate = self._usual_estimate(rate, tried_s, now)
        if cool_down_s > SHORTEST_S or not (guess := self._seconds.refused(now)):
            return estimate
        if guess.spread > _VAGUE:
            return estimate
        self._is_sharp = sharp = guess.spread <= _SHARP
        self._climb.stage = HELD - (not sharp)
        return min((guess.likely if sharp else guess.cautious) * _BELOW_GUESS, rate, before_probe)

    def _usual_estimate(self, rate: float, tried_s: float, now: float) -> float:
        """Return an estimate that holds for any limit, and begin the climb that fits it."""
        climb = self._climb
        soon_before, self._soon = self._soon, tried_s < _TRIED_S
        last_second = self._went.count(now) / min(max(now - self._started_at, 0.1), 1.0)
        if self._soon and climb.stage and not soon_before:  # the limit was nearly known
            return min(max(last_second, _SOON_CUT * rate), rate) * _SMALL_CUT
        if self._soon or climb.stage is None:
            guess = _FIRST_GUESS if climb.stage is None else _NEXT_GUESS
            climb.stage = 0
            return max(min(guess * last_second, rate), rate * _DEEPEST_CUT)
        if climb.stage < HELD:
            climbed = 1.0 + CLIMBS[climb.stage] * min(tried_s, _PASSED_S)
            climb.stage += 1
            return rate / climbed * _BELOW
        return min(self._held(rate, tried_s, now), climb.before_probe)

    def _held(self, rate: float, tried_s: float, now: float) -> float:
        """Return the rate to go on with after one that was held was refused."""
        let_through_per_s = self._accepted_since / (now - self._refused_at)
        return max(let_through_per_s, rate * (_SMALLEST_CUT if tried_s > _QUIET_S else _SMALL_CUT))


class _Refused(NamedTuple):
    """The first refusal of an episode.

    Attributes:
        rate_per_s: What was refused.
        tried_s: How long it had been let through.
        calls: How many calls had been.
        at: When.
    """

    rate_per_s: float
    tried_s: float
    calls: int
    at: float
