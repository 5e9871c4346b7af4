"""What one pass over the rows learns of a run, in bounded memory: for the page, and to check the sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

from worker.causes import Causes
from worker.model import Outcome
from worker.reportable import ReportRow

_NOT_CALLED: Final = frozenset({Outcome.INVALID, Outcome.DUPLICATE, Outcome.EXCLUDED})

MOST_BUCKETS: Final = 4096
_EXACT_BITS: Final = 10
_EXACT_BELOW_MS: Final = 1 << _EXACT_BITS


@dataclasses.dataclass(slots=True)
class Tally:
    """Counts of the rows added so far.

    Attributes:
        rows: Rows seen.
        misplaced: Rows whose number did not follow the one before: 0 in a sound report.
        outcomes: Rows by outcome, zeros included.
        causes: Why called rows did not succeed, those included that are pending again.
        left_out: Why rows were not called.
        durations_ms: Called rows by duration; from 1,024 ms on rounded down to ten significant bits (0.2%).
        bucket_shift: Buckets of `finished` and `failed` are 2 ** bucket_shift seconds wide.
        finished: Requests by the bucket in which their row finished (bucket = epoch second >> bucket_shift).
        failed: The same for rows that did not succeed.
        maybe_sent: Rows whose call may have been made by a killed process, and is not known.
        resent: Rows whose call may have been made twice.
        lockout_risks: Rows whose user may be locked out.
    """

    rows: int = 0
    misplaced: int = 0
    outcomes: dict[Outcome, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    causes: Causes = dataclasses.field(default_factory=Causes)
    left_out: Causes = dataclasses.field(default_factory=Causes)
    durations_ms: dict[int, int] = dataclasses.field(default_factory=dict)
    bucket_shift: int = 0
    finished: dict[int, int] = dataclasses.field(default_factory=dict)
    failed: dict[int, int] = dataclasses.field(default_factory=dict)
    maybe_sent: int = 0
    resent: int = 0
    lockout_risks: int = 0

    def add(self, rows: Iterable[ReportRow]) -> None:
        """Count `rows`, which follow those added before.

        The loop is kept flat: it runs once for each row of a report, beside the formatting of its line.
        """
        outcomes, durations_ms = self.outcomes, self.durations_ms
        for row in rows:
            self.rows += 1
            if row.number != self.rows:
                self.misplaced += 1
            outcomes[row.outcome] += 1
            if row.outcome is not Outcome.SUCCEEDED:
                self._add_unsuccessful(row)
            self.resent += row.resent
            self.lockout_risks += row.lockout_risk or 0
            started_at, finished_at = row.started_at, row.finished_at
            if started_at is None or finished_at is None:
                continue
            took = int((finished_at - started_at) * 1000.0)
            if not 0 <= took < _EXACT_BELOW_MS:
                took = _rounded_ms(took)
            durations_ms[took] = durations_ms.get(took, 0) + 1
            bucket = int(finished_at) >> self.bucket_shift
            finished = self.finished
            finished[bucket] = finished.get(bucket, 0) + row.requests
            if len(finished) > MOST_BUCKETS:
                self._widen()

    def _add_unsuccessful(self, row: ReportRow) -> None:
        if row.sent == "maybe":
            self.maybe_sent += 1
        if row.finished_at is not None:
            bucket = int(row.finished_at) >> self.bucket_shift
            self.failed[bucket] = self.failed.get(bucket, 0) + row.requests
        if row.error_code:
            causes = self.left_out if row.outcome in _NOT_CALLED else self.causes
            causes.add(row.http_status, row.error_code, row.error_message)

    def _widen(self) -> None:
        self.bucket_shift += 1
        self.finished = _halve(self.finished)
        self.failed = _halve(self.failed)


def _rounded_ms(took: int) -> int:
    """Keep ten significant bits; 0 where the wall clock was set back between start and end."""
    spare = max(0, took.bit_length() - _EXACT_BITS)
    return max(0, took >> spare << spare)


def _halve(buckets: dict[int, int]) -> dict[int, int]:
    wider: dict[int, int] = {}
    for bucket, count in buckets.items():
        wider[bucket >> 1] = wider.get(bucket >> 1, 0) + count
    return wider
