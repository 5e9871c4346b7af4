"""Refusals that have nothing to do with the pace: they come as often at a low rate. Pure."""

from __future__ import annotations

import collections
import enum
import math
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

_FEW: Final = 100
"""One refusal in more calls than this is borne where it costs little time: going slower would cost more."""
_CHEAP: Final = 0.06
"""Share of the time up to which a cool-down costs little."""
_KEPT: Final = 12
_SLOWER: Final = 1.25
_EPISODES: Final = 3
_SHORT_S: Final = 0.5
_TELLS_APART: Final = 1.3
"""So much more would come through at the faster rate, at the least, if refusals had nothing to do with it."""
_GOT_WORSE: Final = 4.0
_WATCHED: Final = 8
_AGAIN_S: Final = 30.0


class Episode(NamedTuple):
    """A refusal, and what went before it.

    Attributes:
        rate_per_s: The rate that was refused.
        calls: Calls let through since the refusal before.
        tried_s: How long that took.
        blocked_s: How long nothing had been let through before.
        cool_down_s: How long nobody may call now.
        refused: Calls that were refused together the time before.
    """

    rate_per_s: float
    calls: int
    tried_s: float
    blocked_s: float
    cool_down_s: float
    refused: int = 1

    @property
    def cost(self) -> float:
        """Share of the time that the cool-down takes."""
        return self.cool_down_s / max(self.tried_s + self.cool_down_s, 1e-9)


class Advice(enum.Enum):
    """What to do about a refusal."""

    SLOW_DOWN = enum.auto()
    BEAR = enum.auto()
    """It tells nothing: go on as before."""
    TRY_FASTER = enum.auto()
    """Slowing down has not helped so far: go back to the rate before, to see whether that is any worse."""
    RETURN = enum.auto()
    """It is: go on at the lower rate."""


class Strays:
    """Compares how often refusals come at one rate and at another."""

    def __init__(self) -> None:
        self._episodes: collections.deque[Episode] = collections.deque(maxlen=_KEPT)
        self._usual: float | None = None
        """Calls between two refusals that come whatever the rate; None if there are no such."""
        self._trial: list[Episode] | None = None
        """Refusals of the faster rate that is being tried."""
        self._calls_here = self._top_per_s = self._strays_from_per_s = 0.0
        self._again_at, self._again_s = -math.inf, _AGAIN_S
        self.faster_per_s = self.slower_per_s = 0.0
        """The rates to try, and to return to."""

    @property
    def are_known(self) -> bool:
        """Whether refusals were found to come whatever the rate."""
        return self._usual is not None

    def see(self, episode: Episode, now: float, *, steady: bool) -> Advice:
        """Return what to do about a refusal; `steady`: it came while the rate was held."""
        self._episodes.append(episode)
        self._top_per_s = max(self._top_per_s, episode.rate_per_s)
        if self._usual is not None:
            return self._watch(self._usual)
        if self._trial is not None:
            return self._judge(episode, now, self._trial)
        cheap, few = episode.cost <= _CHEAP, episode.calls >= _FEW * episode.refused
        if not cheap and few:
            return Advice.SLOW_DOWN
        if now >= self._again_at and episode.cool_down_s <= _SHORT_S and self._makes_no_difference(episode):
            self._trial = []
            return Advice.TRY_FASTER
        return Advice.BEAR if steady and cheap and few else Advice.SLOW_DOWN

    def forget(self) -> None:
        """Begin anew: refusals that last for seconds are no strays."""
        self._episodes.clear()
        self._trial = None

    def _makes_no_difference(self, last: Episode) -> bool:
        """Return whether slowing down may not have helped so far, and going faster would show it."""
        here = list(self._episodes)[-_EPISODES:]
        least = _SLOWER * max(each.rate_per_s for each in here)
        faster = [each.rate_per_s for each in self._episodes if each.rate_per_s >= least]
        if len(here) < _EPISODES or not faster:
            return False
        self.faster_per_s, self.slower_per_s = max(faster), last.rate_per_s
        self._calls_here = statistics.fmean(each.calls for each in here)
        # A limiter lets the same through whatever the pace; strays let more through at a faster one.
        limited_per_s = _through_per_s(here)
        cool_down_s = statistics.fmean(each.cool_down_s for each in here)
        free_per_s = self._calls_here / (self._calls_here / self.faster_per_s + cool_down_s)
        self._strays_from_per_s = math.sqrt(limited_per_s * free_per_s)
        return free_per_s >= _TELLS_APART * limited_per_s

    def _judge(self, episode: Episode, now: float, trial: list[Episode]) -> Advice:
        """Say what the faster rate has shown so far."""
        trial.append(episode)
        calls = sum(each.calls for each in trial)
        if len(trial) < _EPISODES and calls < self._calls_here * _EPISODES:
            return Advice.BEAR
        self._trial = None
        self._episodes.clear()
        if _through_per_s(trial) >= self._strays_from_per_s:
            self.faster_per_s, self._top_per_s = self._top_per_s, 0.0
            self._usual = max(self._calls_here, calls / len(trial))
            return Advice.TRY_FASTER
        self._again_at = now + self._again_s
        self._again_s *= 2.0
        return Advice.RETURN

    def _watch(self, usual: float) -> Advice:
        """Say whether refusals still come no more often than whatever the rate."""
        recent = [each.calls for each in self._episodes][-_WATCHED:]
        if len(recent) < _WATCHED or statistics.fmean(recent) * _GOT_WORSE >= usual:
            return Advice.BEAR
        self._usual = None
        self._episodes.clear()
        return Advice.SLOW_DOWN


def _through_per_s(episodes: Sequence[Episode]) -> float:
    """Return how many calls came through a second, cool-downs included."""
    calls = sum(each.calls for each in episodes)
    return calls / max(sum(each.tried_s + each.blocked_s for each in episodes), 1e-9)
