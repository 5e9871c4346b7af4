"""Slots that were reserved for this worker among a fleet's, and the clock they are told by. Pure."""

from __future__ import annotations

import collections
import math
from typing import Final

LATE_S: Final = 0.012
"""How long after its moment a slot may be used: covers the way from the server and the event loop's timers."""
_DRIFT: Final = 1e-4
"""Seconds a second by which two clocks may drift apart: ten times what computers' clocks do."""
_SLEW: Final = 0.002
"""Seconds a second by which slots may move to earlier moments: the rate is exceeded by this share meanwhile."""
_ANSWERS: Final = 5
"""So many tell enough to begin with: of a process that is being started, many a one comes late."""
_SET_S: Final = 0.05
"""Clocks that are further apart than they were thought to be were set. Slots that are told later than this would be
reserved in vain for as long as it takes to go over slowly."""


class ServerClock:
    """Tells a server's moments on this process's clock.

    What the server says was so at some moment between asking and hearing. The hearing that came soonest is believed,
    for a little less with each second, as clocks drift. One that comes sooner than those before is gone over to
    slowly, because it moves all slots to earlier moments; late ones do no harm. A clock that was set is noticed.
    """

    def __init__(self) -> None:
        self._ahead_s = self._known_s = math.inf
        """This process's clock less the server's: as slots are told by it, and as it is known to be."""
        self._seen_at = 0.0
        self._answers = 0

    @property
    def is_known(self) -> bool:
        """Whether slots may be told by it yet."""
        return self._answers >= _ANSWERS

    def see(self, sent_at: float, now: float, server_s: float) -> bool:
        """Learn from an answer; return whether a clock was set: what was told by it before is worth nothing.

        Args:
            sent_at: When it was asked for.
            now: When it came.
            server_s: The server's clock in between.
        """
        passed_s, self._seen_at = now - self._seen_at, now
        least_s, heard_s = sent_at - server_s, now - server_s
        was_set = not least_s - _SET_S <= self._ahead_s <= heard_s + _SET_S
        self._known_s = min(self._known_s + _DRIFT * passed_s, heard_s)
        if was_set or self._known_s < least_s:
            self._known_s = heard_s
            self._answers = 0
        self._answers += 1
        slowest_s = self._ahead_s - _SLEW * passed_s if self.is_known else -math.inf
        self._ahead_s = max(self._known_s, slowest_s)
        return was_set

    def here(self, server_s: float) -> float:
        """Return what this process's clock shows at a moment of the server's."""
        return server_s + self._ahead_s


class ReservedSlots:
    """Moments at which a call may go. One that was missed by some milliseconds is lost: a stall is not caught up."""

    def __init__(self) -> None:
        self._due: collections.deque[float] = collections.deque()
        self._used: float | None = None

    def __len__(self) -> int:
        return len(self._due)

    def add(self, first_at: float, interval_s: float, count: int) -> None:
        """Take so many more slots, all of them later than those that are here."""
        self._due.extend(first_at + interval_s * number for number in range(count))

    def next_in(self, now: float) -> float:
        """Return the seconds until the next slot, 0 if it is due, inf if there is none."""
        due = self._due
        while due and due[0] < now - LATE_S:
            due.popleft()
        return max(due[0] - now, 0.0) if due else math.inf

    def use(self) -> None:
        """Use the next slot."""
        self._used = self._due.popleft()

    def put_back(self) -> None:
        """Have the slot that was used last back, as no call was made; once, and while it is not missed."""
        if self._used is not None:
            self._due.appendleft(self._used)
            self._used = None

    def drop(self) -> None:
        """Give all of them up."""
        self._due.clear()
        self._used = None
