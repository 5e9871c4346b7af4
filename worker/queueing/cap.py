"""How many rows of a queue an hour may have, whoever publishes them (`--max-rows-per-hour`)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

import structlog

from worker.errors import BrokerError
from worker.ports import RowCount
from worker.queueing.messages import PoisonError
from worker.queueing.patience import is_set_within

_MINUTE_S: Final = 60.0
_MINUTES: Final = 60
_LOOK_AGAIN_S: Final = 60.0
_LOST_S: Final = 5.0


class HourlyCap:
    """Admits messages while the hour has room for all of their rows; a row's retries do not count.

    A message is admitted as a whole, so that none is begun that cannot be finished. While the count cannot be asked,
    none is.

    Args:
        most: Rows in any hour.
        count: Counts them.
        log: Is told when the cap is reached, and when there is room again.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        most: int,
        count: RowCount,
        log: structlog.typing.FilteringBoundLogger,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._count = count
        self._log = log
        self._clock = clock
        self._closed_until = -math.inf
        self._closed_because = ""

    def check(self, rows: int) -> None:
        """See to it that a message of so many rows can be admitted at all.

        Raises:
            PoisonError: It has more rows than an hour may have.
        """
        if rows > self._most:
            raise PoisonError(f"it has {rows} rows, and an hour may have {self._most} (--max-rows-per-hour)")

    async def admits(self, rows: int) -> bool:
        """Return whether a message of so many rows may be worked on, which counts them."""
        if self._clock() < self._closed_until:
            return False
        try:
            wait_s = await self._count.count(rows, self._most)
        except BrokerError as error:
            self._close(_LOST_S, "row_count_lost", error=str(error))
            return False
        if wait_s > 0.0:
            self._close(wait_s, "hourly_cap_reached", rows=self._most, in_s=round(wait_s))
            return False
        if self._closed_because:
            self._log.info("hour_has_room_again")
            self._closed_because = ""
        return True

    async def waited(self, unless: asyncio.Event) -> bool:
        """Wait while nothing is admitted, or until `unless` is set; return whether there was a need to."""
        wait_s = min(self._closed_until - self._clock(), _LOOK_AGAIN_S)
        if wait_s <= 0.0:
            return False
        await is_set_within(unless, wait_s)
        return True

    def _close(self, wait_s: float, because: str, **told: object) -> None:
        self._closed_until = self._clock() + wait_s
        if because != self._closed_because:
            self._log.warning(because, **told)
        self._closed_because = because


class OwnRowCount:
    """Counts the rows of this worker alone, by minutes. Implements `worker.ports.RowCount`.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes: dict[int, int] = {}

    async def count(self, rows: int, most: int) -> float:
        """Count `rows` and return 0, or return in how many seconds to ask again.

        The minute an hour ago counts as a whole: no hour ever has more.
        """
        now = self._clock()
        minute = int(now // _MINUTE_S)
        self._minutes = {of: count for of, count in self._minutes.items() if of >= minute - _MINUTES}
        if sum(self._minutes.values()) + rows > most:
            return (min(self._minutes) + _MINUTES + 1) * _MINUTE_S - now
        self._minutes[minute] = self._minutes.get(minute, 0) + rows
        return 0.0
