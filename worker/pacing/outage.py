"""When the server is taken to be out, and when it is asked again (promise 7). Pure; the clock is passed in."""

from __future__ import annotations

import collections
from typing import Final

WINDOW_S: Final = 10.0
LEAST_ATTEMPTS: Final = 20
_BUCKET_S: Final = 0.1
_FIRST_PROBE_S: Final = 1.0
_LONGEST_PROBE_S: Final = 15.0


class Outage:
    """Counts the attempts of the last ten seconds; half of 20 or more in transient trouble open an outage.

    While it is open one probe goes at a time; the first answer that is no trouble closes it.
    Answers of calls that were under way when it opened change nothing.
    """

    def __init__(self) -> None:
        self._buckets: collections.deque[list[float]] = collections.deque()
        self._attempts = 0
        self._troubled = 0
        self._probe_wait_s = _FIRST_PROBE_S
        self.since: float | None = None
        """When it opened, or None."""
        self.probe_at = 0.0
        """When the next probe may go, while it is open."""

    def see(self, now: float, *, troubled: bool) -> bool:
        """Count an attempt that ended; returns whether that opened or closed an outage."""
        if self.since is not None:
            return self._see_in_outage(now, troubled=troubled)
        self._count(now, troubled=troubled)
        if not troubled or self._attempts < LEAST_ATTEMPTS or 2 * self._troubled < self._attempts:
            return False
        self.since = now
        self._probe_wait_s = _FIRST_PROBE_S
        self.probe_at = now + self._probe_wait_s
        return True

    def probing(self) -> None:
        """Say that a probe goes: the next one waits for what becomes of it."""
        self.probe_at = float("inf")

    def _see_in_outage(self, now: float, *, troubled: bool) -> bool:
        if self.probe_at != float("inf"):
            return False  # no probe is out: the answer of a call from before the outage
        if troubled:
            self._probe_wait_s = min(self._probe_wait_s * 2, _LONGEST_PROBE_S)
            self.probe_at = now + self._probe_wait_s
            return False
        self.since = None
        self._buckets.clear()
        self._attempts = self._troubled = 0
        return True

    def _count(self, now: float, *, troubled: bool) -> None:
        buckets = self._buckets
        while buckets and now - buckets[0][0] > WINDOW_S:
            _, attempts, in_trouble = buckets.popleft()
            self._attempts -= int(attempts)
            self._troubled -= int(in_trouble)
        if not buckets or now - buckets[-1][0] >= _BUCKET_S:
            buckets.append([now, 0, 0])
        buckets[-1][1] += 1
        buckets[-1][2] += troubled
        self._attempts += 1
        self._troubled += troubled
