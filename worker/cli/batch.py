"""`plan`, `run` and `retry`: the commands that make a run and carry it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import flags

if TYPE_CHECKING:
    from worker.compose.options import Steering
    from worker.model import Outcome

_RUNS = Path("runs")
_OPERATION = "unverify-email"


def plan(
    file: Annotated[Path, typer.Argument(help="CSV or JSON lines, also .gz or .zst; - for standard input.")],
    *,
    tenant: flags.Tenant = None,
    operation: flags.Operation = None,
    user_column: flags.UserColumn = None,
    identifier_column: flags.IdentifierColumn = None,
    no_header: flags.NoHeader = False,
    delimiter: flags.Delimiter = None,
    encoding: flags.Encoding = None,
    max_rows: flags.MaxRows = None,
    exclude: flags.Exclude = None,
    again: flags.Again = False,
    reason: flags.Reason = "",
    rate: flags.Rate = "25/s",
    runs: flags.Runs = _RUNS,
    as_json: flags.Json = False,
) -> None:
    """Validate, number and count the rows; write the run folder; send nothing."""
    from worker.cli import show
    from worker.compose.planning import PlanRequest, plan_run
    from worker.connection import load_tenant
    from worker.intake import InputOptions
    from worker.pacing import parse_rate

    options = InputOptions(
        user_column, identifier_column, not no_header, delimiter, encoding, max_rows=max_rows
    )
    request = PlanRequest(
        file, options, load_tenant(tenant), operation or _OPERATION, runs, again, exclude, reason
    )
    folder = plan_run(request)
    show.plan(folder, parse_rate(rate))
    if as_json:
        show.say_json(show.plan_object(folder))


def run(
    target: Annotated[str, typer.Argument(metavar="FILE|RUN", help="A file to plan, or a run to resume.")],
    *,
    tenant: flags.Tenant = None,
    operation: flags.Operation = None,
    user_column: flags.UserColumn = None,
    identifier_column: flags.IdentifierColumn = None,
    no_header: flags.NoHeader = False,
    delimiter: flags.Delimiter = None,
    encoding: flags.Encoding = None,
    max_rows: flags.MaxRows = None,
    again: flags.Again = False,
    dry_run: flags.DryRun = False,
    rate: flags.Rate = "25/s",
    concurrency: flags.Concurrency = 32,
    attempts: flags.Attempts = 5,
    row_time_limit: flags.RowTimeLimit = "15m",
    timeout: flags.Timeout = None,
    max_failures: flags.MaxFailures = "20%",
    accept: flags.Accept = None,
    outage_patience: flags.OutagePatience = "15m",
    deadline: flags.Deadline = None,
    ca_bundle: flags.CaBundle = None,
    exclude: flags.Exclude = None,
    share_tenant: flags.ShareTenant = False,
    reason: flags.Reason = "",
    runs: flags.Runs = _RUNS,
    yes: flags.Yes = False,
    as_json: flags.Json = False,
) -> None:
    """Plan if needed, confirm, call, and report; resumes a run that is not finished."""
    from worker.cli.carry_out import CarryOut, carry_out
    from worker.compose.planning import PlanRequest, check_selection, find_run, plan_run
    from worker.connection import load_tenant
    from worker.intake import InputOptions

    chosen = load_tenant(tenant)
    steering = _steering(
        rate=rate,
        concurrency=concurrency,
        attempts=attempts,
        row_time_limit=row_time_limit,
        timeout=timeout,
        max_failures=max_failures,
        accept=accept,
        outage_patience=outage_patience,
        deadline=deadline,
        ca_bundle=ca_bundle,
        exclude=exclude,
        share_tenant=share_tenant,
        reason=reason,
    )
    options = InputOptions(
        user_column, identifier_column, not no_header, delimiter, encoding, max_rows=max_rows
    )
    folder = None if again else find_run(runs, target)
    if folder is not None:
        check_selection(folder, operation, options)
    else:
        request = PlanRequest(
            Path(target), options, chosen, operation or _OPERATION, runs, again, exclude, reason
        )
        folder = plan_run(request)
    carry_out(CarryOut(folder, chosen, steering, frozenset(), yes=yes, as_json=as_json, dry_run=dry_run))


def retry(
    name: Annotated[str, typer.Argument(metavar="RUN", help="The run whose rows go again.")],
    *,
    only: Annotated[
        str | None, typer.Option("--only", help="Outcomes to retry: exhausted,unconfirmed,refused,not_found.")
    ] = None,
    tenant: flags.Tenant = None,
    rate: flags.Rate = "25/s",
    concurrency: flags.Concurrency = 32,
    attempts: flags.Attempts = 5,
    row_time_limit: flags.RowTimeLimit = "15m",
    timeout: flags.Timeout = None,
    max_failures: flags.MaxFailures = "20%",
    accept: flags.Accept = None,
    outage_patience: flags.OutagePatience = "15m",
    deadline: flags.Deadline = None,
    ca_bundle: flags.CaBundle = None,
    exclude: flags.Exclude = None,
    share_tenant: flags.ShareTenant = False,
    reason: flags.Reason = "",
    runs: flags.Runs = _RUNS,
    yes: flags.Yes = False,
    as_json: flags.Json = False,
) -> None:
    """Send rows again: the exhausted, unconfirmed and refused ones, or those of the outcomes named."""
    from worker.cli.carry_out import CarryOut, carry_out
    from worker.compose.options import parse_outcomes
    from worker.connection import load_tenant
    from worker.ledger import RunFolder
    from worker.model import FAILURES, RETRYABLE

    retake = RETRYABLE if only is None else parse_outcomes(only, allowed=FAILURES, flag="--only")
    steering = _steering(
        rate=rate,
        concurrency=concurrency,
        attempts=attempts,
        row_time_limit=row_time_limit,
        timeout=timeout,
        max_failures=max_failures,
        accept=accept,
        outage_patience=outage_patience,
        deadline=deadline,
        ca_bundle=ca_bundle,
        exclude=exclude,
        share_tenant=share_tenant,
        reason=reason,
    )
    folder = RunFolder.open(runs, name)
    carry_out(
        CarryOut(folder, load_tenant(tenant), steering, retake, yes=yes, as_json=as_json, dry_run=False)
    )


def _steering(
    *,
    rate: str,
    concurrency: int,
    attempts: int,
    row_time_limit: str,
    timeout: str | None,
    max_failures: str,
    accept: str | None,
    outage_patience: str,
    deadline: str | None,
    ca_bundle: Path | None,
    exclude: Path | None,
    share_tenant: bool,
    reason: str,
) -> Steering:
    from worker.compose.options import parse_outcomes, steering
    from worker.connection import default_timeout_s
    from worker.model import FAILURES
    from worker.pacing import parse_rate
    from worker.units import parse_duration_s, parse_share

    accepted: frozenset[Outcome] = frozenset()
    if accept:
        accepted = parse_outcomes(accept, allowed=FAILURES, flag="--accept")
    return steering(
        rate=parse_rate(rate),
        concurrency=concurrency,
        attempts=attempts,
        row_time_limit_s=parse_duration_s(row_time_limit),
        timeout_s=default_timeout_s() if timeout is None else parse_duration_s(timeout),
        max_failures=parse_share(max_failures),
        accept=accepted,
        outage_patience_s=parse_duration_s(outage_patience),
        deadline_s=None if deadline is None else parse_duration_s(deadline),
        ca_bundle=ca_bundle,
        exclude=exclude,
        share_tenant=share_tenant,
        reason=reason,
    )
