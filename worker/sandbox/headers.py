"""What a limit tells in headers, in the forms that servers use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Final

from worker.sandbox.limits import Standing
from worker.sandbox.options import HeaderForm

_HUGE_S: Final = 10**12
_HOUR_S: Final = 3600


def _draft(standing: Standing, _epoch_s: float) -> dict[str, str]:
    reset = math.ceil(standing.reset_s)
    window = math.ceil(standing.limit.per_s)
    return {
        "RateLimit": f'"default";r={standing.remaining};t={reset}',
        "RateLimit-Policy": f'"default";q={standing.limit.requests};w={window}',
    }


def _draft_7(standing: Standing, _epoch_s: float) -> dict[str, str]:
    limit, reset = standing.limit.requests, math.ceil(standing.reset_s)
    return {
        "RateLimit": f"limit={limit}, remaining={standing.remaining}, reset={reset}",
        "RateLimit-Policy": f"{limit};w={math.ceil(standing.limit.per_s)}",
    }


def _triple(prefix: str, standing: Standing, reset: int) -> dict[str, str]:
    return {
        f"{prefix}-Limit": str(standing.limit.requests),
        f"{prefix}-Remaining": str(standing.remaining),
        f"{prefix}-Reset": str(reset),
    }


_ALWAYS: Final[Mapping[HeaderForm, Callable[[Standing, float], dict[str, str]]]] = {
    HeaderForm.RATELIMIT_DRAFT: _draft,
    HeaderForm.RATELIMIT_DRAFT_7: _draft_7,
    HeaderForm.RATELIMIT_OLDER: lambda s, _: _triple("RateLimit", s, math.ceil(s.reset_s)),
    HeaderForm.X_RATELIMIT_RELATIVE: lambda s, _: _triple("X-RateLimit", s, math.ceil(s.reset_s)),
    HeaderForm.X_RATELIMIT_EPOCH: lambda s, now: _triple("X-RateLimit", s, math.ceil(now + s.reset_s)),
}

_WHEN_REFUSED: Final[Mapping[HeaderForm, Callable[[Standing, float], str]]] = {
    HeaderForm.RETRY_AFTER_SECONDS: lambda s, _: str(math.ceil(s.wait_s)),
    HeaderForm.RETRY_AFTER_DATE: lambda s, now: formatdate(math.ceil(now + s.wait_s), usegmt=True),
    HeaderForm.RETRY_AFTER_ZERO: lambda _, __: "0",
    HeaderForm.RETRY_AFTER_PAST: lambda _, now: formatdate(now - _HOUR_S, usegmt=True),
    HeaderForm.RETRY_AFTER_FRACTION: lambda s, _: f"{s.wait_s:.3f}",
    HeaderForm.RETRY_AFTER_HUGE: lambda _, __: str(_HUGE_S),
    HeaderForm.RETRY_AFTER_MALFORMED: lambda _, __: "soon; try=later",
}


def rate_headers(standings: Iterable[Standing], epoch_s: float) -> dict[str, str]:
    """Return the headers that `standings` ask for at `epoch_s`; of two that use one name the last wins.

    A standing with a `wait_s` above 0 is of a refused request. Times are rounded up to whole seconds, as
    servers do, except in the form that shows a fraction.
    """
    told: dict[str, str] = {}
    for standing in standings:
        for form in standing.limit.headers:
            if form in _ALWAYS:
                told |= _ALWAYS[form](standing, epoch_s)
            elif form in _WHEN_REFUSED and standing.wait_s > 0.0:
                told["Retry-After"] = _WHEN_REFUSED[form](standing, epoch_s)
    return told
