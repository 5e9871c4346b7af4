"""Evenly spaced slots: when the next call may go. Pure; the clock is passed in.

A generic cell rate algorithm of burst 1 that keeps to its schedule, not to the moment of waking up: a call that
goes a millisecond late does not move the next one. A stall is not caught up beyond a few milliseconds (promise 4).
Source: ITU-T I.371, the virtual scheduling algorithm.
"""

from __future__ import annotations

import math
from typing import Final

CATCH_UP_S: Final = 0.004
"""How far behind its schedule a call may go without moving the schedule: covers the event loop's timers.

A second then holds at most `floor(1.004 * rate) + 1` calls: the rate and one for whole rates below 250/s, and
within 1% from there on.
"""


class Schedule:
    """Slots at a rate that may change at any moment.

    Args:
        rate_per_s: Slots a second, above zero, or None for no limit.
        last_at: When the slot before the first one was.
    """

    def __init__(self, rate_per_s: float | None, last_at: float = -math.inf) -> None:
        self._interval_s = _interval(rate_per_s)
        self._last_at = self._before_at = last_at

    def set_rate(self, rate_per_s: float | None) -> None:
        """Space the slots from the last one taken on by the new rate."""
        self._interval_s = _interval(rate_per_s)

    def take(self, now: float) -> float:
        """Take the next slot if it is due and return 0, else return the seconds until it is."""
        next_at = self.next_at
        if next_at > now:
            return next_at - now
        self._before_at = self._last_at
        self._last_at = max(next_at, now - CATCH_UP_S)
        return 0.0

    def put_back(self) -> None:
        """Have the slot that was taken last taken again, as nobody used it; once."""
        self._last_at = self._before_at

    @property
    def next_at(self) -> float:
        """When the next slot is due."""
        return self._last_at + self._interval_s


def _interval(rate_per_s: float | None) -> float:
    return 0.0 if rate_per_s is None else 1.0 / rate_per_s
