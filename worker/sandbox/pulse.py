"""When this process was held up: what came meanwhile is seen late, and all at once."""

from __future__ import annotations

import asyncio
import collections
import math
from collections.abc import Callable
from typing import Final

_EVERY_S: Final = 0.005
_HELD_UP_S: Final = 0.015
"""The event loop was held up if there was no beat for so long."""
_SERVED_BEATS: Final = 6
"""What came before a beat is seen before so many more: the loop takes, reads and serves a connection by turns."""


class Pulse:
    """Notices when the event loop that should make it beat was held up.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._beat_at = self._since = clock()
        self._held_up_from: collections.deque[float] = collections.deque(maxlen=_SERVED_BEATS)
        """When the hold-up began that the beat ended, of the last beats; inf where there was none."""

    async def keep(self) -> None:
        """Beat until cancelled."""
        self._beat_at = self._clock()
        while True:
            await asyncio.sleep(_EVERY_S)
            self.beat()

    def beat(self) -> None:
        """Say that the event loop runs; to be called each five milliseconds."""
        now = self._clock()
        self._held_up_from.append(self._silent_from(now))
        self._beat_at = now

    def look(self) -> tuple[float, float]:
        """Return the moment before which what is seen now did not come, and now: the same if nothing was held up.

        Neither is ever before the one that was returned last.
        """
        now = self._clock()
        self._since = max(self._since, min(now, self._silent_from(now), *self._held_up_from))
        return self._since, now

    def _silent_from(self, now: float) -> float:
        """Return since when there was no beat, inf if that is not long."""
        return self._beat_at if now - self._beat_at > _HELD_UP_S else math.inf
