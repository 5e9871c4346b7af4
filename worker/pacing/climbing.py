"""When a rate that gave way rises again, and how fast. Pure; the clock is passed in."""

from __future__ import annotations

import math
from typing import Final

DOUBLES_S: Final = 0.4
CLIMBS: Final = (0.12, 0.02)
"""Shares by which the rate climbs each second: at first, and after that climb was refused."""
HELD: Final = len(CLIMBS)
_CLIMB_AFTER_S: Final = 1.0

_PROBE_AFTER_S: Final = 10.0
_LONGEST_PROBE_AFTER_S: Final = 120.0
_PROBE_COSTS: Final = 60.0
"""Times the last cool-down that has to be quiet before a little more is asked for."""
_PROBE_STEP: Final = 0.01
_PROBE_GROWS: Final = 1.5
_LARGEST_PROBE_STEP: Final = 0.25
_REGAIN_AFTER_S: Final = 3.0
_REGAINS: Final = 0.02
"""Share by which the rate climbs each second, after a little quiet, while it is well below what was refused."""
CLEAR: Final = 0.96
CLEAR_OF_PENALTY: Final = 0.86
"""Shares of a rate that was refused up to which that is; the latter where a refusal costs seconds."""


class Climb:
    """Moves a rate up: by doubling until the first refusal, then by `CLIMBS`, then by small steps now and then."""

    def __init__(self, stage: int | None) -> None:
        self.stage = stage
        """None before the first refusal, then which of `CLIMBS` is under way, or `HELD`."""
        self.after_s = _CLIMB_AFTER_S
        """So long a quiet comes before one of `CLIMBS`."""
        self.before_probe = math.inf
        """The rate before the last step that was not refused yet."""
        self.refused_per_s = math.inf
        """The rate that was refused last; infinite once it was let through."""
        self._clear = CLEAR
        self._step = _PROBE_STEP
        self._probe_after_s = _PROBE_AFTER_S
        self._moved_at = -math.inf

    def advance(self, rate: float, now: float, passed_s: float, quiet_s: float) -> float:
        """Return the rate after `passed_s` more seconds, the last `quiet_s` of them without a refusal."""
        if self.stage is None:
            return float(rate * 2.0 ** (passed_s / DOUBLES_S))
        if self.stage < HELD:
            return rate * (1.0 + CLIMBS[self.stage] * passed_s) if quiet_s >= self.after_s else rate
        if rate < self.refused_per_s * self._clear:
            regained = rate * (1.0 + _REGAINS * passed_s)
            return (
                min(regained, self.refused_per_s) if quiet_s >= max(_REGAIN_AFTER_S, self.after_s) else rate
            )
        if min(quiet_s, now - self._moved_at) < self._probe_after_s:
            return rate
        return self._probe(rate, now)

    def _probe(self, rate: float, now: float) -> float:
        if rate > self.refused_per_s:
            self.refused_per_s = math.inf
        self._moved_at = now
        self.before_probe = rate
        step, self._step = self._step, min(self._step * _PROBE_GROWS, _LARGEST_PROBE_STEP)
        return rate * (1.0 + step)

    def refused(self, rate: float) -> None:
        """Say that the rate was refused: what is asked for next is asked for later, and in small steps again."""
        if self.before_probe < math.inf:
            self._probe_after_s = min(2.0 * self._probe_after_s, _LONGEST_PROBE_AFTER_S)
        self.refused_per_s = rate
        self.before_probe = math.inf
        self._step = _PROBE_STEP

    def free(self, stage: int | None) -> None:
        """Forget what was refused: it told nothing."""
        self.stage = stage
        self.refused_per_s = self.before_probe = math.inf
        self.after_s, self._probe_after_s, self._clear = _CLIMB_AFTER_S, _PROBE_AFTER_S, CLEAR

    def cost(self, block_s: float) -> None:
        """Say how long a refusal held everybody: the longer, the less often it is risked."""
        self._probe_after_s = min(max(self._probe_after_s, _PROBE_COSTS * block_s), _LONGEST_PROBE_AFTER_S)

    def penalise(self, block_s: float) -> None:
        """Say that nothing was let through for so long: keep well clear of what was refused."""
        self._clear = CLEAR_OF_PENALTY
        self.cost(block_s)
