"""Failures that nobody may hear of yet: they may say that the worker is wrong, not the rows (promise 6)."""

from __future__ import annotations

from collections.abc import Sequence

from worker.guard import Halt
from worker.model import FAILURES, Outcome, Result
from worker.suspicion import counts, suspect


class Evidence:
    """Keeps failures back that may be the evidence of a wrong worker.

    Until there is a success that is each of them. After one it is what a streak is made of, answers of one suspicious
    kind in a row, until an answer of another kind shows that they were the rows' own.

    Args:
        accept: Outcomes that are nobody's evidence.

    Attributes:
        any_success: Whether a row succeeded.
    """

    def __init__(self, accept: frozenset[Outcome] = frozenset()) -> None:
        self._accept = accept
        self._kept: list[Result] = []
        self.any_success = False

    def __len__(self) -> int:
        """Return how many are kept back."""
        return len(self._kept)

    def hear(self, result: Result) -> Sequence[Result]:
        """Return the results that count from now on: none, this one, or with it those that were kept back."""
        verdict = result.verdict
        if verdict.outcome is Outcome.SUCCEEDED:
            self.any_success = True
            return [*self.release(), result]
        if not self.any_success:
            if verdict.outcome not in FAILURES:
                return [result]
            self._kept.append(result)
            return []
        if not counts(verdict):
            return [result]
        suspicion = suspect(verdict)
        if suspicion in (None, Outcome.NOT_FOUND) or suspicion in self._accept:
            return [*self.release(), result]
        others = [] if self._is_kept(suspicion) else self.release()
        self._kept.append(result)
        return others

    def release(self) -> Sequence[Result]:
        """Return what is kept back: it counts as any other does."""
        kept, self._kept = self._kept, []
        return kept

    def show(self, halt: Halt) -> tuple[Sequence[Result], Sequence[Result]]:
        """Return what shows that the worker is wrong as `halt` says, and what else was kept back."""
        shows: list[Result] = []
        rest: list[Result] = []
        for result in self.release():
            (shows if halt.resembles(result.verdict) else rest).append(result)
        return shows, rest

    def _is_kept(self, suspicion: Outcome | None) -> bool:
        """Return whether what is kept back is of this kind: all of it is of one, once there was a success."""
        return bool(self._kept) and suspect(self._kept[0].verdict) is suspicion
