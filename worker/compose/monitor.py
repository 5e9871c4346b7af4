"""What can be seen of a session while it runs. Counts move once their outcomes are durable (promise 2)."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from worker.model import Outcome

_WINDOW_S: Final = 10.0


class Pace(Protocol):
    """What a session tells of its pace."""

    @property
    def text(self) -> str:
        """How fast it goes and why, in a line."""


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """A moment of a session.

    Attributes:
        run_id: The run.
        tenant: The tenant's name.
        rows: Rows of the run.
        outcomes: Rows by outcome, pending included; sums to `rows`.
        rows_per_s: Rows finished a second over the last ten seconds.
        eta_s: Seconds until the last pending row at that pace, or None if nothing moves.
        pace: How fast it goes and why, or None before the first call.
    """

    run_id: str
    tenant: str
    rows: int
    outcomes: Mapping[Outcome, int]
    rows_per_s: float
    eta_s: float | None
    pace: Pace | None


class Monitor:
    """Counts what became durable in a session.

    Args:
        run_id: The run.
        tenant: The tenant's name.
        outcomes: Rows by outcome when the session began, zeros included.
        clock: Monotonic seconds.
    """

    def __init__(
        self, run_id: str, tenant: str, outcomes: Mapping[Outcome, int], clock: Callable[[], float]
    ) -> None:
        self._run_id = run_id
        self._tenant = tenant
        self._outcomes = collections.Counter(outcomes)
        self._rows = self._outcomes.total()
        self._clock = clock
        self._began = clock()
        self._finished: collections.deque[tuple[float, int]] = collections.deque([(self._began, 0)])
        """Marks, oldest first: when each began, and the rows finished until the next one."""
        self._total = 0
        self.pace: Callable[[], Pace] | None = None

    def committed(self, counts: Mapping[Outcome, int]) -> None:
        """Move `counts` rows from pending to their outcomes: they are on disk now."""
        done = sum(counts.values())
        self._outcomes.update(counts)
        self._outcomes[Outcome.PENDING] -= done
        self._total += done
        now, last = self._clock(), self._finished[-1][0]
        if len(self._finished) == 1 or now - last >= 0.2:  # noqa: PLR2004 - fifty marks fill the window
            self._finished.append((now, self._total))
        else:
            self._finished[-1] = (last, self._total)

    def view(self) -> View:
        """Return the present moment."""
        now = self._clock()
        while len(self._finished) > 1 and now - self._finished[1][0] > _WINDOW_S:
            self._finished.popleft()
        since = max(self._began, now - _WINDOW_S)
        per_s = (self._total - self._finished[0][1]) / (now - since) if now > since else 0.0
        pending = self._outcomes[Outcome.PENDING]
        return View(
            run_id=self._run_id,
            tenant=self._tenant,
            rows=self._rows,
            outcomes={outcome: self._outcomes[outcome] for outcome in Outcome},
            rows_per_s=per_s,
            eta_s=pending / per_s if per_s > 0 else None,
            pace=None if self.pace is None else self.pace(),
        )
