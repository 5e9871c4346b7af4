"""Finds a server's hidden limit and stays just under it. Pure; the clock is passed in.

Without a ceiling the rate starts low and doubles until the first 429; under a ceiling it starts there. All 429s
until a call is accepted again are one episode, and an episode moves the rate once:

- Refused within two seconds: far too fast. A window of a second lets through at most what went in the last
  second; the rate goes on some way below that, since a bucket had saved up and two windows may have had a share.
- Refused while climbing: the climb passed the limit within the last window and a half. Go back so far, and climb
  slowly next.
- Refused while the rate is held: a little lower, or what was let through from one 429 to the next, whichever is
  higher; after a long cool-down (a long window) the latter.
- If all refusals so far fit a server that counts by the second, they tell its limit (`worker.pacing.window`): the
  rate is held below it, or climbs slowly towards it where there is doubt.

After the slow climb the rate is held. After a minute of quiet it asks for a little more, each time more, so that
a limit that was raised is found; a step that is refused is taken back.
"""

from __future__ import annotations

import collections
import math
from typing import Final

from worker.pacing.window import SecondsLimit
from worker.sharing import Found

_START_PER_S: Final = 10.0
_DOUBLES_S: Final = 0.4
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

_CLIMBS: Final = (0.12, 0.02)
"""Shares by which the rate climbs each second: at first, and after that climb was refused."""
_CLIMB_AFTER_S: Final = 1.0
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
_LONG_COOL_DOWN_S: Final = 2.0

_BELOW_TOLD: Final = 0.98
_TOLD_TAKES_S: Final = 1.0
"""A 429 this soon after a server named its limit answers the rate of before."""

_PROBE_AFTER_S: Final = 60.0
_PROBE_STEP: Final = 0.01
_PROBE_GROWS: Final = 1.5
_LARGEST_PROBE_STEP: Final = 0.25

_GRAINS: Final = 50


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
        self._climb: int | None = None if found is None else found.climb
        """Which of `_CLIMBS` is under way: None before the first 429, their number while the rate is held."""
        self._told = self._belied = math.inf
        """The limit that the server names, and one that it named and did not keep."""
        self._told_at = -math.inf
        self._went = _LastSecond()
        self._seconds = SecondsLimit()
        self._accepted_since = 0
        """Calls accepted since the last cool-down ended."""
        self._refused_at = self._resumed_at = self._moved_at = now
        """When the last episode began, when its cool-down ended (ahead of now during one), and when the rate
        was last moved or found unused."""
        self._soon = False
        """Whether the last episode began within `_TRIED_S`."""
        self._before_probe = math.inf
        self._probe_step = _PROBE_STEP
        if found is not None and (found.climb is not None or ceiling_per_s is None):
            self._rate = found.rate_per_s

    @property
    def found(self) -> Found:
        """What is known of the limit, for another to go on from."""
        return Found(self.rate_per_s, self._climb)

    @property
    def rate_per_s(self) -> float:
        """The rate for now."""
        return max(min(self._rate, self._most), min(_SLOWEST_PER_S, self._ceiling))

    @property
    def why(self) -> str:
        """Why the rate is what it is, in a few words; empty while nothing but the ceiling limits it."""
        if self._most < self._ceiling and self._most <= self._rate:
            return "just below what the server says it allows"
        if self._climb is not None and self._rate < self._ceiling:
            return "just below what the server allows"
        return "looking for the server's limit" if self._ceiling == math.inf else ""

    def set_ceiling(self, ceiling_per_s: float | None) -> None:
        """Keep another ceiling from now on; a limit that was found stays found."""
        self._ceiling = math.inf if ceiling_per_s is None else ceiling_per_s
        if self._climb is None and ceiling_per_s is not None:
            self._rate = ceiling_per_s

    def accepted(self, now: float) -> None:
        """Count a call that was not answered 429."""
        self._went.add(now)
        self._seconds.accepted(now)
        if now >= self._resumed_at:  # else it went before the cool-down
            self._accepted_since += 1

    def advance(self, now: float) -> None:
        """Let time pass; call it some ten times a second while calls go out."""
        passed_s = now - self._moved_at
        if self._rate >= self._most or not self._is_used(now):
            self._moved_at = max(self._moved_at, now)
        elif self._climb is None:
            self._move_to(self._rate * 2.0 ** (passed_s / _DOUBLES_S), now)
        elif self._climb < len(_CLIMBS):
            if now - self._resumed_at >= _CLIMB_AFTER_S:
                self._move_to(self._rate * (1.0 + _CLIMBS[self._climb] * passed_s), now)
        elif passed_s > _PROBE_AFTER_S:
            self._before_probe = self._rate
            self._move_to(self._rate * (1.0 + self._probe_step), now)
            self._probe_step = min(self._probe_step * _PROBE_GROWS, _LARGEST_PROBE_STEP)

    def throttled(self, now: float, resume_at: float) -> None:
        """Learn from a 429; nothing goes before `resume_at`. Only the first of an episode moves the rate."""
        if now >= self._resumed_at and self._accepted_since:
            rate, tried_s = self.rate_per_s, now - self._resumed_at
            self._rate = max(self._estimate(rate, tried_s, now, resume_at - now), _SLOWEST_PER_S)
            self._refused_at = now
            self._accepted_since = 0
            self._before_probe = math.inf
            self._probe_step = _PROBE_STEP
        self._resumed_at = self._moved_at = resume_at

    def told(self, limit_per_s: float, now: float) -> None:
        """Heed a limit that the server names: rise up to just below it, until a 429 belies it."""
        if limit_per_s not in (self._belied, self._told):
            self._told, self._told_at = limit_per_s, now

    @property
    def _most(self) -> float:
        return min(self._ceiling, self._told * _BELOW_TOLD)

    def _move_to(self, rate_per_s: float, now: float) -> None:
        self._rate = min(rate_per_s, self._most)
        self._moved_at = now

    def _is_used(self, now: float) -> bool:
        return now > self._resumed_at and self._went.count(now) >= _USED * self._rate

    def _estimate(self, rate: float, tried_s: float, now: float, cool_down_s: float) -> float:
        """Return the rate to go on with after `rate` was refused, and begin, or end, the climb to it."""
        if rate <= self._told < math.inf:
            if now - self._told_at < _TOLD_TAKES_S:
                return self._rate
            self._belied, self._told = self._told, math.inf
        estimate = self._usual_estimate(rate, tried_s, now, cool_down_s)
        if cool_down_s > _LONG_COOL_DOWN_S or not (guess := self._seconds.refused(now)):
            return estimate
        if guess.spread > _VAGUE:
            return estimate
        sharp = guess.spread <= _SHARP
        self._climb = len(_CLIMBS) - (not sharp)
        return min((guess.likely if sharp else guess.cautious) * _BELOW_GUESS, rate, self._before_probe)

    def _usual_estimate(self, rate: float, tried_s: float, now: float, cool_down_s: float) -> float:
        """Return an estimate that holds for any limit, and begin the climb that fits it."""
        soon_before, self._soon = self._soon, tried_s < _TRIED_S
        last_second = self._went.count(now)
        if self._soon and self._climb and not soon_before:  # the limit was nearly known
            return min(max(last_second, _SOON_CUT * rate), rate) * _SMALL_CUT
        if self._soon or self._climb is None:
            guess = _FIRST_GUESS if self._climb is None else _NEXT_GUESS
            self._climb = 0
            return max(min(guess * last_second, rate), rate * _DEEPEST_CUT)
        if self._climb < len(_CLIMBS):
            climbed = 1.0 + _CLIMBS[self._climb] * min(tried_s, _PASSED_S)
            self._climb += 1
            return rate / climbed * _BELOW
        return min(self._held(rate, tried_s, now, cool_down_s), self._before_probe)

    def _held(self, rate: float, tried_s: float, now: float, cool_down_s: float) -> float:
        """Return the rate to go on with after one that was held was refused."""
        let_through_per_s = self._accepted_since / (now - self._refused_at)
        if cool_down_s > _LONG_COOL_DOWN_S:
            return let_through_per_s
        return max(let_through_per_s, rate * (_SMALLEST_CUT if tried_s > _QUIET_S else _SMALL_CUT))


class _LastSecond:
    """Counts the calls of the last second in small grains of time."""

    def __init__(self) -> None:
        self._grain = 0
        self._counts = collections.deque([0] * _GRAINS, maxlen=_GRAINS)

    def add(self, now: float) -> None:
        """Count one."""
        self._roll(now)
        self._counts[-1] += 1

    def count(self, now: float) -> int:
        """Return how many there were."""
        self._roll(now)
        return sum(self._counts)

    def _roll(self, now: float) -> None:
        grain = int(now * _GRAINS)
        if grain > self._grain:
            self._counts.extend([0] * min(grain - self._grain, _GRAINS))
            self._grain = grain
