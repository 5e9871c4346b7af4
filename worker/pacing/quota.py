"""How long a server's window is, from what its headers say call by call. Pure; the clock is passed in.

A header that names a quota seldom names its window, and its reset is rounded up to a second or more. What is certain
is the moment at which a window ends: `remaining` jumps up, and another reset is told. From one such moment to the
next is a window. Until two were seen, what is left of the quota is spread over what is left of the window.
"""

from __future__ import annotations

import collections
import math
import statistics
from typing import Final

from worker.pacing.headers import ServerLimit

_LONGEST_WINDOW_S: Final = 61.0
"""A quota of a longer window says nothing of a pace: a run may be over before it is used up."""
_ROUNDED_S: Final = 1.0
"""A reset may be told so much later than it is."""
_SPREAD_FROM_S: Final = 3.0
"""A window that may be shorter is known sooner than its quota could be spread."""
_FULL: Final = 0.8
"""Share of the quota that is there again, at the least, when a window has ended."""
_JUMPS: Final = 8
_SHORTEST_S: Final = 0.3
_WHOLE: Final = 0.08
"""A window this near a whole number of seconds is taken for that."""


class Quota:
    """Works out the pace that a quota allows."""

    def __init__(self) -> None:
        self._last: ServerLimit | None = None
        self._last_at = -math.inf
        self._began: tuple[float, float | None] | None = None
        self._longest_s = 0.0
        self._lengths: collections.deque[float] = collections.deque(maxlen=_JUMPS)

    def see(self, limit: ServerLimit, now: float) -> float | None:
        """Learn from an answer's headers; return the calls a second that the server allows, None if unknown."""
        if limit.quota is None:
            return None
        if limit.window_s is not None:
            return limit.quota / limit.window_s if limit.window_s <= _LONGEST_WINDOW_S else None
        self._see_jump(limit, now)
        self._last, self._last_at = limit, now
        if self._lengths:
            window_s = min(self._lengths)
            return limit.quota / window_s if window_s <= _LONGEST_WINDOW_S else None
        if limit.remaining is None and limit.reset_s is not None:
            self._longest_s = max(self._longest_s, limit.reset_s)
            return limit.quota / self._longest_s if 0.0 < self._longest_s <= _LONGEST_WINDOW_S else None
        return self._spread(limit)

    def _see_jump(self, limit: ServerLimit, now: float) -> None:
        """Note the window that has just ended, if one has."""
        if self._last is None or not _is_new(self._last, limit):
            return
        began, self._began = self._began, ((now + self._last_at) / 2.0, limit.reset_at)
        if began is not None and (length_s := self._length(began, limit, now)) >= _SHORTEST_S:
            self._lengths.append(length_s)

    def _length(self, began: tuple[float, float | None], limit: ServerLimit, now: float) -> float:
        at, moment = began
        if moment is not None and limit.reset_at is not None and limit.reset_at > moment:
            return limit.reset_at - moment
        length_s = (now + self._last_at) / 2.0 - at
        if limit.reset_s is not None and abs(length_s - limit.reset_s) <= _ROUNDED_S:
            # Told in seconds to go, rounded up: the first answer of a window tells it whole.
            whole_s = max(1.0, float(round(length_s)))
            return whole_s if abs(length_s - whole_s) <= max(_WHOLE * whole_s, 0.25) else length_s
        return statistics.median([length_s, *self._lengths]) if self._lengths else length_s

    def _spread(self, limit: ServerLimit) -> float | None:
        if limit.reset_s is None or limit.quota is None or limit.reset_s <= _SPREAD_FROM_S:
            return None
        if limit.reset_s > _LONGEST_WINDOW_S:
            return None
        left = limit.quota if limit.remaining is None else limit.remaining
        return max(left, 1.0) / max(limit.reset_s - _ROUNDED_S / 2.0, _ROUNDED_S)


def _is_new(last: ServerLimit, limit: ServerLimit) -> bool:
    """Return whether a window has ended between two answers."""
    if limit.remaining is None or last.remaining is None or limit.quota is None:
        return last.reset_at is not None and limit.reset_at is not None and limit.reset_at > last.reset_at
    return last.remaining < limit.remaining >= _FULL * limit.quota
