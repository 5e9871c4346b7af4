"""What a report is made of: one flat record a row, and the facts of the run. The ledger folds into these."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from worker.model import Outcome, RunState
from worker.warned import Warned

COLLECTED: Final = "collected"
"""By this word a run's selection says that its rows were collected from a queue, and of which batch."""


@dataclasses.dataclass(slots=True)
class ReportRow:
    """One input row with all that is known of it, in the order of the report's columns.

    Attributes:
        cells: The input's own cells in the header's order; shorter rows are padded by the report, and what a
            row holds beyond the header is told in `error_message`.
        number: The row's number, from 1.
        outcome: Its one outcome.
        http_status: Status of the last answer, or None.
        error_code: Short machine word, or empty.
        error_message: One line for people, or empty.
        requests: Requests sent for the row over all sessions.
        started_at: Epoch seconds, or None where it was never taken up.
        finished_at: Epoch seconds, or None where it has no final outcome from a call.
        sent: `no`, `yes` or `maybe` (claimed by a process that was killed).
        resent: Whether a `maybe` was sent again.
        verified_contacts_left: Verified e-mails and phones left, or None if unknown.
        lockout_risk: Whether the user may be locked out, or None if unknown.
        duplicate_of: Number of the row that this one repeats, or None.
    """

    cells: list[str]
    number: int
    outcome: Outcome
    http_status: int | None = None
    error_code: str = ""
    error_message: str = ""
    requests: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    sent: str = "no"
    resent: bool = False
    verified_contacts_left: int | None = None
    lockout_risk: bool | None = None
    duplicate_of: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row as its run planned it.

    Attributes:
        user_id: The user's id.
        identifier_id: The identifier's id.
        cells: Its cells, in the order of the run's header.
        invalid: Whether the run called it invalid.
    """

    user_id: str
    identifier_id: str
    cells: tuple[str, ...]
    invalid: bool


@dataclasses.dataclass(frozen=True, slots=True)
class SessionFacts:
    """One session of a run: from taking the ledger's lock to letting it go.

    Attributes:
        number: From 1.
        started_at: Epoch seconds.
        ended_at: Epoch seconds, or None while it runs or when it was killed.
        state: How it ended.
        halt_reason: One sentence, or empty.
        operator: Who started it (`user@host`).
        settings: What steered it, as text by name, for example `{"rate": "25/s"}`.
    """

    number: int
    started_at: float
    ended_at: float | None
    state: RunState
    halt_reason: str
    operator: str
    settings: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class OutageFacts:
    """A time in which the tenant was taken to be out.

    Attributes:
        since: Epoch seconds of its start.
        until: Epoch seconds of its end, or None: it lasts, or the session ended in it.
        met: What attempts met when it was noticed, with counts.
    """

    since: float
    until: float | None
    met: str


@dataclasses.dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run as a whole.

    Attributes:
        run_id: Name of the run and of its folder.
        state: Where it stands.
        operation: For example `unverify-email`.
        tenant: The tenant's host (and port), without scheme or path.
        reason: Why it was done (a ticket), or empty.
        operator: Who planned it (`user@host`).
        input_name: The input's file name, or `-`.
        input_sha256: Hex digest of the input's bytes.
        header: The input's own column names, in order.
        planned_at: Epoch seconds.
        rows: Rows of the input.
        outcomes: Rows by outcome, zeros included; sums to `rows`.
        calls: Requests sent, over all sessions, as far as was recorded.
        retries: Requests beyond the first of each row.
        elapsed_s: Seconds that sessions ran, summed.
        halt_reason: Why the last session halted, or empty.
        sessions: All sessions, oldest first.
        selection: How the input was read, as text by name: what was said of its columns, for example.
        warnings: What looked wrong while it was read.
        outage: The last one, or None.
        lists: Where its protected lists lie.
        paused: The command by which an operator has the run wait now (`pause (by user@host)`), or empty.
    """

    run_id: str
    state: RunState
    operation: str
    tenant: str
    reason: str
    operator: str
    input_name: str
    input_sha256: str
    header: tuple[str, ...]
    planned_at: float
    rows: int
    outcomes: dict[Outcome, int]
    calls: int
    retries: int
    elapsed_s: float
    halt_reason: str
    sessions: tuple[SessionFacts, ...]
    selection: Mapping[str, str]
    warnings: tuple[Warned, ...] = ()
    outage: OutageFacts | None = None
    lists: tuple[str, ...] = ()
    paused: str = ""

    @property
    def called_via(self) -> str:
        """The queue whose workers called in the last session, without its login; empty if it called from here."""
        return self.sessions[-1].settings.get("via", "") if self.sessions else ""
