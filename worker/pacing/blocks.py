"""What spans in which everything was refused tell of a quota and its window. Pure; the clock is passed in.

A server that lets so many calls through in a window, and says nothing, refuses all calls from the last one of these
until the window ends. The quota is what it let through, and the window lasts from the first call of that quota to
the end of the span. How often it is asked for that end decides how well the window is known.
"""

from __future__ import annotations

import collections
import math
from typing import Final, NamedTuple

SHORTEST_S: Final = 1.5
"""A span that is shorter tells of no window that would have to be known."""
_SHORTEST_AGAIN_S: Final = 0.5
"""Where one is supposed, a shorter span tells more of it."""
_FIRST_S: Final = 0.2
_DOUBLES_UNTIL_S: Final = 3.0
_GROWS: Final = 0.3
"""Share of a span by which it may be found to end too late, the first time."""
_LONGEST_S: Final = 30.0
_MISSES: Final = 0.08
"""Share of the window by which its end may be missed, once it is known."""
_LEAST_QUOTA: Final = 5
_KEPT: Final = 8192
_STRADDLES: Final = 1.25
"""Times the quota that a span of the window's length may have held, if it was a window."""


class Window(NamedTuple):
    """A window, as far as it is known.

    Attributes:
        quota: Calls that it lets through.
        least_s: It is no shorter.
        most_s: It is no longer.
    """

    quota: int
    least_s: float
    most_s: float

    def meets(self, other: Window) -> Window | None:
        """Return what fits both, or None if nothing does."""
        least_s, most_s = max(self.least_s, other.least_s), min(self.most_s, other.most_s)
        return Window(self.quota, least_s, most_s) if least_s <= most_s else None


class Blocks:
    """Watches what is let through and what is refused, and works out the window."""

    def __init__(self) -> None:
        self._accepted: collections.deque[float] = collections.deque(maxlen=_KEPT)
        self._since_block = 0
        self._began: float | None = None
        self._refused_at = self._resume_at = -math.inf
        self.window: Window | None = None
        self.is_sure = False
        """Whether two spans or more fit the window."""

    @property
    def lasted_s(self) -> float:
        """How long the present span has lasted when a call was refused last."""
        return 0.0 if self._began is None else self._refused_at - self._began

    @property
    def pace_per_s(self) -> float | None:
        """The pace that uses the quota up and no more, where the window is known for certain."""
        if self.window is None or not self.is_sure:
            return None
        return self.window.quota / ((self.window.least_s + self.window.most_s) / 2.0)

    def refused(self, now: float, resume_at: float) -> None:
        """Count a refusal; nothing goes before `resume_at`, which the server told if it is later than a poll."""
        if self._began is None:
            self._began = now
        self._refused_at, self._resume_at = now, resume_at

    def accepted(self, now: float, sent_at: float) -> float | None:
        """Count a call that was let through; return how long the span lasted that it ended, if it ended one."""
        ended_s = None
        if self._began is not None and sent_at > self._began:
            ended_s = now - self._began
            if ended_s >= (SHORTEST_S if self.window is None else _SHORTEST_AGAIN_S):
                self._learn(now)
            self._began = None
            self._since_block = 0
        self._accepted.append(now)
        self._since_block += 1
        return ended_s

    def poll_s(self, now: float) -> float:
        """Return in how many seconds to ask again after a refusal."""
        lasted_s = 0.0 if self._began is None else now - self._began
        if self.window is not None and (lasted_s > 0.0 or self.is_sure):
            first = self._first_of_quota(self.window.quota)
            if first is not None and now < first + 1.5 * self.window.most_s:
                return max(first + self.window.least_s - now, _MISSES * self.window.least_s, _FIRST_S)
        doubled_s = max(_FIRST_S, lasted_s + _FIRST_S)
        return doubled_s if doubled_s <= _DOUBLES_UNTIL_S else min(_GROWS * lasted_s, _LONGEST_S)

    def _learn(self, now: float) -> None:
        """Learn from a span that has just ended."""
        known = self.window
        if known is not None and (found := self._window(known.quota, now)) is not None:
            both = known.meets(found)
            if both is not None and self._never_held_more(both):
                self.window, self.is_sure = both, True
                return
        self.is_sure = False
        self.window = self._window(self._since_block, now)

    def _window(self, quota: int, now: float) -> Window | None:
        first = self._first_of_quota(quota)
        if quota < _LEAST_QUOTA or first is None:
            return None
        # A poll that was refused came before the end; a moment that the server told is rounded to a second.
        least = max(self._refused_at, min(self._resume_at, now) - 1.0)
        return Window(quota, max(least - first, 0.0), now - first)

    def _first_of_quota(self, quota: int) -> float | None:
        """Return when the first of the last `quota` calls was let through."""
        return self._accepted[-quota] if 0 < quota <= len(self._accepted) else None

    def _never_held_more(self, window: Window) -> bool:
        """Return whether no span of the window's length held much more than the quota: else it is a penalty."""
        times = list(self._accepted)
        most = int(window.quota * _STRADDLES)
        return all(
            late - early >= window.least_s * 0.9 for early, late in zip(times, times[most:], strict=False)
        )
