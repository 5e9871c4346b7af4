"""What to do next with a run, and the run in plain lines."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from worker.hints import BY_WORKERS, DEFAULT_OPERATION, typed, typed_for
from worker.model import RETRYABLE, Outcome, RunState
from worker.report.summary import every_outcome, reconciliation
from worker.report.times import stamper, whole_ms
from worker.reportable import COLLECTED, RunFacts
from worker.units import format_duration


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: why, and the command."""

    why: str
    command: str


def next_steps(facts: RunFacts, run_dir: Path) -> list[Step]:
    """Return what an operator may want to do next, first things first; empty when nothing is left."""
    outcomes = every_outcome(facts.outcomes)
    if COLLECTED in facts.selection and outcomes[Outcome.PENDING]:
        return [Step("Collect the rest once the workers have it:", typed("collect", runs_dir=run_dir.parent))]
    if facts.state is RunState.RUNNING:  # it cannot be resumed while a process works on it
        return [_steer(facts, run_dir)]
    if facts.state is not RunState.FINISHED:
        return [_resume(facts, run_dir, outcomes[Outcome.PENDING])]
    steps = []
    again = sum(outcomes[outcome] for outcome in RETRYABLE)
    if again:
        steps.append(
            Step(
                f"Send {again:,} exhausted, unconfirmed or refused rows again:",
                typed_for(run_dir, "retry"),
            )
        )
    if outcomes[Outcome.INVALID]:
        steps.append(
            Step(
                f"Mend the {outcomes[Outcome.INVALID]:,} invalid rows in invalid.csv, then run that file:",
                _run_invalid(facts, run_dir),
            )
        )
    return steps


def lines(facts: RunFacts, run_dir: Path) -> list[str]:
    """Return the run's summary as plain text, a line each, without colour."""
    shown = [
        f"Run {facts.run_id}: {facts.state}",
        f"{facts.operation} on {facts.tenant}" + (f", because: {facts.reason}" if facts.reason else ""),
        *([f"{_stopped(facts.state)}: {facts.halt_reason}"] if facts.halt_reason else []),
        *([f"No calls are made: {facts.paused}"] if facts.paused else []),
        *_outage(facts),
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


def _steer(facts: RunFacts, run_dir: Path) -> Step:
    if facts.paused:
        return Step("Let it go on:", typed_for(run_dir, "continue"))
    return Step("Let it wait:", typed_for(run_dir, "pause"))


def _resume(facts: RunFacts, run_dir: Path, pending: int) -> Step:
    if facts.state is RunState.PLANNED:
        return Step(f"Start the run of {pending:,} rows:", typed_for(run_dir, "run"))
    cause = "Remove the cause, then resume" if facts.state is RunState.HALTED else "Resume"
    words = BY_WORKERS if facts.called_via else ()
    return Step(f"{cause} the {pending:,} pending rows:", typed_for(run_dir, "run", *words))


def _outage(facts: RunFacts) -> list[str]:
    outage = facts.outage
    if outage is None or outage.until is not None or facts.state is not RunState.RUNNING:
        return []
    since = stamper()(whole_ms(outage.since))
    return [f"Outage since {since}: {outage.met}. The tenant is asked again from time to time"]


def _stopped(state: RunState) -> str:
    return "Halted" if state is RunState.HALTED else "Stopped"


def _run_invalid(facts: RunFacts, run_dir: Path) -> str:
    """Return the command that runs `invalid.csv` as this run was: with all its protected lists, and its reason."""
    file, runs_dir = run_dir / "invalid.csv", run_dir.parent
    reason = ("--reason", facts.reason) if facts.reason else ()
    last = ("--exclude", facts.lists[-1]) if facts.lists else ()
    planned = [
        run_again(facts, file, "--exclude", each, verb="plan", runs_dir=runs_dir) for each in facts.lists[:-1]
    ]
    return " && ".join([*planned, run_again(facts, file, *last, *reason, runs_dir=runs_dir)])


def run_again(facts: RunFacts, file: Path, *flags: str, runs_dir: Path, verb: str = "run") -> str:
    """Return the command that feeds a report of the run back in: the same operation on the same columns."""
    words = [str(file), *flags]
    if facts.operation != DEFAULT_OPERATION:
        words += ["--operation", facts.operation]
    if facts.selection.get("header") != "False":  # else the report named the columns, by their usual names
        for column in ("user_column", "identifier_column"):
            if column in facts.selection:
                words += [f"--{column.replace('_', '-')}", facts.selection[column]]
    return typed(verb, *words, runs_dir=runs_dir)
