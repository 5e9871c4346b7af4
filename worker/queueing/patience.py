"""What a worker does while its broker is lost: it tries again, ever more rarely, and says so once."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from worker.errors import BrokerError

_SHORTEST_S: Final = 0.1
_LONGEST_S: Final = 5.0

T = TypeVar("T")


async def is_set_within(event: asyncio.Event, wait_s: float) -> bool:
    """Wait for `event`, for so many seconds at most; return whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await event.wait()
    return event.is_set()


class Patience:
    """Whether the broker is lost, and how long it is waited for.

    Args:
        log: Is told when it is lost and when it is back.
        clock: Monotonic seconds.
        chance: Returns a number from 0 to 1: many workers that lost one broker do not come back all at once.
    """

    def __init__(
        self,
        log: structlog.typing.FilteringBoundLogger,
        clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._log = log
        self._clock = clock
        self._chance = chance
        self._ends_at = math.inf
        self._delay_s = _SHORTEST_S
        self.trouble = ""
        """Why the broker cannot be used now, or empty."""
        self.since: float | None = None
        """Since when (seconds of `clock`) it cannot be, or None."""

    def end_after(self, grace_s: float) -> None:
        """Give up what fails in `grace_s` seconds or later; the end that was set first stays."""
        self._ends_at = min(self._ends_at, self._clock() + grace_s)

    async def persist(self, step: Callable[[], Awaitable[T]]) -> T:
        """Do `step`, again and again while the broker is lost; each wait is about twice the last one, up to 5 s.

        Raises:
            BrokerError: The broker was still lost when the patience had ended.
        """
        delay_s = _SHORTEST_S
        while True:
            try:
                done = await step()
            except BrokerError as error:
                self.lost(error)
                left_s = self._ends_at - self._clock()
                if left_s <= 0:
                    raise
                await asyncio.sleep(min(self._jittered(delay_s), left_s))
                delay_s = min(delay_s * 2, _LONGEST_S)
            else:
                self.back()
                return done

    async def back_off(self, unless: asyncio.Event) -> None:
        """Wait, longer each time until the broker is back, and no longer than until `unless` is set."""
        delay_s, self._delay_s = self._delay_s, min(self._delay_s * 2, _LONGEST_S)
        await is_set_within(unless, self._jittered(delay_s))

    def _jittered(self, delay_s: float) -> float:
        return delay_s * (0.5 + self._chance() / 2)

    def lost(self, error: BrokerError) -> None:
        """Say that the broker is lost, unless that was said."""
        if not self.trouble:
            self.since = self._clock()
            self._log.warning("broker_lost", error=str(error))
        self.trouble = str(error)

    def back(self) -> None:
        """Say that the broker is back, if it was lost."""
        if self.trouble:
            self._log.info("broker_back")
        self.trouble, self.since = "", None
        self._delay_s = _SHORTEST_S
