"""What one pass over the rows learns of a run, in bounded memory: for the page, and to check the ledger's sums."""

from __future__ import annotations

import dataclasses
from typing import Final

from worker.model import Outcome
from worker.report.times import duration_ms
from worker.reportable import ReportRow

MOST_CODES: Final = 1000
"""Distinct error codes kept apart. A server chooses its codes, so there may be any number of them."""
OTHER_CODES: Final = "(other codes)"

MOST_BUCKETS: Final = 4096
_EXACT_BITS: Final = 10


@dataclasses.dataclass(slots=True)
class Tally:
    """Counts of the rows added so far.

    Attributes:
        rows: Rows seen.
        misplaced: Rows whose number did not follow the one before: 0 in a sound report.
        outcomes: Rows by outcome, zeros included.
        error_codes: Rows by error code, at most `MOST_CODES` and `OTHER_CODES`.
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
    error_codes: dict[str, int] = dataclasses.field(default_factory=dict)
    durations_ms: dict[int, int] = dataclasses.field(default_factory=dict)
    bucket_shift: int = 0
    finished: dict[int, int] = dataclasses.field(default_factory=dict)
    failed: dict[int, int] = dataclasses.field(default_factory=dict)
    maybe_sent: int = 0
    resent: int = 0
    lockout_risks: int = 0

    def add(self, row: ReportRow) -> None:
        """Count `row`."""
        self.rows += 1
        if row.number != self.rows:
            self.misplaced += 1
        self.outcomes[row.outcome] += 1
        if row.error_code:
            self._add_code(row.error_code)
        if row.sent == "maybe":
            self.maybe_sent += 1
        if row.resent:
            self.resent += 1
        if row.lockout_risk:
            self.lockout_risks += 1
        if row.started_at is not None and row.finished_at is not None:
            self._add_call(row, row.started_at, row.finished_at)

    def _add_code(self, code: str) -> None:
        codes = self.error_codes
        if code not in codes and len(codes) >= MOST_CODES:
            code = OTHER_CODES
        codes[code] = codes.get(code, 0) + 1

    def _add_call(self, row: ReportRow, started_at: float, finished_at: float) -> None:
        took = duration_ms(started_at, finished_at)
        spare = took.bit_length() - _EXACT_BITS
        if spare > 0:
            took = took >> spare << spare
        self.durations_ms[took] = self.durations_ms.get(took, 0) + 1
        bucket = int(finished_at) >> self.bucket_shift
        self.finished[bucket] = self.finished.get(bucket, 0) + row.requests
        if row.outcome is not Outcome.SUCCEEDED:
            self.failed[bucket] = self.failed.get(bucket, 0) + row.requests
        if len(self.finished) > MOST_BUCKETS:
            self._widen()

    def _widen(self) -> None:
        self.bucket_shift += 1
        self.finished = _halve(self.finished)
        self.failed = _halve(self.failed)


def _halve(buckets: dict[int, int]) -> dict[int, int]:
    wider: dict[int, int] = {}
    for bucket, count in buckets.items():
        wider[bucket >> 1] = wider.get(bucket >> 1, 0) + count
    return wider
