"""What refusals tell of a server that counts its calls afresh each second. Pure; the clock is passed in.

When its seconds begin is unknown, so each of a hundred moments is a hypothesis. Under each of them the calls that
were accepted since the second began are the limit, and no whole second before can have held more. A refusal narrows
the limit under a hypothesis, or refutes it; two or three refusals, at other points of a second, leave little doubt.
"""

from __future__ import annotations

import bisect
import collections
import math
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

_HYPOTHESES: Final = 100
_MISCOUNT: Final = 0.6
"""Calls by which a count may be off, as replies do not come at the moment at which the server counted."""
_MISCOUNT_SHARE: Final = 0.5 / _HYPOTHESES
"""The same as a share of the count: a second begins at most half a step beside a hypothesis."""
_SECONDS_BEFORE: Final = 3
_FEWEST_REFUSALS: Final = 2
"""One fits any kind of limit."""
_MOST_KEPT: Final = 4096
_CAUTIOUS: Final = 0.2

Bounds = tuple[float, float]
_ANYTHING: Final[Bounds] = (0.0, math.inf)


class Guess(NamedTuple):
    """What the limit can be, over all hypotheses that are left.

    Attributes:
        spread: The highest by the lowest; 1 if there is no doubt.
        likely: The median.
        cautious: Lower than four of five.
    """

    spread: float
    likely: float
    cautious: float


class SecondsLimit:
    """Works out the limit of a server that counts by seconds of its clock, if it is one."""

    def __init__(self) -> None:
        self._accepted: collections.deque[float] = collections.deque(maxlen=_MOST_KEPT)
        self._bounds = dict.fromkeys(range(_HYPOTHESES), _ANYTHING)
        self._refusals = 0

    def accepted(self, now: float) -> None:
        """Count a call that was let through."""
        self._accepted.append(now)

    def refused(self, now: float) -> Guess | None:
        """Learn from a refusal, the first after some calls; None if this is the first, or nothing fits them all."""
        times = list(self._accepted)
        if len(times) == _MOST_KEPT and times[0] > now - 1.0:
            return None  # too fast to be remembered for a second
        left = ((k, _narrowed(times, now, k / _HYPOTHESES, bounds)) for k, bounds in self._bounds.items())
        self._bounds = {k: bounds for k, bounds in left if bounds[0] <= bounds[1]}
        self._refusals += 1
        if not self._bounds:
            self._bounds = dict.fromkeys(range(_HYPOTHESES), _ANYTHING)
            self._refusals = 0
        if self._refusals < _FEWEST_REFUSALS:
            return None
        lows, highs = zip(*self._bounds.values(), strict=True)
        middles = sorted((low + high) / 2 for low, high in self._bounds.values())
        return Guess(
            max(highs) / max(min(lows), 1.0),
            statistics.median(middles),
            middles[int(len(middles) * _CAUTIOUS)],
        )


def _narrowed(times: Sequence[float], now: float, begins: float, bounds: Bounds) -> Bounds:
    """Return the bounds of the limit, if seconds begin at `begins` after a whole one; crossed if they cannot."""
    start = math.floor(now - begins) + begins
    end = bisect.bisect_right(times, now)
    first = bisect.bisect_right(times, start)
    limit = most = end - first
    for _ in range(_SECONDS_BEFORE):
        start, end = start - 1.0, first
        if start < times[0]:
            break
        first = bisect.bisect_right(times, start)
        most = max(most, end - first)
    miscount = _MISCOUNT + limit * _MISCOUNT_SHARE
    return max(bounds[0], most - miscount), min(bounds[1], limit + miscount)
