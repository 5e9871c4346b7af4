"""The hidden limits' arithmetic: a time in, a standing out. The clock is passed in and never read."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Final, Protocol

from worker.sandbox.options import Limit, LimitKind

_SLACK: Final = 1e-9
"""A token that is missing by less than floating point can tell is there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands at one moment.

    Attributes:
        limit: The limit.
        remaining: Requests that would pass now.
        wait_s: Seconds until one passes; 0 if one passes now.
        reset_s: Seconds until the limit is as new.
    """

    limit: Limit
    remaining: int
    wait_s: float
    reset_s: float


class Limiter(Protocol):
    """One limit's memory."""

    def standing(self, now_s: float) -> Standing:
        """Return how the limit stands at `now_s`; times never go back."""

    def take(self, now_s: float) -> None:
        """Count one request that passed at `now_s`."""


class TokenBucket:
    """Refills evenly; lets `burst` through at once when full."""

    def __init__(self, limit: Limit, now_s: float) -> None:
        self._limit = limit
        self._rate_per_s = limit.requests / limit.per_s
        self._capacity = float(limit.burst or limit.requests)
        self._tokens = self._capacity
        self._at_s = now_s

    def standing(self, now_s: float) -> Standing:
        """Return how the bucket stands."""
        tokens = self._filled(now_s)
        missing = max(0.0, 1.0 - tokens - _SLACK)
        return Standing(
            self._limit,
            math.floor(tokens + _SLACK),
            missing / self._rate_per_s,
            (self._capacity - tokens) / self._rate_per_s,
        )

    def take(self, now_s: float) -> None:
        """Take one token."""
        self._tokens = self._filled(now_s) - 1.0
        self._at_s = now_s

    def _filled(self, now_s: float) -> float:
        return min(self._capacity, self._tokens + (now_s - self._at_s) * self._rate_per_s)


class FixedWindow:
    """Counts from zero at each multiple of the window; up to twice the limit can pass around a border."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._window = -1
        self._count = 0

    def standing(self, now_s: float) -> Standing:
        """Return how the present window stands."""
        window = math.floor(now_s / self._limit.per_s)
        left = self._limit.requests - (self._count if window == self._window else 0)
        reset_s = (window + 1) * self._limit.per_s - now_s
        return Standing(self._limit, left, 0.0 if left > 0 else reset_s, reset_s)

    def take(self, now_s: float) -> None:
        """Count one in the present window."""
        window = math.floor(now_s / self._limit.per_s)
        self._count = self._count + 1 if window == self._window else 1
        self._window = window


class SlidingWindow:
    """Remembers when each request passed; never more than the limit in any window."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._passed: collections.deque[float] = collections.deque()

    def standing(self, now_s: float) -> Standing:
        """Return how the window that ends now stands."""
        while self._passed and self._passed[0] + self._limit.per_s <= now_s:
            self._passed.popleft()
        left = self._limit.requests - len(self._passed)
        wait_s = 0.0 if left > 0 else self._passed[0] + self._limit.per_s - now_s
        reset_s = self._passed[-1] + self._limit.per_s - now_s if self._passed else 0.0
        return Standing(self._limit, left, wait_s, reset_s)

    def take(self, now_s: float) -> None:
        """Remember one."""
        self._passed.append(now_s)


def make_limiter(limit: Limit, now_s: float) -> Limiter:
    """Return a limiter that has seen nothing yet."""
    if limit.kind is LimitKind.TOKEN_BUCKET:
        return TokenBucket(limit, now_s)
    return FixedWindow(limit) if limit.kind is LimitKind.FIXED_WINDOW else SlidingWindow(limit)


def admit(limiters: Sequence[Limiter], now_s: float) -> list[Standing]:
    """Let one request through all `limiters` or none, and return how each stands after it.

    A refused request costs nothing; then at least one standing has a `wait_s` above 0, as it has not when
    the request passed: for that, `wait_s` is the one from before it.
    """
    before = [limiter.standing(now_s) for limiter in limiters]
    if any(standing.wait_s > 0.0 for standing in before):
        return before
    for limiter in limiters:
        limiter.take(now_s)
    return [dataclasses.replace(limiter.standing(now_s), wait_s=0.0) for limiter in limiters]
