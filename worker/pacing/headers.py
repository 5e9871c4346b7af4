"""What a server's headers say about its limits. Pure. Hints, never orders: all of it is clamped.

Sources: RFC 9110 section 10.2.3 (Retry-After); the IETF drafts `draft-ietf-httpapi-ratelimit-headers` up to 07
(RateLimit-Limit, -Remaining, -Reset) and from 08 on (RateLimit, RateLimit-Policy); the X-RateLimit-* that many send.
"""

from __future__ import annotations

import dataclasses
import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import Final

from worker.model import Answer, Reply

LONGEST_WAIT_S: Final = 300.0
"""A `Retry-After` beyond this is taken as this: a wrong header must not stop a run for a day."""

_EPOCH_FROM: Final = 1_000_000_000.0
"""A reset above this many seconds is a moment (epoch), below it a time to wait."""

_NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:[,;].*)?")
_PARAMETER: Final = re.compile(r";\s*([a-z]+)\s*=\s*(\d+(?:\.\d+)?)")
_PREFIXES: Final = ("RateLimit-", "X-RateLimit-", "X-Rate-Limit-")


@dataclasses.dataclass(frozen=True, slots=True)
class ServerLimit:
    """What a server says of its limit; each part may be unknown.

    Attributes:
        quota: Calls in a window.
        window_s: Length of the window.
        remaining: Calls left in the present window.
        reset_s: Seconds until the present window ends.
    """

    quota: float | None = None
    window_s: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


def retry_after_s(reply: Reply, wall: float | None = None) -> float:
    """Return the seconds that an answer's Retry-After asks for, 0 to 300; 0 without one or for nonsense.

    Args:
        reply: What came back.
        wall: Epoch seconds, for dates; now if None.
    """
    if not isinstance(reply, Answer) or not (text := reply.headers.get("Retry-After", "").strip()):
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = _until(text, time.time() if wall is None else wall)
    return min(max(seconds, 0.0), LONGEST_WAIT_S) if math.isfinite(seconds) else 0.0


def server_limit(headers: Mapping[str, str], wall: float) -> ServerLimit | None:
    """Return what the rate-limit headers say, or None where there are none that can be read.

    Args:
        headers: The answer's, names in any case.
        wall: Epoch seconds, for resets that are moments.
    """
    structured = headers.get("RateLimit")
    if structured is not None:
        now = dict(_PARAMETER.findall(structured))
        policy = dict(_PARAMETER.findall(headers.get("RateLimit-Policy", "")))
        return _limit(policy.get("q"), policy.get("w"), now.get("r"), now.get("t"), wall)
    for prefix in _PREFIXES:
        if f"{prefix}Remaining" in headers or f"{prefix}Limit" in headers:
            policy = dict(
                _PARAMETER.findall(headers.get("RateLimit-Policy", headers.get(f"{prefix}Limit", "")))
            )
            names = ("Limit", "Remaining", "Reset")
            quota, remaining, reset = (_first(headers.get(prefix + name)) for name in names)
            return _limit(quota, policy.get("w"), remaining, reset, wall)
    return None


def _limit(
    quota: str | None, window: str | None, remaining: str | None, reset: str | None, wall: float
) -> ServerLimit | None:
    numbers = [None if text is None else float(text) for text in (quota, window, remaining, reset)]
    if all(number is None for number in numbers):
        return None
    reset_s = numbers[3]
    if reset_s is not None:
        reset_s = min(max(reset_s - wall if reset_s >= _EPOCH_FROM else reset_s, 0.0), LONGEST_WAIT_S)
    return ServerLimit(numbers[0] or None, numbers[1] or None, numbers[2], reset_s)


def _first(text: str | None) -> str | None:
    match = _NUMBER.fullmatch(text) if text else None
    return match[1] if match else None


def _until(text: str, wall: float) -> float:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - wall
    except (ValueError, OverflowError):
        return 0.0
