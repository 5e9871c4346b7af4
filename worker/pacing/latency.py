"""How many calls may be in flight so that each is answered in time. Pure; the clock is passed in.

A limiter that delays lets every call in and answers it when its turn comes: what waits there grows with the calls in
flight, up to the time-out. By Little's law the wait is the calls in flight by the answers a second.
"""

from __future__ import annotations

import collections
import math
from typing import Final

_SPAN_S: Final = 5.0
"""Answers are counted over so long, or over four times their wait where that is longer."""
_SLOW: Final = 0.1
"""Share of the time-out that answers have to take, before the calls in flight are held to anything."""
_AIM: Final = 0.45
"""Share of the time-out within which each call is to be answered."""
_SMOOTH: Final = 0.2
_FEWEST: Final = 3
_KEPT: Final = 4096


class InFlight:
    """Holds the calls in flight to what is answered within half the time-out.

    Args:
        timeout_s: When a call is given up.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._answers: collections.deque[float] = collections.deque(maxlen=_KEPT)
        self._took_s = 0.0
        self._least_s = math.inf
        self._most = math.inf

    def answered(self, now: float, took_s: float) -> None:
        """Count an answer of whatever kind, and how long it took."""
        self._took_s += _SMOOTH * (took_s - self._took_s)
        self._least_s = min(self._least_s, took_s)
        if self._took_s < _SLOW * self._timeout_s:
            if self._answers:
                self._answers.clear()
                self._most = math.inf
            return
        self._answers.append(now)
        while now - self._answers[0] > max(_SPAN_S, 2.0 * self._took_s):
            self._answers.popleft()
        if len(self._answers) >= _FEWEST and now > self._answers[0]:
            per_s = (len(self._answers) - 1) / (now - self._answers[0])
            self._most = max(1.0, per_s * _AIM * self._timeout_s)

    def timed_out(self) -> None:
        """Count a call that was given up although others are slow, too: there are too many in flight."""
        if self._took_s >= _SLOW * self._timeout_s:
            self._most = max(1.0, min(self._most, 32.0) * 0.9)

    @property
    def is_slow(self) -> bool:
        """Whether answers take so long that the calls in flight are held to them."""
        return self._most < math.inf

    @property
    def most(self) -> int | None:
        """Most calls in flight, or None for any number."""
        return None if self._most == math.inf else int(self._most)
