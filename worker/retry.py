"""What an attempt without a final answer costs its row, and when the row goes again. Pure (promises 5 and 7).

One piece of evidence decides what is charged: did another row get a final answer since this one's last try? An
attempt that failed is owed until that is known. While nobody is answered nothing is charged, however often a row is
tried.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Final

import msgspec
import tenacity

from worker.model import Decision, Effort, NoAnswer, Outcome, Owed, Reply, Verdict

SICK_FROM: Final = 5
"""A row that was refused so often while others were answered waits by itself, and its attempts are charged."""

_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0
LAST_WAIT_S: Final = 1.0
"""After the last attempt a row waits for evidence alone: nothing goes again when that is there."""


@dataclasses.dataclass(frozen=True, slots=True)
class RetryLimits:
    """What bounds the attempts of one row.

    Attributes:
        attempts: Attempts that may be charged.
        time_limit_s: Seconds that may be charged: of its attempts and of its own waits between them.
    """

    attempts: int
    time_limit_s: float

    def are_spent(self, effort: Effort) -> bool:
        """Return whether a row may not go again."""
        return effort.attempts >= self.attempts or effort.charged_s >= self.time_limit_s


def is_sick(effort: Effort | None) -> bool:
    """Return whether a row was refused so often while others passed that its refusals say nothing of the tenant."""
    return effort is not None and effort.refusals >= SICK_FROM


def charged(effort: Effort) -> Effort:
    """Return `effort` after its last attempt was charged, as another row was answered since."""
    match effort.owed:
        case Owed.NOTHING:
            return effort
        case Owed.REFUSAL:
            return msgspec.structs.replace(effort, owed=Owed.NOTHING, refusals=effort.refusals + 1)
        case Owed.ATTEMPT:
            return msgspec.structs.replace(
                effort,
                owed=Owed.NOTHING,
                attempts=effort.attempts + 1,
                charged_s=effort.charged_s + effort.owed_s,
            )


def final_verdict(effort: Effort) -> Verdict:
    """Return what became of a row whose limits are spent: `unconfirmed` if an attempt may have been carried out."""
    outcome = Outcome.UNCONFIRMED if effort.doubtful else Outcome.EXHAUSTED
    # not `FINAL`: no answer settled it, so it is no evidence of a wrong run
    return Verdict(Decision.RETRY, outcome, effort.status, effort.error_code, effort.error_message)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attempt that brought no final answer.

    Attributes:
        reply: What came back; None if it was held up and not sent.
        verdict: What that means.
        refused: Whether it is taken for a limiter's refusal, which may hit any row.
        asked_s: Seconds that the reply asks to wait, clamped; 0 for none.
        took_s: Seconds that the attempt took.
        began_at: Epoch seconds when it began.
        answered: How many rows have a final answer by now.
    """

    reply: Reply | None
    verdict: Verdict
    refused: bool
    asked_s: float
    took_s: float
    began_at: float
    answered: int


class BackOff:
    """What is owed for a failed attempt, and how long the row waits: full jitter, from 0.5 s doubling to 30 s.

    Args:
        limits: What bounds a row's attempts.
        jitter: Returns a share of the longest wait, 0 to 1; by default whatever tenacity draws.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """

    def __init__(self, limits: RetryLimits, jitter: Callable[[], float] | None = None) -> None:
        self._limits = limits
        self._jitter = jitter
        self._doubling = tenacity.wait_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S)

    def after(self, effort: Effort | None, failure: Failure) -> Effort:
        """Return what is known of a row after a failed attempt, and how long it waits."""
        earlier = effort or Effort()
        if earlier.answered < 0 or not earlier.started_at:
            earlier = msgspec.structs.replace(earlier, started_at=failure.began_at)
        if _is_free(earlier, failure.reply):
            return msgspec.structs.replace(
                earlier, free=True, owed=Owed.NOTHING, wait_s=0.0, **_error(earlier, failure.verdict)
            )
        tries = earlier.tries + 1
        wait_s = self._wait_s(earlier, failure, tries)
        owed = Owed.REFUSAL if failure.refused else Owed.ATTEMPT
        owed_s = failure.took_s + wait_s
        spent = msgspec.structs.replace(earlier, owed=owed, owed_s=owed_s)
        if self._limits.are_spent(charged(spent)):
            wait_s = min(wait_s, LAST_WAIT_S)
        verdict = failure.verdict
        return msgspec.structs.replace(
            spent,
            tries=tries,
            doubtful=earlier.doubtful or verdict.outcome is Outcome.UNCONFIRMED,
            wait_s=wait_s,
            answered=failure.answered,
            free=False,
            status=verdict.status,
            error_code=verdict.error_code,
            error_message=verdict.error_message,
        )

    def _wait_s(self, earlier: Effort, failure: Failure, tries: int) -> float:
        """Return how long the row waits; what a refusal asks for, the pacer waits for with everybody."""
        state = tenacity.RetryCallState(_NOBODY, None, (), {})
        state.attempt_number = earlier.refusals + 1 if failure.refused else tries
        longest_s = self._doubling(state)
        wait_s = longest_s * (random.random() if self._jitter is None else self._jitter())  # noqa: S311 - no secret
        return wait_s if failure.refused else max(wait_s, failure.asked_s)


_NOBODY: Final = tenacity.AsyncRetrying()
"""Whose state a wait is asked about: none of tenacity's own loops retries a row, the ledger holds it."""


def _is_free(earlier: Effort, reply: Reply | None) -> bool:
    """Return whether an attempt costs nothing: it was held up, or a kept connection was stale; but not twice."""
    if reply is None:
        return True
    return isinstance(reply, NoAnswer) and reply.stale and not earlier.free


def _error(earlier: Effort, verdict: Verdict) -> dict[str, object]:
    """Return what is to be told of a row whose attempt was none: what is known of an earlier one, if any."""
    if earlier.tries:
        return {}
    return {
        "status": verdict.status,
        "error_code": verdict.error_code,
        "error_message": verdict.error_message,
    }
