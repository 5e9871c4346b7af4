"""The summary of a run: the object of `--json` and `summary.json`, the exit code, and how its rows add up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pydantic

from worker.causes import Cause
from worker.model import Outcome, RunState
from worker.reportable import OutageFacts, RunFacts

EXIT_GOOD: Final = 0
EXIT_ROWS_FAILED: Final = 1
EXIT_HALTED: Final = 3
EXIT_INTERRUPTED: Final = 130

ASIDE: Final = frozenset({Outcome.SUCCEEDED, Outcome.DUPLICATE, Outcome.EXCLUDED})
"""Outcomes that never make a run a failed one."""


class Summary(pydantic.BaseModel):
    """A run in one object. Every field is always there.

    Attributes:
        run_id: Name of the run.
        run_dir: Its folder.
        state: Where it stands.
        operation: What was done to each row.
        tenant: The tenant's host.
        reason: Why it was done, or null.
        operator: Who planned it.
        input: The input file's name.
        input_sha256: Hex digest of the input.
        rows: Rows of the input.
        outcomes: Rows by outcome, zeros included.
        warnings: What looked wrong in the input: code, count of rows, first lines.
        complete: Whether every row has its final outcome and the outcomes add up to the rows.
        calls: Requests sent, over all sessions.
        retries: Requests beyond the first of each row.
        rate_per_s: Calls a second, or null if there is no figure.
        elapsed_s: Seconds that sessions ran.
        sessions: How many there were.
        report: Path of `report.csv`.
        halt_reason: Why the last session halted, or null.
        outage: The last outage: `since` and `until` when (epoch seconds; null if it lasts, or the session ended in
            it), and what attempts `met`; or null.
        causes: Why called rows did not succeed, those included that are pending again: the commonest, at most ten,
            each with its rows, status, code, commonest message and the rows that had that.
        exit_code: The command's.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    run_id: str
    run_dir: str
    state: RunState
    operation: str
    tenant: str
    reason: str | None
    operator: str
    input: str
    input_sha256: str
    rows: int = pydantic.Field(ge=0)
    outcomes: dict[Outcome, int]
    warnings: list[dict[str, Any]]
    complete: bool
    calls: int = pydantic.Field(ge=0)
    retries: int = pydantic.Field(ge=0)
    rate_per_s: float | None
    elapsed_s: float = pydantic.Field(ge=0)
    sessions: int = pydantic.Field(ge=0)
    report: str
    halt_reason: str | None
    outage: OutageFacts | None
    causes: tuple[Cause, ...]
    exit_code: int


def summary(
    facts: RunFacts,
    *,
    run_dir: Path,
    exit_code: int,
    rate_per_s: float | None,
    report: Path,
    causes: tuple[Cause, ...],
) -> dict[str, Any]:
    """Return the summary as a JSON-ready object (see `Summary` for its keys)."""
    return Summary(
        run_id=facts.run_id,
        run_dir=str(run_dir),
        state=facts.state,
        operation=facts.operation,
        tenant=facts.tenant,
        reason=facts.reason or None,
        operator=facts.operator,
        input=facts.input_name,
        input_sha256=facts.input_sha256,
        rows=facts.rows,
        outcomes=every_outcome(facts.outcomes),
        warnings=[each.as_object() for each in facts.warnings],
        complete=is_complete(facts),
        calls=facts.calls,
        retries=facts.retries,
        rate_per_s=None if rate_per_s is None else round(rate_per_s, 3),
        elapsed_s=round(facts.elapsed_s, 3),
        sessions=len(facts.sessions),
        report=str(report),
        halt_reason=facts.halt_reason or None,
        outage=facts.outage,
        causes=causes,
        exit_code=exit_code,
    ).model_dump(mode="json")


def every_outcome(outcomes: Mapping[Outcome, int]) -> dict[Outcome, int]:
    """Return rows by outcome in the order of `Outcome`, zeros included."""
    return {outcome: outcomes.get(outcome, 0) for outcome in Outcome}


def is_complete(facts: RunFacts) -> bool:
    """Return whether every row has a final outcome and the outcomes add up to the rows."""
    return not facts.outcomes.get(Outcome.PENDING) and sum(facts.outcomes.values()) == facts.rows


def exit_code(facts: RunFacts, accept: frozenset[Outcome] = frozenset()) -> int:
    """Return the exit code that the run's facts ask for.

    0: every row succeeded, duplicates, exclusions and what is in `accept` aside. 1: finished, and some did
    not, or they do not add up. 130: interrupted or cancelled. 3: halted, or otherwise not finished (planned,
    killed). A pending row is never accepted.
    """
    if facts.state in (RunState.INTERRUPTED, RunState.CANCELLED):
        return EXIT_INTERRUPTED
    if facts.state is not RunState.FINISHED:
        return EXIT_HALTED
    good = ASIDE | accept
    failed = any(count for outcome, count in facts.outcomes.items() if outcome not in good)
    return EXIT_ROWS_FAILED if failed or not is_complete(facts) else EXIT_GOOD


def reconciliation(rows: int, outcomes: Mapping[Outcome, int]) -> str:
    """Return the sum of the outcomes against the rows, as a sentence, loud where they differ (promise 1)."""
    counted = sum(outcomes.values())
    pending = outcomes.get(Outcome.PENDING, 0)
    parts = " + ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items() if count) or "0"
    if counted != rows:
        return f"NOT COMPLETE: {parts} = {counted:,}, but the input has {rows:,} rows. Do not rely on it."
    if pending:
        return f"NOT COMPLETE: {pending:,} of {rows:,} rows have no final outcome yet ({parts} = {rows:,})."
    return f"Complete: {parts} = {rows:,} rows, each with one outcome."
