"""When a failed row goes again: tenacity with full jitter, entered only after the first attempt failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, Final

import tenacity
from tenacity.wait import wait_base

from worker.model import Decision, Row, Verdict

_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class RetryLimits:
    """What bounds the attempts of one row.

    Attributes:
        attempts: Attempts that may end in a transient error; a 429 or a try during an outage costs none.
        time_limit_s: Seconds from the row's first attempt, outages and pauses not counted.
    """

    attempts: int
    time_limit_s: float

    def too_late(self, effort: Effort, active_s: float) -> bool:
        """Return whether a row may no longer go again at `active_s`, a value of the active clock."""
        return active_s - effort.active_since_s >= self.time_limit_s


@dataclasses.dataclass(slots=True)
class Effort:
    """What was put into one row so far.

    Attributes:
        row: The row.
        started_at: Epoch seconds when the session took the row up.
        active_since_s: Value of the active clock (monotonic, outages and pauses taken out) at that moment.
        requests: Requests sent, over all sessions.
        spent: Attempts of this session that count against the limit.
        sent: Whether a request of this session may have reached the server.
        verdict: The last one.
        retry_after_s: What the last answer asked to wait, clamped; 0 if nothing.
    """

    row: Row
    started_at: float
    active_since_s: float
    requests: int
    spent: int
    sent: bool
    verdict: Verdict
    retry_after_s: float


class _Wait(wait_base):
    """Full jitter (0.5 s doubling to 30 s), and never less than the server asked for.

    A throttled row waits for nothing of its own: the pacer's cool-down holds it, like every other.
    Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """

    def __init__(self) -> None:
        self._jitter = tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S)

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        effort = _effort(retry_state)
        if effort.verdict.decision is Decision.THROTTLED:
            return 0.0
        return max(self._jitter(retry_state), effort.retry_after_s)


def persistently(
    attempt: Callable[[Effort], Awaitable[Verdict]],
    limits: RetryLimits,
    *,
    active_clock: Callable[[float], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Callable[[Effort], Awaitable[Verdict]]:
    """Wrap `attempt` so that it is repeated until the verdict needs no retry or the limits are spent.

    The first attempt was made by the caller: the wrapped function begins by weighing `effort.verdict`.

    Args:
        attempt: Makes one attempt, updates the effort and returns its verdict.
        limits: When to give up; the last verdict is then returned.
        active_clock: Seconds, outages and pauses taken out, as they will be so many seconds from now.
        sleep: Waits; may raise to end the retrying.
    """

    def spent(retry_state: tenacity.RetryCallState) -> bool:
        effort = _effort(retry_state)
        goes_at = active_clock(retry_state.upcoming_sleep)
        return effort.spent >= limits.attempts or limits.too_late(effort, goes_at)

    async def weigh_first(effort: Effort, first: list[Verdict]) -> Verdict:
        return first.pop() if first else await attempt(effort)

    retrying: Any = tenacity.AsyncRetrying(
        sleep=sleep,
        stop=spent,
        wait=_Wait(),
        retry=tenacity.retry_if_result(_goes_again),
        retry_error_callback=_last_verdict,
    )

    async def persist(effort: Effort) -> Verdict:
        verdict: Verdict = await retrying(weigh_first, effort, [effort.verdict])
        return verdict

    return persist


def _effort(retry_state: tenacity.RetryCallState) -> Effort:
    effort = retry_state.args[0]
    assert isinstance(effort, Effort)
    return effort


def _goes_again(verdict: Verdict) -> bool:
    return verdict.decision in (Decision.RETRY, Decision.THROTTLED)


def _last_verdict(retry_state: tenacity.RetryCallState) -> Verdict:
    return _effort(retry_state).verdict
