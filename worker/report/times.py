"""Instants as a report writes them: RFC 3339 in UTC, with milliseconds."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Final

_MILLISECONDS: Final = tuple(f".{number:03d}Z" for number in range(1000))
_SECONDS_KEPT: Final = 4096


def whole_ms(epoch_s: float) -> int:
    """Return the nearest whole millisecond since the epoch."""
    return int(epoch_s * 1000.0 + 0.5)


def _second(epoch_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch_s))


def stamper() -> Callable[[int], str]:
    """Return a function from epoch milliseconds to text such as `2026-11-23T19:54:21.042Z`.

    Each stamper remembers the latest few thousand seconds: the rows of a report share most of theirs, and
    formatting a date costs ten times what the rest of the stamp does.
    """
    second = functools.lru_cache(maxsize=_SECONDS_KEPT)(_second)

    def stamp(epoch_ms: int) -> str:
        return second(epoch_ms // 1000) + _MILLISECONDS[epoch_ms % 1000]

    return stamp
