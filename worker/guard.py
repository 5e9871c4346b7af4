"""Decides when a run is wrong and must stop (promise 6). Pure: verdicts in, a halt or None out."""

from __future__ import annotations

import dataclasses
import enum
from typing import Final

from worker.model import FAILURES, Decision, Outcome, Trouble, Verdict

STREAK: Final = 20
"""Answers of one kind in a row, without one success in the session, that show a wrong run."""

MINIMUM_FINISHED: Final = 50
"""Rows that must have finished in the session before its failure rate is judged."""

_MISCONFIGURED: Final = frozenset({Trouble.UNKNOWN_HOST, Trouble.CERTIFICATE, Trouble.PROXY})
_SUCCEEDED: Final = Outcome.SUCCEEDED
_ADVICE: Final = {
    401: "the key is missing, wrong, revoked, or of another tenant. Check it with `bulk-unverify doctor`",
    402: "the tenant's plan lacks this feature. Ask the tenant's owner",
}


class HaltKind(enum.StrEnum):
    """What showed that the run is wrong."""

    ANSWER = "answer"
    STREAK = "streak"
    FAILURES = "failures"
    SILENCE = "silence"
    """Rows went to a queue's workers again and again, and no outcome came back."""
    CONFIGURATION = "configuration"
    """Host, certificate or proxy: found before the first answer of a session, so nothing was done."""


@dataclasses.dataclass(frozen=True, slots=True)
class Halt:
    """Why a run must stop.

    Attributes:
        kind: What showed it.
        reason: What happened and what to do, for people.
        evidence: Outcomes whose rows, finished in this session, go back to pending.
        evidence_status: Only rows with this HTTP status go back, or None for all of `evidence`.
    """

    kind: HaltKind
    reason: str
    evidence: frozenset[Outcome] = frozenset()
    evidence_status: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Suspicion:
    """A kind of answer that, if there is nothing else, means that the whole run is wrong."""

    label: str
    advice: str
    outcome: Outcome
    status: int | None = None


_FORBIDDEN: Final = _Suspicion(
    "403", "the key may not do this. Use a key with the right permissions", Outcome.REFUSED, 403
)
_UNKNOWN: Final = _Suspicion(
    "404", "probably the wrong tenant, or a file of another tenant. Check both", Outcome.NOT_FOUND, 404
)
_UNCONFIRMED: Final = _Suspicion(
    "unconfirmed",
    "the replies do not show that anything was done; something may stand in front of the tenant."
    " Look at `_error_message` in report.csv",
    Outcome.UNCONFIRMED,
)


class Guard:
    """Watches the verdicts of one session; each session counts afresh.

    Args:
        max_failures: Largest tolerated share of failed rows, 0 to 1.
        accept: Outcomes that do not count as failures. They still count for a streak: a run of nothing but
            404 is a wrong tenant, whatever is accepted.
    """

    def __init__(self, *, max_failures: float, accept: frozenset[Outcome]) -> None:
        self._max_failures = max_failures
        self._counted = FAILURES - accept
        self._answered = False
        self._succeeded = False
        self._finished = 0
        self._failed = 0
        self._suspicion: _Suspicion | None = None
        self._streak = 0

    def see_unfinished(self, verdict: Verdict) -> Halt | None:
        """Judge a verdict after which the row is not finished (`RETRY`, `THROTTLED` or `HALT`)."""
        if verdict.decision is Decision.HALT:
            return Halt(HaltKind.ANSWER, _explain(verdict))
        if verdict.status is not None:
            self._answered = True
        elif not self._answered and verdict.error_code in _MISCONFIGURED:
            return Halt(HaltKind.CONFIGURATION, verdict.error_message)
        return None

    def see_finished(self, verdict: Verdict) -> Halt | None:
        """Judge the verdict that finished a row; one that was barred from being called shows nothing."""
        if verdict.outcome is _SUCCEEDED:
            self._answered = self._succeeded = True
            self._finished += 1
            return self._judge_failures() if self._failed else None
        if verdict.outcome is Outcome.EXCLUDED:
            return None
        self._finished += 1
        self._answered = self._answered or verdict.status is not None
        if verdict.outcome in self._counted:
            self._failed += 1
        return self._judge_streak(verdict) or self._judge_failures()

    def _judge_streak(self, verdict: Verdict) -> Halt | None:
        if self._succeeded or verdict.outcome is Outcome.EXHAUSTED:
            return None  # an exhausted row says nothing about the run's rightness, and breaks no streak
        suspicion = _suspect(verdict)
        self._streak = self._streak + 1 if suspicion is self._suspicion else 1
        self._suspicion = suspicion
        if suspicion is None or self._streak < STREAK:
            return None
        return Halt(
            HaltKind.STREAK,
            f"{STREAK} answers in a row were {suspicion.label} and none succeeded: {suspicion.advice}",
            frozenset({suspicion.outcome}),
            suspicion.status,
        )

    def _judge_failures(self) -> Halt | None:
        if self._finished < MINIMUM_FINISHED or self._failed <= self._max_failures * self._finished:
            return None
        return Halt(
            HaltKind.FAILURES,
            f"{self._failed} of {self._finished} rows failed in this session, more than the"
            f" {self._max_failures:.4%} that --max-failures allows. Look at `_error_code` in report.csv,"
            " then raise --max-failures or --accept an outcome if this is expected",
            self._counted,
        )


def _suspect(verdict: Verdict) -> _Suspicion | None:
    if verdict.outcome is Outcome.UNCONFIRMED:
        return _UNCONFIRMED
    if verdict.outcome is Outcome.NOT_FOUND:
        return _UNKNOWN
    return _FORBIDDEN if verdict.status == _FORBIDDEN.status else None


def _explain(verdict: Verdict) -> str:
    status = verdict.status or 0
    advice = _ADVICE.get(
        status, "a redirect is never followed, so the key goes nowhere else. Check the tenant's domain"
    )
    return f"the tenant answered {status}: {advice}"
