"""Time limits of calls without a timer for each: one sweeper over the calls in their order of starting."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from typing import Final

_SWEEP_S: Final = 0.1


@dataclasses.dataclass(slots=True)
class InFlight:
    """A call that is under way.

    Attributes:
        task: Makes the call; cancelled when it is overdue.
        began: The event loop's time at which it began.
        deadline: The event loop's time at which it is overdue.
        cancels_before: What `task.cancelling()` was when the call began.
        sent: Whether writing the request had begun.
        kept: Whether it goes over a connection that an earlier call used.
        overdue: Whether the sweeper cancelled it.
    """

    task: asyncio.Task[object]
    began: float
    deadline: float
    cancels_before: int
    sent: bool = False
    kept: bool = False
    overdue: bool = False

    @property
    def cancelled_by_others(self) -> bool:
        """Whether somebody but the sweeper also cancelled the task during the call."""
        return self.task.cancelling() > self.cancels_before + self.overdue


class Sweeper:
    """Cancels calls that are overdue. A timer for each call costs 12 µs, an entry here less than one.

    Args:
        limit_s: Seconds that a call may take; the same for all, so entries are overdue in their order.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._every_s = min(_SWEEP_S, limit_s / 4)
        # In order of starting. Not a deque: one stuck call at its front would keep all the finished ones.
        self._calls: dict[asyncio.Task[object], InFlight] = {}
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._every_s, self._sweep)

    def enter(self, task: asyncio.Task[object]) -> InFlight:
        """Begin to watch the call that `task` is about to make; end with `leave`."""
        now = self._loop.time()
        call = InFlight(task, now, now + self._limit_s, task.cancelling())
        self._calls[task] = call
        return call

    def leave(self, call: InFlight) -> None:
        """Watch `call` no longer and take back the sweeper's own cancelling of its task, if there was one."""
        del self._calls[call.task]
        if call.overdue:
            call.task.uncancel()

    def close(self) -> None:
        """Watch nothing any more."""
        self._timer.cancel()

    def _sweep(self) -> None:
        now = self._loop.time()
        for call in itertools.takewhile(lambda call: call.deadline <= now, self._calls.values()):
            if not call.overdue:
                call.overdue = True
                call.task.cancel()
        self._timer = self._loop.call_later(self._every_s, self._sweep)
