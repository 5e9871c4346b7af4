"""What a person gets to read. Everything but the summary's JSON goes to standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from worker.model import Outcome
from worker.units import format_duration

if TYPE_CHECKING:
    from worker.connection import Tenant
    from worker.ledger import RunFolder
    from worker.pacing import RatePlan
    from worker.report.summary import Summary

_FIRST_CALLS = 5


def say(line: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def plan(folder: RunFolder, rate: RatePlan, *, as_json: bool, quiet: bool = False) -> None:
    """Show what a run will do: rows, users, duplicates, invalid ones, excluded ones, how long it takes."""
    if as_json:
        sys.stdout.write(json.dumps(_plan_object(folder)) + "\n")
        return
    if quiet:
        return
    planned, facts = folder.plan_summary(), folder.facts()
    outcomes = facts.outcomes
    say(f"Run        {folder.run_id}  ({folder.path})")
    say(f"Tenant     {facts.tenant}")
    say(f"Operation  {facts.operation}")
    say(f"Input      {facts.input_name}: {facts.rows:,} rows, {planned.users:,} distinct users")
    say(f"To call    {outcomes[Outcome.PENDING]:,} now; {_already(outcomes)}")
    say(
        f"Left out   {outcomes[Outcome.DUPLICATE]:,} duplicate, {outcomes[Outcome.INVALID]:,} invalid,"
        f" {outcomes[Outcome.EXCLUDED]:,} excluded"
    )
    for row, line, message in planned.first_invalid:
        say(f"           invalid: row {row}, line {line}: {message}")
    if planned.edge_whitespace:
        say(
            f"Warning    {planned.edge_whitespace:,} rows hold an id that begins or ends with white space; it is"
            " sent as it is"
        )
    say(f"Rate       {rate}; {_expected(outcomes[Outcome.PENDING], rate)}")


def _already(outcomes: dict[Outcome, int]) -> str:
    done = sum(
        outcomes[outcome]
        for outcome in (
            Outcome.SUCCEEDED,
            Outcome.UNCONFIRMED,
            Outcome.NOT_FOUND,
            Outcome.REFUSED,
            Outcome.EXHAUSTED,
        )
    )
    return f"{done:,} done before"


def _expected(calls: int, rate: RatePlan) -> str:
    if rate.ceiling_per_s is None:
        return "how long it takes depends on the server"
    return f"expected to take {format_duration(calls / rate.ceiling_per_s)} or longer"


def _plan_object(folder: RunFolder) -> dict[str, object]:
    planned, facts = folder.plan_summary(), folder.facts()
    return {
        "run_id": folder.run_id,
        "run_dir": str(folder.path),
        "state": str(facts.state),
        "tenant": facts.tenant,
        "operation": facts.operation,
        "rows": facts.rows,
        "users": planned.users,
        "outcomes": {str(outcome): count for outcome, count in facts.outcomes.items()},
        "first_invalid": [
            {"row": row, "line": line, "message": message} for row, line, message in planned.first_invalid
        ],
    }


def first_calls(folder: RunFolder, tenant: Tenant) -> None:
    """Show the first requests that a run would make."""
    from jobs.catalog import OPERATIONS

    operation = OPERATIONS[folder.facts().operation]
    say("First calls (not sent):")
    for row in folder.first_pending(_FIRST_CALLS):
        call = operation.call(row)
        say(f"  row {row.number}: {call.method} {tenant.base_url}{call.path}")
    say(f"Dry run: nothing was sent. `bulk-unverify run {folder.run_id}` takes this very plan.")


def finished_before(folder: RunFolder) -> None:
    """Say that a run is finished and what can be done with it."""
    say(
        f"Run {folder.run_id} of this input is finished: nothing is sent. To send failed rows again:"
        f" `bulk-unverify retry {folder.run_id}`. To do all of it once more: `--again`."
    )


def resume_hint(folder: RunFolder) -> None:
    """Say how to go on after an error."""
    say(f"Once that is mended, resume with: bulk-unverify run {folder.run_id}")


def summary(folder: RunFolder, done: Summary, *, as_json: bool) -> None:
    """Show how a run stands after a session."""
    if as_json:
        sys.stdout.write(done.model_dump_json() + "\n")
        sys.stdout.flush()
        return
    say("")
    say(f"{str(done.state).capitalize()}: {done.rows:,} rows in {format_duration(done.elapsed_s)}")
    for outcome, count in done.outcomes.items():
        if count:
            say(f"  {outcome!s:<12} {count:>12,}")
    say(f"  {'sum':<12} {sum(done.outcomes.values()):>12,}")
    say(f"Calls {done.calls:,}, of which {done.retries:,} retries; {done.rate_per_s:.1f} calls/s")
    if done.halt_reason:
        say(f"Why it stopped: {done.halt_reason}.")
    if done.outcomes[Outcome.PENDING]:
        say(f"Resume: bulk-unverify run {folder.run_id}")
    elif done.exit_code:
        say(f"Send failed rows again: bulk-unverify retry {folder.run_id}")
    say(f"Report: {done.report}")
