"""When this process was held up: what came meanwhile is seen late, and all at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

_EVERY_S: Final = 0.005
_HELD_UP_S: Final = 0.015
"""The event loop was held up if there was no beat for so long."""
_SERVED_S: Final = 0.03
"""For so long after a hold-up there may be requests that came during it."""


class Pulse:
    """Notices when the event loop that should make it beat was held up.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._beat_at = self._held_up_from = self._since = clock()
        self._held_up_to = -math.inf

    async def keep(self) -> None:
        """Beat until cancelled."""
        self._beat_at = self._clock()
        while True:
            await asyncio.sleep(_EVERY_S)
            self.beat()

    def beat(self) -> None:
        """Say that the event loop runs; to be called each five milliseconds."""
        self._beat_at = self._notice()

    def look(self) -> tuple[float, float]:
        """Return the moment before which what is seen now did not come, and now: the same if nothing was held up.

        Neither is ever before the one that was returned last.
        """
        now = self._notice()
        since = self._held_up_from if now - self._held_up_to <= _SERVED_S else now
        self._since = max(self._since, since)
        return self._since, now

    def _notice(self) -> float:
        """Return the time, and note if there was no beat for long; hold-ups that follow each other soon are one."""
        now = self._clock()
        if now - self._beat_at > _HELD_UP_S:
            if self._beat_at - self._held_up_to > _SERVED_S:
                self._held_up_from = self._beat_at
            self._held_up_to = now
        return now
