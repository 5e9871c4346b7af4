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
_SAME_CLOCK_S: Final = 2.0
"""A `Date` has whole seconds and was written some time ago: nearer than this to our clock it tells less than that."""
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
        remaining: Calls that are left in it.
        reset_at: The end of the window as a moment of the server's clock (epoch), where it is told so.
    """

    quota: float | None = None
    window_s: float | None = None
    reset_s: float | None = None
    remaining: float | None = None
    reset_at: float | None = None


def retry_after_s(reply: Reply, wall: float | None = None) -> float:
    """Return the seconds that an answer's Retry-After asks for, 0 to 300; 0 without one or for nonsense.

    Args:
        reply: What came back.
        wall: Epoch seconds, for dates; now if None.
    """
    return min(_retry_after_s(reply, wall), LONGEST_WAIT_S)


def asked_wait_s(reply: Reply, wall: float | None = None) -> float:
    """Return the seconds that a refusal asks to wait, as it says it: not clamped; 0 if it asks for nothing.

    Without a Retry-After that can be read, the end of the window that is used up counts.
    """
    asked_s = _retry_after_s(reply, wall)
    if asked_s or not isinstance(reply, Answer):
        return asked_s
    limit = _read(reply.headers, time.time() if wall is None else wall)
    return 0.0 if limit is None or limit.remaining or limit.reset_s is None else limit.reset_s


def server_limit(headers: Mapping[str, str], wall: float) -> ServerLimit | None:
    """Return what the rate-limit headers say, or None where there are none that can be read.

    Of several policies the one with the shortest window counts: it is the one that a pace can keep.

    Args:
        headers: The answer's, names in any case.
        wall: Epoch seconds, for resets that are moments.
    """
    limit = _read(headers, wall)
    if limit is None or limit.reset_s is None:
        return limit
    return dataclasses.replace(limit, reset_s=min(limit.reset_s, LONGEST_WAIT_S))


def _retry_after_s(reply: Reply, wall: float | None) -> float:
    if not isinstance(reply, Answer) or not (text := reply.headers.get("Retry-After", "").strip()):
        return 0.0
    # Not whatever `float` reads: to it `1_0` and `1e3` are numbers, and 400 digits are no finite one.
    if _SECONDS.fullmatch(text) is not None:
        return float(text)
    return max(_until(text, _server_time(reply.headers, time.time() if wall is None else wall)), 0.0)


def _server_time(headers: Mapping[str, str], wall: float) -> float:
    """Return the time of the server's clock, as its moments are to be read by it and not by ours."""
    ahead_s = _until(headers.get("Date", ""), wall)
    return wall if abs(ahead_s) < _SAME_CLOCK_S else wall + ahead_s


def _read(headers: Mapping[str, str], wall: float) -> ServerLimit | None:
    wall = _server_time(headers, wall)
    quota, window = _policy(headers.get("RateLimit-Policy", ""))
    if (structured := headers.get("RateLimit")) is not None:
        now = _state(structured)
        remaining = _number(now.get("r", now.get("remaining")))
        quota = quota or _number(now.get("limit"))
        return _limit(quota, window, _number(now.get("t", now.get("reset"))), remaining, wall)
    for prefix in _PREFIXES:
        if (limit := _number(headers.get(f"{prefix}Limit"))) is not None:
            if window is None:
                _, window = _policy(headers.get(f"{prefix}Limit", ""))
            reset, remaining = (_number(headers.get(f"{prefix}{name}")) for name in ("Reset", "Remaining"))
            return _limit(limit, window, reset, remaining, wall)
    return _limit(quota, window, None, None, wall)


def _state(text: str) -> dict[str, str]:
    """Return the parameters of the policy that is used up, or of the last one: `"a";r=0;t=8, "b";r=50;t=3`."""
    now = dict(_PARAMETER.findall(text))
    if "t" in now:
        for item in text.split(","):
            each = dict(_PARAMETER.findall(item))
            now = each if float(each.get("r", 1.0)) == 0.0 and "t" in each else now
    return now


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
    quota: float | None, window_s: float | None, reset: float | None, remaining: float | None, wall: float
) -> ServerLimit | None:
    if quota is None and window_s is None and reset is None:
        return None
    is_moment = reset is not None and reset >= _EPOCH_FROM
    reset_s = None if reset is None else max(reset - wall if is_moment else reset, 0.0)
    return ServerLimit(quota or None, window_s or None, reset_s, remaining, reset if is_moment else None)


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
