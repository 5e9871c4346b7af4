"""Claims rows a little ahead of the workers, so that a call never waits for the disk."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Sequence
from typing import Final

from worker.model import Row
from worker.ports import Source

_SMALLEST: Final = 2
_LARGEST: Final = 512
_BRISK_S: Final = 0.01
"""A block that lasts less than this is too small for the pace."""
_SLOW_S: Final = 0.04
"""A block that lasts longer than this claims rows that would be called a `maybe` for nothing after a kill."""


class Feed:
    """Rows claimed from a source: while the workers use one block, the next is claimed.

    Blocks are as small as they can be without the workers having to wait, and last at most about 40 ms.

    Args:
        source: Where the rows come from.
        clock: Monotonic seconds.
    """

    def __init__(self, source: Source, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._rows: collections.deque[Row] = collections.deque()
        self._size = _SMALLEST
        self._claimed_at = clock()
        self._ran_dry = False
        self._claiming: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._came = 0
        """Rows that came from elsewhere so far."""
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        """Whether `take` can only return None from now on."""
        return self._exhausted and not self._rows

    @property
    def dry(self) -> bool:
        """Whether there is no row to take at the moment; `refill` waits for one."""
        return not self._rows and not self._exhausted

    async def refill(self) -> None:
        """Wait until there is a row, or none is left.

        Raises:
            LedgerError: A claim could not be made durable.
        """
        while self.dry:
            self._ran_dry = True
            await asyncio.shield(self._claim())

    def take(self) -> Row | None:
        """Return the next row, or None when the source has none left; the feed is not dry.

        Raises:
            LedgerError: A claim could not be made durable.
        """
        rows = self._rows
        if not self._exhausted and len(rows) <= self._size:
            self._claim()
        return rows.popleft() if rows else None

    def look_elsewhere(self) -> None:
        """Have a row from another place of the source be the next that is taken, once it is claimed."""
        if self._looking is None and not self._exhausted:
            self._looking = asyncio.create_task(self._fetch_elsewhere())
            self._looking.add_done_callback(_note)

    async def drain(self) -> Sequence[Row]:
        """Stop claiming and return the rows that were claimed and never handed out; the source is closed."""
        for claim in (self._claiming, self._looking):
            if claim is not None:
                await claim
        self._exhausted = True
        rest = list(self._rows)
        self._rows.clear()
        return rest

    def _claim(self) -> asyncio.Task[None]:
        if self._claiming is not None and self._claiming.done():
            self._claiming.result()  # a claim that failed stays failed
            self._claiming = None
        if self._claiming is None:
            self._claiming = asyncio.create_task(self._fetch())
            self._claiming.add_done_callback(_note)
        return self._claiming

    async def _fetch(self) -> None:
        now = self._clock()
        self._size = _next_size(self._size, now - self._claimed_at, ran_dry=self._ran_dry)
        self._claimed_at, self._ran_dry = now, False
        came = self._came
        while not (claimed := await self._source.claim(self._size)):
            if self._came == came and not await self._source.more():
                self._exhausted = True
                return
            if self._came != came:  # those who wait for this claim are to look at a row from elsewhere
                return
            self._size = _SMALLEST  # what waits comes one by one
        self._rows.extend(claimed)

    async def _fetch_elsewhere(self) -> None:
        row = await self._source.claim_elsewhere()
        self._looking = None
        if row is not None:
            self._rows.appendleft(row)
            self._came += 1


def _note(claiming: asyncio.Task[None]) -> None:
    """Look at how a claim ended: asyncio prints the failure of a task that nobody looked at.

    Who comes for a row is told of it; nobody comes any more when the same broken ledger has ended the run.
    """
    if not claiming.cancelled():
        claiming.exception()


def _next_size(size: int, lasted_s: float, *, ran_dry: bool) -> int:
    if ran_dry or lasted_s < _BRISK_S:
        return min(size * 2, _LARGEST)
    return max(size // 2, _SMALLEST) if lasted_s > _SLOW_S else size
