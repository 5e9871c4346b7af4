"""Finds a server's hidden limit and stays just under it. Pure; the clock is passed in.

A search between two rates: the highest that was kept up for a while and the lowest that met a 429. Without any
429 the rate doubles from a low start (or stands at the ceiling); once the two are near each other it stays under
the lower one, and asks for a little more now and then. Only the first 429 of an episode moves anything: an
episode ends when a call is accepted again after the cool-down, so it cannot be drawn out by its own cool-downs.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable
from typing import Final

_START_PER_S: Final = 10.0
_START_DOUBLES_S: Final = 0.35
_SLOWEST_PER_S: Final = 0.2

_KEPT_UP_S: Final = 1.5
"""A rate that a server took for so long is one that it allows: longer than the usual window of a second."""
_USED: Final = 0.7
"""A rate was tried only if at least so much of it was used; else something else limits the calls."""
_NEAR: Final = 1.06
"""The search ends when the rate that met a 429 is within this factor."""
_BELOW: Final = 0.99
_DEEPEST_CUT: Final = 0.5
_CREDIT_S: Final = 0.6
"""What a limiter may have saved up in a cool-down, as seconds of its limit; the first guess of a cut."""
_LITTLE_S: Final = 0.1
"""The same for a limiter with a small burst."""
_TELLING_S: Final = 0.3
_DOUBT: Final = 1.04
_LEAST_OF_KEPT_UP: Final = 0.97
_CUT_IF_HELD: Final = 0.93
_CUT_IF_TOLD: Final = 0.985
_STEPS: Final = 8
_BELOW_TOLD: Final = 0.98

_PROBE_AFTER_S: Final = 10.0
_LONGEST_PROBE_AFTER_S: Final = 30.0
_PROBE_STEP: Final = 0.01
_PROBE_GROWS: Final = 1.5
_LARGEST_PROBE_STEP: Final = 0.25

_TROUBLE_CUT: Final = 0.7
_DEEPEST_TROUBLE: Final = 0.35
_TROUBLE_EPISODE_S: Final = 2.0


class AdaptiveRate:
    """The rate in force, moved by what the server answers.

    Args:
        ceiling_per_s: Never above this, and the first guess; None to start low and find out.
        now: Monotonic seconds.
    """

    def __init__(self, ceiling_per_s: float | None, now: float) -> None:
        self._ceiling = math.inf if ceiling_per_s is None else ceiling_per_s
        self._rate = _START_PER_S if ceiling_per_s is None else ceiling_per_s
        self._kept_up: float | None = None
        """Highest rate that the server allowed, as far as is known."""
        self._met: float | None = None
        """Lowest rate that met a 429 lately, or None before the first."""
        self._told = math.inf
        self._trusts_told = False
        self._step_at = now
        """When the present rate began to be used: ahead of now in a cool-down."""
        self._accepted = 0
        """Calls accepted since then."""
        self._steps: collections.deque[tuple[float, float]] = collections.deque(maxlen=_STEPS)
        """Rate and seconds of the steps since the last cool-down."""
        self._probe_step = _PROBE_STEP
        self._probe_after_s = _PROBE_AFTER_S
        self._slowed = 1.0
        self._slowed_at = now

    @property
    def why(self) -> str:
        """Why the rate is what it is, in a few words; empty while nothing but the ceiling limits it."""
        if self._slowed < 1.0:
            return "slower while the server has trouble"
        if self._told < min(self._ceiling, self._rate):
            return "just below what the server says it allows"
        if self._met is not None:
            return "just below what the server allows"
        return "looking for the server's limit" if self._ceiling == math.inf else ""

    def accepted(self, now: float) -> None:
        """Count a call that the server took; those that come back in a cool-down went before it."""
        if now >= self._step_at:
            self._accepted += 1

    @property
    def rate_per_s(self) -> float:
        """The rate for now."""
        return max(min(self._rate * self._slowed, self._most), _SLOWEST_PER_S)

    def advance(self, now: float) -> None:
        """Let time pass; call it some times a second while calls go out."""
        if self._slowed < 1.0 and now - self._slowed_at > _TROUBLE_EPISODE_S:
            self._slowed = min(1.0, self._slowed / _TROUBLE_CUT)
            self._slowed_at = now
        tried_s = now - self._step_at
        if tried_s < self._patience_s():
            return
        if self._slowed == 1.0 and self._accepted >= _USED * tried_s * self.rate_per_s:
            self._raise()
        self._note_step(now)
        self._begin_step(now)

    def throttled(self, now: float, resume_at: float) -> None:
        """Learn from a 429; nothing goes before `resume_at`. Only the first of an episode cuts the rate."""
        if self._met is not None and not self._accepted:
            self._step_at = resume_at
            return
        self._note_step(now)
        self._met = self.rate_per_s
        if self._kept_up is not None and self._kept_up < self._met:
            self._narrow(self._kept_up, self._met, now - self._step_at)
        else:
            self._cut(now - self._step_at)
        self._steps.clear()
        self._begin_step(resume_at)

    def told(self, limit_per_s: float) -> None:
        """Heed a limit that the server names: never above it, and after a 429 the next guess."""
        if limit_per_s == self._told:
            return
        self._told = limit_per_s
        self._trusts_told = True
        if self._met is not None and self._most < self._met:
            self._rate = self._most

    def troubled(self, now: float) -> None:
        """Give way to a server in trouble (5xx, time-outs), once an episode; the rate comes back by itself."""
        if self._slowed == 1.0 or now - self._slowed_at > _TROUBLE_EPISODE_S / 2:
            self._slowed = max(self._slowed * _TROUBLE_CUT, _DEEPEST_TROUBLE)
            self._slowed_at = now

    @property
    def _most(self) -> float:
        return min(self._ceiling, self._told * _BELOW_TOLD)

    def _patience_s(self) -> float:
        if self._met is None:
            return _START_DOUBLES_S
        return _KEPT_UP_S if self._met > self._rate * _NEAR else self._probe_after_s

    def _raise(self) -> None:
        """Go on from a rate that was kept up."""
        if self._rate >= self._most:
            return
        if self._met is None:
            self._rate = min(self._rate * 2, self._most)
        elif self._met > self._rate * _NEAR:
            self._kept_up = self._rate
            self._search()
        else:
            self._kept_up = self._rate
            self._rate *= 1.0 + self._probe_step
            self._met = max(self._met, self._rate)
            self._probe_step = min(self._probe_step * _PROBE_GROWS, _LARGEST_PROBE_STEP)
            self._probe_after_s = min(self._probe_after_s * _PROBE_GROWS, _LONGEST_PROBE_AFTER_S)

    def _search(self) -> None:
        """Try half-way between what was kept up and what met a 429, or stay just below the one if they are near."""
        assert self._kept_up is not None
        assert self._met is not None
        if self._met <= self._kept_up * _NEAR:
            self._rate = self._kept_up * _BELOW
        else:
            self._rate = math.sqrt(self._kept_up * self._met)

    def _narrow(self, kept_up: float, met: float, tried_s: float) -> None:
        """Draw in from above: `met` was refused after so many seconds, `kept_up` was not."""
        self._probe_step = _PROBE_STEP
        likely = _limit_from(self._steps)
        if tried_s < _TELLING_S:
            self._search()
        elif likely * _BELOW > kept_up:
            self._met = min(met, likely * _DOUBT)
            self._rate = min(likely * _BELOW, math.sqrt(kept_up * met))
        else:  # what seemed to be kept up may have lived on what the limiter had saved up
            self._met = max(likely, kept_up * _LEAST_OF_KEPT_UP)
            self._kept_up = self._rate = self._met * _BELOW

    def _cut(self, tried_s: float) -> None:
        """Come down from a rate of which no part is known to be allowed."""
        deepest = _DEEPEST_CUT if self._kept_up is None else _CUT_IF_HELD
        if self._trusts_told and self._rate >= self._most:
            deepest = _CUT_IF_TOLD
        self._trusts_told = False
        self._kept_up = None
        self._rate = self.rate_per_s * max(tried_s / (tried_s + _CREDIT_S), deepest)

    def _note_step(self, now: float) -> None:
        self._steps.append((self.rate_per_s, max(now - self._step_at, 0.0)))

    def _begin_step(self, at: float) -> None:
        self._step_at = at
        self._accepted = 0


def _limit_from(steps: Iterable[tuple[float, float]]) -> float:
    """Return the limit that a limiter with little saved up would have that refused at the end of these steps.

    Above its limit `L` a step drains `(rate - L) * seconds`; all that was saved up, `_LITTLE_S * L`, was gone.

    Args:
        steps: Rate and seconds of each step since the last cool-down; at least one.
    """
    calls, seconds = 0.0, _LITTLE_S
    for rate, lasted_s in sorted(steps, reverse=True):
        if calls > rate * seconds:
            break
        calls += rate * lasted_s
        seconds += lasted_s
    return calls / seconds
