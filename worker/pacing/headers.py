"""What a server's headers say about its limits. Pure. Hints, never orders: all of it is clamped.

Sources: RFC 9110 section 10.2.3 (Retry-After); the IETF drafts `draft-ietf-httpapi-ratelimit-headers` up to 07
(RateLimit-Limit, -Remaining, -Reset) and from 08 on (RateLimit, RateLimit-Policy); the X-RateLimit-* that many send.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import re
import time
from collections.abc import Mapping
from typing import Final

from worker.model import Answer, Reply

LONGEST_WAIT_S: Final = 300.0
"""A `Retry-After` beyond this is taken as this: a wrong header must not stop a run for a day."""

_EPOCH_FROM: Final = 1_000_000_000.0
"""A reset above this many seconds is a moment (epoch), below it a time to wait."""

_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_NUMBER: Final = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(?:[,;].*)?", re.DOTALL)
_PARAMETER: Final = re.compile(r"(?:^|[;,])\s*([a-z]+)\s*=\s*(\d{1,15}(?:\.\d{1,9})?)")
_POLICY: Final = re.compile(r"\s*(\d{1,15})\s*(;.*)")
_PREFIXES: Final = ("RateLimit-", "X-RateLimit-", "X-Rate-Limit-")


@dataclasses.dataclass(frozen=True, slots=True)
class ServerLimit:
    """What a server says of its limit; each part may be unknown.

    Attributes:
        quota: Calls in a window.
        window_s: Length of the window.
        reset_s: Seconds until the present window ends.
    """

    quota: float | None = None
    window_s: float | None = None
    reset_s: float | None = None


def retry_after_s(reply: Reply, wall: float | None = None) -> float:
    """Return the seconds that an answer's Retry-After asks for, 0 to 300; 0 without one or for nonsense.

    Args:
        reply: What came back.
        wall: Epoch seconds, for dates; now if None.
    """
    if not isinstance(reply, Answer) or not (text := reply.headers.get("Retry-After", "").strip()):
        return 0.0
    # Not whatever `float` reads: to it `1_0` and `1e3` are numbers, and 400 digits are no finite one.
    is_number = _SECONDS.fullmatch(text) is not None
    seconds = float(text) if is_number else _until(text, time.time() if wall is None else wall)
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


def server_limit(headers: Mapping[str, str], wall: float) -> ServerLimit | None:
    """Return what the rate-limit headers say, or None where there are none that can be read.

    Of several policies the one with the shortest window counts: it is the one that a pace can keep.

    Args:
        headers: The answer's, names in any case.
        wall: Epoch seconds, for resets that are moments.
    """
    quota, window = _policy(headers.get("RateLimit-Policy", ""))
    if (structured := headers.get("RateLimit")) is not None:
        now = dict(_PARAMETER.findall(structured))
        quota = quota or _number(now.get("limit"))
        return _limit(quota, window, _number(now.get("t", now.get("reset"))), wall)
    for prefix in _PREFIXES:
        if (limit := _number(headers.get(f"{prefix}Limit"))) is not None:
            if window is None:
                _, window = _policy(headers.get(f"{prefix}Limit", ""))
            return _limit(limit, window, _number(headers.get(f"{prefix}Reset")), wall)
    return _limit(quota, window, None, wall)


def _policy(text: str) -> tuple[float | None, float | None]:
    """Return quota and window of the shortest policy: `"name";q=100;w=60` or the older `100;w=60`, by commas."""
    found: list[tuple[float, float]] = []
    for item in text.split(","):
        older = _POLICY.fullmatch(item)
        parameters = dict(_PARAMETER.findall(older[2] if older else item))
        quota, window = _number(older[1] if older else parameters.get("q")), _number(parameters.get("w"))
        if quota and window:
            found.append((window, quota))
    if not found:
        return None, None
    window, quota = min(found)
    return quota, window


def _limit(
    quota: float | None, window_s: float | None, reset: float | None, wall: float
) -> ServerLimit | None:
    if quota is None and window_s is None and reset is None:
        return None
    if reset is not None:
        reset = min(max(reset - wall if reset >= _EPOCH_FROM else reset, 0.0), LONGEST_WAIT_S)
    return ServerLimit(quota or None, window_s or None, reset)


def _number(text: str | None) -> float | None:
    match = _NUMBER.fullmatch(text) if text else None
    return float(match[1]) if match else None


def _until(text: str, wall: float) -> float:
    """Return the seconds until an HTTP date, negative for the past; 0 for what is none."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
        # An HTTP date without a zone (RFC 9110, 5.6.7: `asctime`) is UTC; Python would take it for local time.
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp() - wall
    except (ValueError, OverflowError):
        return 0.0
