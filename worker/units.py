"""Durations and shares as people write them: `15m`, `1h30m`, `20%`."""

from __future__ import annotations

import math
import re
from typing import Final

from worker.errors import UsageError

_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE: Final = 100.0


def parse_duration_s(text: str) -> float:
    """Return the seconds that `text` means: one or more of `<number><ms|s|m|h|d>`, for example `1h30m`.

    Raises:
        UsageError: It is no duration, or it is zero.
    """
    compact = text.replace(" ", "").lower()
    parts = _PART.findall(compact)
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    if not parts or "".join(number + unit for number, unit in parts) != compact or not 0 < seconds < math.inf:
        raise UsageError(f"{text!r} is not a duration. Write for example 10s, 15m, 2h or 1h30m.")
    return seconds


def format_duration(seconds: float) -> str:
    """Return `seconds` for people, in at most two units: `0.4s`, `12s`, `3m05s`, `2h10m`, `3d04h`."""
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth still matters
        return f"{seconds:.1f}s"
    whole = round(seconds)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d{h:02}h"
    if hours:
        return f"{hours}h{m:02}m"
    return f"{minutes}m{s:02}s" if minutes else f"{s}s"


def exact_duration(seconds: float) -> str:
    """Return `seconds` so that `parse_duration_s` reads the same again: `15m`, `1h30m`, `2s500ms`."""
    left_ms, parts = round(seconds * 1000), []
    for unit in ("d", "h", "m", "s"):
        count, left_ms = divmod(left_ms, round(_UNIT_S[unit] * 1000))
        parts.append(f"{count}{unit}" if count else "")
    return "".join(parts) + (f"{left_ms}ms" if left_ms or not any(parts) else "")


def parse_share(text: str) -> float:
    """Return the share, 0 to 1, that `text` means: `20%` or `0.2`.

    Raises:
        UsageError: It is no share between 0 and 1 (0% and 100%).
    """
    compact = text.strip()
    try:
        share = float(compact.removesuffix("%")) / (_WHOLE if compact.endswith("%") else 1.0)
    except ValueError:
        share = math.nan
    if not 0.0 <= share <= 1.0:
        raise UsageError(f"{text!r} is not a share. Write a percentage such as 20%, or a number from 0 to 1.")
    return share
