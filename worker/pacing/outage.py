"""When the server is taken to be out, and when it is asked again (promise 7). Pure; the clock is passed in."""

from __future__ import annotations

import collections
import math
from typing import Final

WINDOW_S: Final = 10.0
LEAST_ATTEMPTS: Final = 20
OLDEST_S: Final = 300.0
"""Where calls are few, the last twenty attempts are looked at, unless they are older than this."""
_OUT_FROM: Final = 0.5
_BUCKET_S: Final = 0.1
_FIRST_PROBE_S: Final = 1.0
_LONGEST_PROBE_S: Final = 15.0


class Outage:
    """Counts the attempts of the last ten seconds; half of 20 or more in transient trouble open an outage.

    Eight connections that wait ten seconds each for a server that is silent make eight attempts in ten seconds:
    where there were fewer than 20, the last 20 count.
    While it is open one probe goes at a time; the first answer to one that is no trouble closes it.
    Answers that come while no probe is out belong to calls from before it opened and change nothing.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        """When it opened, or None."""
        self.probe_at = 0.0
        """When the next probe may go, while it is open; infinite while one is out."""
        self._probe_wait_s = _FIRST_PROBE_S
        self._buckets: collections.deque[tuple[float, int, int]] = collections.deque()
        """Of each bucket but the present one: its end, attempts and those in trouble."""
        self._attempts = self._troubled = 0
        self._bucket_attempts = self._bucket_troubled = 0
        self._bucket_ends_at = -math.inf

    def see(self, now: float, *, troubled: bool, alone: bool) -> bool:
        """Count an attempt that ended; returns whether that opened or closed an outage.

        Args:
            now: Monotonic seconds.
            troubled: Whether it met a transient error other than 429.
            alone: Whether no other call is in flight: only then is a failure the probe's for certain.
        """
        if self.since is not None:
            return self._see_in_outage(now, troubled=troubled, alone=alone)
        if now >= self._bucket_ends_at:
            self._turn(now)
        self._bucket_attempts += 1
        if not troubled:
            return False
        self._bucket_troubled += 1
        if self.share(now) < _OUT_FROM:
            return False
        self.since = now
        self._probe_wait_s = _FIRST_PROBE_S
        self.probe_at = now + self._probe_wait_s
        return True

    def probing(self) -> None:
        """Say that a probe goes: the next one waits for what becomes of it."""
        self.probe_at = math.inf

    def lost(self, now: float) -> None:
        """Say that nothing is in flight any more and that the last call ended without a reply.

        A probe that was given up must not leave the outage waiting for its answer.
        """
        if self.probe_at == math.inf:
            self.probe_at = now

    def share(self, now: float) -> float:
        """Return the share of the attempts looked at that met trouble; 0 of fewer than 20."""
        if now >= self._bucket_ends_at:
            self._turn(now)
        attempts = self._attempts + self._bucket_attempts
        return (self._troubled + self._bucket_troubled) / attempts if attempts >= LEAST_ATTEMPTS else 0.0

    def _see_in_outage(self, now: float, *, troubled: bool, alone: bool) -> bool:
        if self.probe_at != math.inf:
            return False
        if not troubled:
            self.since = None
            self._forget()
            return True
        if alone:
            self._probe_wait_s = min(self._probe_wait_s * 2, _LONGEST_PROBE_S)
            self.probe_at = now + self._probe_wait_s
        return False

    def _turn(self, now: float) -> None:
        """Begin another bucket and drop those that are older than the window, but for the last 20 attempts."""
        buckets = self._buckets
        if self._bucket_attempts:
            buckets.append((self._bucket_ends_at, self._bucket_attempts, self._bucket_troubled))
            self._attempts += self._bucket_attempts
            self._troubled += self._bucket_troubled
        while buckets and self._is_past(now, *buckets[0]):
            _, attempts, troubled = buckets.popleft()
            self._attempts -= attempts
            self._troubled -= troubled
        self._bucket_attempts = self._bucket_troubled = 0
        self._bucket_ends_at = now + _BUCKET_S

    def _is_past(self, now: float, ended_at: float, attempts: int, _troubled: int) -> bool:
        age_s = now - ended_at
        needed = self._attempts - attempts < LEAST_ATTEMPTS and age_s <= OLDEST_S
        return age_s > WINDOW_S - _BUCKET_S and not needed

    def _forget(self) -> None:
        self._buckets.clear()
        self._attempts = self._troubled = 0
        self._bucket_attempts = self._bucket_troubled = 0
