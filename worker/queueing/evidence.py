"""Failures that nobody may hear of yet: until there was a success, they may say that the worker is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from worker.guard import Halt
from worker.model import FAILURES, Outcome, Result


class Evidence:
    """Keeps a session's failures back until there is a success, or nothing left to do that could bring one.

    Attributes:
        any_success: Whether a row succeeded.
    """

    def __init__(self) -> None:
        self._kept: list[Result] = []
        self.any_success = False

    def __len__(self) -> int:
        """Return how many are kept back."""
        return len(self._kept)

    def hear(self, result: Result) -> Sequence[Result]:
        """Return the results that count from now on: none, this one, or with it those that were kept back."""
        if result.verdict.outcome is Outcome.SUCCEEDED:
            self.any_success = True
            return [*self.release(), result]
        if self.any_success or result.verdict.outcome not in FAILURES:
            return [result]
        self._kept.append(result)
        return []

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
