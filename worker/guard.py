"""Decides when a run is wrong and must stop (promise 6). Pure: verdicts in, a halt or None out."""

from __future__ import annotations

import collections
import dataclasses
import enum
from typing import Final

from worker.causes import Cause, Causes, told
from worker.model import FAILURES, Decision, Outcome, Trouble, Verdict
from worker.suspicion import UNKNOWN, Suspicion, counts, explain, suspicion_of

STREAK: Final = 20
"""First answers of one suspicious kind in a row, each of another row, that show a wrong run."""

MINIMUM_FINISHED: Final = 50
"""Rows that must have finished in the session before a share of failures is judged."""

WINDOW: Final = 500
"""Rows finished last whose share of failures is judged by itself: what went well before does not dilute it."""

_MISCONFIGURED: Final = frozenset({Trouble.UNKNOWN_HOST, Trouble.CERTIFICATE, Trouble.PROXY})
_SUCCEEDED: Final = Outcome.SUCCEEDED
_NOT_FOUND: Final = Outcome.NOT_FOUND
_EXHAUSTED: Final = Outcome.EXHAUSTED
_EXCLUDED: Final = Outcome.EXCLUDED


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
        what: What happened, for people.
        advice: What to do, for people; names the flag with which the run can be finished all the same.
        causes: The commonest of the failures that showed it, those with the most rows first.
        kinds: How many kinds of failure there were, those among `causes` included.
        evidence: Outcomes whose rows, finished in this session, go back to pending.
        evidence_status: Only rows with this HTTP status go back, or None for all of `evidence`.
        rows: Only these rows go back, or None for all of `evidence`.
        unless_answering: It only stands if the tenant does not answer 200 to `GET users?size=1`.
    """

    kind: HaltKind
    what: str
    advice: str = ""
    causes: tuple[Cause, ...] = ()
    kinds: int = 0
    evidence: frozenset[Outcome] = frozenset()
    evidence_status: int | None = None
    rows: frozenset[int] | None = None
    unless_answering: bool = False

    @property
    def reason(self) -> str:
        """What happened, what failed how often, and what to do, in one line without a full stop at its end."""
        failed = told(self.causes, self.kinds)
        happened = f"{self.what}: {failed}" if failed else self.what
        return f"{happened}. {self.advice}" if self.advice else happened

    def resembles(self, verdict: Verdict) -> bool:
        """Return whether a row that ended with `verdict` failed as the evidence did."""
        return verdict.outcome in self.evidence and self.evidence_status in (None, verdict.status)

    def unanswered(self, answer: str) -> Halt:
        """Return the halt as it stands once the tenant was asked, and gave `answer`."""
        return dataclasses.replace(
            self,
            unless_answering=False,
            advice=f"Asked for its users (`GET users?size=1`), the tenant did not answer 200 but {answer}. Check"
            " domain and key with `bulk-unverify doctor`; once that is content, go on",
        )


class Guard:
    """Watches the verdicts of one session; each session counts afresh.

    Args:
        max_failures: Largest tolerated share of failed rows, 0 to 1.
        accept: Outcomes that are neither failures nor suspicious. A tenant of nothing but 404 is still asked
            whether it is the right one.
        can_ask: Whether the tenant can be asked (`Halt.unless_answering`); else what is accepted is believed.
    """

    def __init__(self, *, max_failures: float, accept: frozenset[Outcome], can_ask: bool = True) -> None:
        self._max_failures = max_failures
        self._accept = accept
        self._counted = FAILURES - accept
        self._asks = can_ask and _NOT_FOUND in accept
        self._answered = False
        self._succeeded = 0
        self._finished = self._failed = self._exhausted = 0
        self._causes = Causes()
        self._outcomes: collections.Counter[Outcome] = collections.Counter()
        self._window: collections.deque[tuple[int, int, Verdict]] = collections.deque()
        """Those that failed of the rows finished last, oldest first: how many had finished by then, row, verdict."""
        self._suspicion: Suspicion | None = None
        self._streak: list[tuple[int, Verdict]] = []
        self._halt: Halt | None = None
        self._halted_by = Causes()

    def see_answer(self, row: int, verdict: Verdict, *, first: bool) -> Halt | None:
        """Judge what came back for a row, whether it finishes the row or not; called in the order they came.

        After a halt it returns that halt once more where the answer, of a call in flight, adds to its evidence.

        Args:
            row: The row's number.
            verdict: What the reply means.
            first: Whether no answer that counts (see `counts`) came for this row in this session before.
        """
        if verdict.outcome is _SUCCEEDED:
            self._answered = True
            self._succeeded += 1
            self._suspicion = None
            return None
        if self._stands:
            return self._add_answer(row, verdict) if first else None
        if verdict.decision is Decision.HALT:
            return self._stop(Halt(HaltKind.ANSWER, explain(verdict)))
        if verdict.status is not None:
            self._answered = True
        elif not self._answered and verdict.error_code in _MISCONFIGURED:
            return self._stop(Halt(HaltKind.CONFIGURATION, verdict.error_message))
        return self._judge_streak(row, verdict) if first and not self._halt and counts(verdict) else None

    def see_finished(self, row: int, verdict: Verdict, *, others_pending: bool) -> Halt | None:
        """Judge the verdict that finished a row; one that was barred from being called shows nothing.

        After a halt it returns that halt once more where the row adds to its evidence.

        Args:
            row: The row's number.
            verdict: Its last one.
            others_pending: Whether rows that have not failed are pending: only then do exhausted ones count, as
                sick rows finish last.
        """
        outcome = verdict.outcome
        if outcome is _EXCLUDED:
            return None
        if outcome is _SUCCEEDED or outcome not in self._counted:
            self._finished += 1
            # a row that did not fail lowers every share, but may be the one from which on they are judged
            return self._judge_shares(others_pending) if self._finished == MINIMUM_FINISHED else None
        if self._stands:
            return self._add_finished(row, verdict)
        self._finished += 1
        self._outcomes[outcome] += 1
        self._causes.add(verdict.status, verdict.error_code, verdict.error_message)
        if outcome is _EXHAUSTED:
            self._exhausted += 1
        else:
            self._failed += 1
            self._window.append((self._finished, row, verdict))
        return self._judge_shares(others_pending)

    def believe(self) -> None:
        """Take back a halt that stood only `unless_answering`: the tenant answered, so its 404 are the rows' own."""
        self._asks = False
        self._suspicion = None
        if not self._stands:
            self._halt = None

    @property
    def _stands(self) -> bool:
        """Whether it has halted the run, and does not wait for the tenant's answer to say so."""
        return self._halt is not None and not self._halt.unless_answering

    def _judge_streak(self, row: int, verdict: Verdict) -> Halt | None:
        suspicion = self._suspect(verdict)
        if suspicion is not self._suspicion:
            self._suspicion = suspicion
            self._streak = []
        if suspicion is None:
            return None
        self._streak.append((row, verdict))
        if len(self._streak) < STREAK:
            return None
        self._count_evidence(self._streak)
        if self._succeeded:
            before = f"after {self._succeeded:,} successes"
            rows = frozenset(row for row, _ in self._streak)
        else:
            before, rows = "and none succeeded", None
        return self._stop(
            Halt(
                HaltKind.STREAK,
                f"{STREAK} answers in a row were {suspicion.label}, {before}",
                suspicion.advice,
                evidence=frozenset({suspicion.outcome}),
                evidence_status=suspicion.status,
                rows=rows,
                unless_answering=suspicion.outcome in self._accept,
            )
        )

    def _suspect(self, verdict: Verdict) -> Suspicion | None:
        """Return what makes an answer suspicious at this point, or None if nothing does."""
        suspicion = suspicion_of(verdict)
        if suspicion is UNKNOWN:
            accepted = _NOT_FOUND in self._accept and not self._asks
            return None if self._succeeded or accepted else suspicion
        return None if suspicion is None or suspicion.outcome in self._accept else suspicion

    def _judge_shares(self, others_pending: bool) -> Halt | None:
        if self._stands:
            return None
        window = self._window
        while window and window[0][0] <= self._finished - WINDOW:
            window.popleft()
        failed = self._failed + (self._exhausted if others_pending else 0)
        if self._finished >= MINIMUM_FINISHED and failed > self._max_failures * self._finished:
            self._halted_by = self._causes
            counted = self._counted if others_pending else self._counted - {_EXHAUSTED}
            return self._too_many(f"{failed:,} of {self._finished:,} rows failed in this session", counted)
        if len(window) > self._max_failures * WINDOW:
            failures = [(row, verdict) for _, row, verdict in window]
            self._count_evidence(failures)
            return self._too_many(
                f"{len(failures):,} of the last {WINDOW} rows failed",
                self._counted - {_EXHAUSTED},
                frozenset(row for row, _ in failures),
            )
        return None

    def _too_many(self, what: str, evidence: frozenset[Outcome], rows: frozenset[int] | None = None) -> Halt:
        seen = [outcome for outcome, _ in self._outcomes.most_common() if outcome in evidence]
        return self._stop(
            Halt(
                HaltKind.FAILURES,
                f"{what}, more than the {_percent(self._max_failures)} that --max-failures allows",
                f"Mend the cause, then go on; if this is expected, go on with --accept {','.join(seen)}, or with a"
                " higher --max-failures",
                evidence=evidence,
                rows=rows,
            )
        )

    def _stop(self, halt: Halt) -> Halt:
        if halt.evidence:
            halt = dataclasses.replace(halt, causes=self._halted_by.commonest(), kinds=len(self._halted_by))
        self._halt = halt
        return halt

    def _add_answer(self, row: int, verdict: Verdict) -> Halt | None:
        assert self._halt is not None
        if self._halt.kind is not HaltKind.STREAK or not counts(verdict) or not self._halt.resembles(verdict):
            return None
        return self._add(row, verdict)

    def _add_finished(self, row: int, verdict: Verdict) -> Halt | None:
        assert self._halt is not None
        if self._halt.kind is not HaltKind.FAILURES or not self._halt.resembles(verdict):
            return None
        return self._add(row, verdict)

    def _add(self, row: int, verdict: Verdict) -> Halt:
        """Return the halt with one more row that shows it: of a call that was in flight when it stopped."""
        assert self._halt is not None
        rows = self._halt.rows
        self._count_evidence([(row, verdict)])
        return self._stop(dataclasses.replace(self._halt, rows=None if rows is None else rows | {row}))

    def _count_evidence(self, failures: list[tuple[int, Verdict]]) -> None:
        for _, verdict in failures:
            self._halted_by.add(verdict.status, verdict.error_code, verdict.error_message)


def _percent(share: float) -> str:
    return f"{share * 100:.4f}".rstrip("0").rstrip(".") + "%"
