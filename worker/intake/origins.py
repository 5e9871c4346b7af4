"""What a report's rows once were: the port through which reading asks the runs that wrote it (promise 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from worker.reportable import PlannedRow


class Origin(Protocol):
    """A run that is there."""

    @property
    def header(self) -> Sequence[str]:
        """The columns of its input."""

    def row(self, number: int, /) -> PlannedRow | None:
        """Return the row of this number, or None if the run has none."""


class Origins(Protocol):
    """The runs that are known."""

    def __call__(self, run_id: str, /) -> Origin | None:
        """Return the run of this name, or None if it is not known."""


def no_origins(_run_id: str, /) -> Origin | None:
    """Know no run."""
    return None
