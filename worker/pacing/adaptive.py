"""Finds a server's hidden limit and stays just under it. Pure; the clock is passed in.

From one 429 to the next, the server accepted `A` calls; `T` seconds of them we were sending, `c` seconds we
cooled down. A limiter that was empty at both ends let through at most what it gained meanwhile, so its limit lies
between `A / (T + c)` (no credit was lost while we waited) and `A / T` (all of it was).
"""

from __future__ import annotations

from typing import Final

_START_PER_S: Final = 10.0
_START_DOUBLES_S: Final = 0.75
_STAY_BELOW: Final = 0.97
_DEEPEST_CUT: Final = 0.6
_TROUBLE_CUT: Final = 0.7
_SETTLE_S: Final = 0.5
"""After a cool-down, 429s of calls from before it belong to the same episode."""
_CLIMB_AFTER_S: Final = 1.5
_CLIMB_PER_S: Final = 0.03
_NEAR: Final = 0.985
"""Share of the rate that last met a 429 up to which the climb goes by itself."""
_PROBE_AFTER_S: Final = 25.0
_PROBE_STEP: Final = 1.02
_SLOWEST_PER_S: Final = 0.2


class AdaptiveRate:
    """The rate in force, moved by what the server answers.

    Args:
        ceiling_per_s: Never above this; None to start low and find out.
        now: Monotonic seconds.
    """

    def __init__(self, ceiling_per_s: float | None, now: float) -> None:
        self._ceiling = ceiling_per_s
        self._rate = _START_PER_S if ceiling_per_s is None else ceiling_per_s
        self._met_at: float | None = None
        """Rate at which the last 429 came, or None before the first."""
        self._episode_until = float("-inf")
        self._resumed_at = now
        self._onset_at: float | None = None
        self._accepted = 0
        self._moved_at = now
        self._slowed = 1.0
        self._told_per_s: float | None = None

    @property
    def found_per_s(self) -> float | None:
        """The rate that was found to be the server's, or None while nothing limits but the ceiling."""
        return None if self._met_at is None and self._told_per_s is None else self._rate

    def accepted(self) -> None:
        """Count a call that was not answered 429."""
        self._accepted += 1

    def rate(self, now: float) -> float:
        """Return the rate for now; call it a few times a second."""
        if now > self._episode_until:
            self._climb(now)
        limit = self._rate * self._slowed
        return max(limit if self._ceiling is None else min(limit, self._ceiling), _SLOWEST_PER_S)

    def throttled(self, now: float, resume_at: float) -> None:
        """Learn from a 429; the run cools down until `resume_at`. Only the first of an episode cuts the rate."""
        if now <= self._episode_until:
            self._episode_until = max(self._episode_until, resume_at + _SETTLE_S)
            return
        self._met_at = self._rate
        sending_s = max(now - self._resumed_at, 1e-3)
        since_onset_s = sending_s if self._onset_at is None else max(now - self._onset_at, 1e-3)
        least, most = self._accepted / since_onset_s, self._accepted / sending_s
        estimate = min(max(least, _DEEPEST_CUT * self._rate), most, self._rate)
        self._rate = max(estimate * _STAY_BELOW, _SLOWEST_PER_S)
        self._onset_at = now
        self._accepted = 0
        self._resumed_at = resume_at
        self._moved_at = resume_at
        self._episode_until = resume_at + _SETTLE_S

    def told(self, limit_per_s: float, now: float) -> None:
        """Heed a limit that the server names: stay just below it."""
        if self._told_per_s != limit_per_s:
            self._told_per_s = limit_per_s
            self._rate = limit_per_s * _STAY_BELOW
            self._met_at = limit_per_s
            self._moved_at = now

    def troubled(self, now: float) -> None:
        """Give way to a server in trouble (5xx, time-outs), once in a while; the rate comes back by itself."""
        if self._slowed == 1.0 or now - self._moved_at > _CLIMB_AFTER_S:
            self._slowed = max(self._slowed * _TROUBLE_CUT, _TROUBLE_CUT**3)
            self._moved_at = now

    def _climb(self, now: float) -> None:
        quiet_s = now - self._moved_at
        if self._slowed < 1.0:
            if quiet_s > _CLIMB_AFTER_S:
                self._slowed = min(1.0, self._slowed / _TROUBLE_CUT)
                self._moved_at = now
        elif self._met_at is None:
            if self._ceiling is None and quiet_s >= _START_DOUBLES_S:
                self._rate *= 2
                self._begin_anew(now)
        elif self._rate < self._met_at * _NEAR and self._told_per_s is None:
            if quiet_s > _CLIMB_AFTER_S:
                self._rate = min(self._rate * (1 + _CLIMB_PER_S * quiet_s), self._met_at * _NEAR)
                self._moved_at = now
        elif quiet_s > _PROBE_AFTER_S:
            self._rate *= _PROBE_STEP
            self._moved_at = now

    def _begin_anew(self, now: float) -> None:
        """Count accepted calls from now: what came before was at another rate."""
        self._moved_at = self._resumed_at = now
        self._accepted = 0
