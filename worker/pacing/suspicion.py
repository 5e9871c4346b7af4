"""Whether trouble is a limiter's doing: it is, if its share falls when the pace falls. Pure; the clock is passed in.

Many limiters refuse with a 503, a 500, a 403 or a closed connection. A server that is sick does the same, and so does
a row that is sick. Slowing down tells them apart: it mends what a limiter does, and nothing else. What remains at a
low rate is trouble.
"""

from __future__ import annotations

import collections
import enum
import math
from typing import Final

LOOKED_AT: Final = 300
"""Attempts before the present one in which suspects count."""
FEWEST: Final = 3
"""Suspects among them that begin a test: fewer are chance, and at most 1%."""
_ENOUGH: Final = 8.0
"""After a slowing so many suspects would have come by now, had it not helped: then what came is judged."""
_SHORTEST_TEST: Final = 12
_LONGEST_TEST: Final = 300
_HELPED: Final = 0.34
"""Share of the former share down to which a test shows a limit."""
_SAME: Final = 0.75
_ENOUGH_LEFT: Final = 6
"""So many suspects after a slowing, and no smaller a share, show early that it did not help."""
_MOST_CUTS: Final = 4
GREW: Final = 3.0
"""Times the share that was found to be trouble, from which on it is tested again."""
_AGAIN_S: Final = 60.0
_REVIEWED: Final = 30
"""After so many attempts, or more where few are refused, a limit that was found is looked at again."""
_STILL: Final = 0.5


class Finding(enum.Enum):
    """What a suspect was found to be."""

    NOTHING = enum.auto()
    """Too few to tell."""
    TEST = enum.auto()
    """Slow down and see; until then it is taken for a limit."""
    LIMIT = enum.auto()
    TROUBLE = enum.auto()


class Suspicion:
    """Tests one kind of trouble: one status, or one way in which calls get no answer."""

    def __init__(self) -> None:
        self.finding = Finding.NOTHING
        self._suspects: collections.deque[int] = collections.deque(maxlen=LOOKED_AT)
        self._cut_at = -math.inf
        self._cuts = 0
        self._before_seen = self._before_bad = 0
        self._after_seen = self._after_bad = 0
        self.share = self._share = 1.0
        """The shares before the last slowing, and before the first."""
        self._usual = 0.0
        """The share that was found to be trouble."""
        self._again_at = -math.inf
        self._again_s = _AGAIN_S

    def recent(self, number: int) -> int:
        """Return how many of the last attempts met it."""
        return sum(1 for each in self._suspects if each > number - LOOKED_AT)

    def see(self, now: float, sent_at: float, number: int, *, suspect: bool, may_test: bool = True) -> bool:
        """Count an attempt; return whether to slow down now.

        Args:
            now: Monotonic seconds.
            sent_at: When it went.
            number: How many attempts there have been.
            suspect: Whether it met this kind of trouble.
            may_test: Whether a test may begin.
        """
        if self.finding is Finding.TEST:
            return self._weigh(now, sent_at, suspect=suspect)
        if self.finding is Finding.LIMIT:
            self._review(now, suspect=suspect)
        if not suspect:
            return False
        self._suspects.append(number)
        while self._suspects[0] <= number - LOOKED_AT:
            self._suspects.popleft()
        if self.finding is Finding.LIMIT or len(self._suspects) < FEWEST or not may_test:
            return False
        seen = number - self._suspects[0]
        if self.finding is Finding.TROUBLE and (
            len(self._suspects) < GREW * self._usual * LOOKED_AT and now < self._again_at
        ):
            return False
        self.finding = Finding.TEST
        self._cuts = 0
        self._cut(now, seen, len(self._suspects) - 1)
        self._share = (len(self._suspects) - 1) / seen
        return True

    def confirm(self) -> None:
        """Say that other evidence shows a limit."""
        self.finding = Finding.LIMIT
        self._after_seen = self._after_bad = 0

    def belie(self, now: float) -> None:
        """Say that slowing down has not helped after all."""
        self._give_up(now, len(self._suspects) / LOOKED_AT)

    def forget(self) -> None:
        """Begin anew, as after an outage, which says nothing of a limit."""
        if self.finding is Finding.TEST:
            self.finding = Finding.NOTHING
        self._suspects.clear()

    def _weigh(self, now: float, sent_at: float, *, suspect: bool) -> bool:
        if sent_at <= self._cut_at:
            self._before_seen += 1
            self._before_bad += suspect
            return False
        if not suspect and self._after_bad == self._after_seen >= _ENOUGH_LEFT:
            # Nothing came through for a while, at whatever pace, and now it does: what follows tells.
            self._after_seen = self._after_bad = 0
        self._after_seen += 1
        self._after_bad += suspect
        before = self._before_bad / self._before_seen
        after = self._after_bad / self._after_seen
        enough = min(max(_ENOUGH / before, _SHORTEST_TEST), _LONGEST_TEST)
        if after >= _SAME * before and self._after_bad >= _ENOUGH_LEFT:
            return self._cut_again(now, after)
        if self._after_seen < enough:
            return False
        if after > _HELPED * before:
            return self._cut_again(now, after)
        self.confirm()
        return False

    def _review(self, now: float, *, suspect: bool) -> None:
        """Take a limit back if as large a share is refused as at the pace of before it was found."""
        self._after_seen += 1
        self._after_bad += suspect
        if self._after_seen >= max(_REVIEWED, _ENOUGH / self._share):
            share = self._after_bad / self._after_seen
            self._after_seen = self._after_bad = 0
            if share >= _STILL * self._share:
                self._give_up(now, share)

    def _cut_again(self, now: float, after: float) -> bool:
        if after == 1.0:
            return False  # nothing comes through: an outage, or a window that is used up
        if self._cuts >= _MOST_CUTS:
            self._give_up(now, after)
            return False
        self._cut(now, self._after_seen, self._after_bad)
        return True

    def _cut(self, now: float, seen: int, bad: int) -> None:
        self._cuts += 1
        self._cut_at = now
        self.share = bad / seen
        self._before_seen, self._before_bad = seen, bad
        self._after_seen = self._after_bad = 0

    def _give_up(self, now: float, share: float) -> None:
        self.finding = Finding.TROUBLE
        self._usual = share
        self._again_at = now + self._again_s
        self._again_s *= 2.0
