"""What to do next with a run, and the run in plain lines."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Final

from worker.model import RETRYABLE, Outcome, RunState
from worker.report.summary import every_outcome, reconciliation
from worker.reportable import RunFacts
from worker.units import format_duration

_DEFAULT_RUNS: Final = Path("runs")


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: why, and the command."""

    why: str
    command: str


def next_steps(facts: RunFacts, run_dir: Path) -> list[Step]:
    """Return what an operator may want to do next, first things first; empty when nothing is left."""
    outcomes = every_outcome(facts.outcomes)
    if facts.state is not RunState.FINISHED:
        return [_resume(facts, run_dir, outcomes[Outcome.PENDING])]
    steps = []
    again = sum(outcomes[outcome] for outcome in RETRYABLE)
    if again:
        steps.append(
            Step(
                f"Send {again:,} exhausted, unconfirmed or refused rows again:",
                _command("retry", facts, run_dir),
            )
        )
    if outcomes[Outcome.INVALID]:
        failed = shlex.quote(str(run_dir / "failed.csv"))
        steps.append(
            Step(
                f"Mend the {outcomes[Outcome.INVALID]:,} invalid rows in failed.csv, then run that file:",
                f"bulk-unverify run {failed}",
            )
        )
    return steps


def lines(facts: RunFacts, run_dir: Path) -> list[str]:
    """Return the run's summary as plain text, a line each, without colour."""
    shown = [
        f"Run {facts.run_id}: {facts.state}",
        f"{facts.operation} on {facts.tenant}" + (f", because: {facts.reason}" if facts.reason else ""),
        *([f"Halted: {facts.halt_reason}"] if facts.halt_reason else []),
        *(
            f"  {outcome:<12} {count:>12,}"
            for outcome, count in every_outcome(facts.outcomes).items()
            if count
        ),
        reconciliation(facts.rows, every_outcome(facts.outcomes)),
        f"{facts.calls:,} calls, {facts.retries:,} of them retries, in {format_duration(facts.elapsed_s)}",
    ]
    shown += (f"{step.why} {step.command}" for step in next_steps(facts, run_dir))
    return [" ".join(line.splitlines()) for line in shown]


def _resume(facts: RunFacts, run_dir: Path, pending: int) -> Step:
    if facts.state is RunState.PLANNED:
        return Step(f"Start the run of {pending:,} rows:", _command("run", facts, run_dir))
    cause = "Remove the cause, then resume" if facts.state is RunState.HALTED else "Resume"
    return Step(f"{cause} the {pending:,} pending rows:", _command("run", facts, run_dir))


def _command(verb: str, facts: RunFacts, run_dir: Path) -> str:
    folder = "" if run_dir.parent == _DEFAULT_RUNS else f" --runs {shlex.quote(str(run_dir.parent))}"
    return f"bulk-unverify {verb} {shlex.quote(facts.run_id)}{folder}"
