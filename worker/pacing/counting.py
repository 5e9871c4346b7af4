"""Counts calls over spans of time. Pure; the clock is passed in."""

from __future__ import annotations

import collections
from typing import Final

_GRAINS: Final = 50
_SPAN_S: Final = 5.0
_SPANS: Final = 12


class LastSecond:
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


class BestSpan:
    """Counts the calls of five seconds, and remembers the most that there were in the last minute."""

    def __init__(self) -> None:
        self._span = 0
        self._counts = collections.deque([0] * _SPANS, maxlen=_SPANS)

    def add(self, now: float) -> None:
        """Count one."""
        self._roll(now)
        self._counts[-1] += 1

    def per_s(self, now: float) -> float:
        """Return the calls a second in the best span."""
        self._roll(now)
        return max(self._counts) / _SPAN_S

    def _roll(self, now: float) -> None:
        span = int(now / _SPAN_S)
        if span > self._span:
            self._counts.extend([0] * min(span - self._span, _SPANS))
            self._span = span
