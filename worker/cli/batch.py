"""`plan`, `run` and `retry`: the commands that make a run and carry it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import flags, given
from worker.cli.grouped import as_words, grouped
from worker.hints import DEFAULT_OPERATION, DEFAULT_RUNS, typed_for

if TYPE_CHECKING:
    from worker.ledger import RunFolder


@grouped
def plan(
    file: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="CSV or JSON, also .gz or .zst; - for standard input. Several files, or a folder of part files, are"
            " one input.",
        ),
    ],
    *,
    tenant: flags.Tenant = None,
    operation: flags.Operation = None,
    reading: flags.Reading,
    again: flags.Again = False,
    strict: flags.Strict = False,
    dry_run: flags.DryRun = False,
    steering: flags.Steering,
    min_rows: flags.MinRows = 1,
    runs: flags.Runs = DEFAULT_RUNS,
    yes: flags.Yes = False,
    as_json: flags.Json = False,
) -> None:
    """Validate, number and count the rows; write the run folder; send nothing.

    It takes the flags of `run`, checks them, and ends with the `run` command that carries the plan out with them.
    """
    from worker.cli import show
    from worker.compose.amending import amend, refuse_if_finished
    from worker.compose.planning import PlanRequest, plan_run
    from worker.connection import load_tenant
    from worker.ledger import foreseen
    from worker.model import RunState

    given.settings(steering)  # what is wrong with it is said before anything is planned
    chosen = load_tenant(tenant)
    request = PlanRequest(
        file[0],
        given.input_options(reading),
        chosen,
        operation or DEFAULT_OPERATION,
        runs,
        again,
        steering.exclude,
        steering.reason,
        strict=strict,
        further=tuple(file[1:]),
    )
    folder = plan_run(request)
    settings, settled = given.sticking(steering, folder)
    refuse_if_finished(folder, settings)
    amend(folder, settings, show.say)
    outlook = foreseen(folder)
    show.plan(folder, outlook, settings.rate, settings.deadline_s)
    show.settings(settled)
    calls = {"first_calls": show.first_calls(folder, chosen)} if dry_run else {}
    told = steering if outlook.known.sessions else given.unlike_default(steering)
    command = _run_command(folder, tenant, told, min_rows, yes=yes)
    if outlook.known.state is RunState.FINISHED:
        show.finished_before(folder)
    elif not show.too_few(outlook, min_rows):
        show.say(f"Carry out  {command}")
    if as_json:
        show.say_json(show.plan_object(folder, outlook) | calls | {"run_command": command})


@grouped
def run(
    target: Annotated[
        list[str],
        typer.Argument(metavar="FILE...|RUN", help="Files to plan as one input, or a run to resume."),
    ],
    *,
    tenant: flags.Tenant = None,
    operation: flags.Operation = None,
    reading: flags.Reading,
    again: flags.Again = False,
    strict: flags.Strict = False,
    dry_run: flags.DryRun = False,
    steering: flags.Steering,
    fleet: flags.Fleet,
    min_rows: flags.MinRows = 1,
    runs: flags.Runs = DEFAULT_RUNS,
    moved: flags.Moved = False,
    yes: flags.Yes = False,
    as_json: flags.Json = False,
) -> None:
    """Plan if needed, confirm, call, and report; resumes a run that is not finished."""
    from worker.cli.carry_out import CarryOut, carry_out
    from worker.compose.choosing import check_selection, find_run
    from worker.compose.planning import PlanRequest, find_or_plan, refuse_warned
    from worker.connection import load_tenant

    given.settings(steering)  # what is wrong with it is said before anything is planned
    options, via = given.input_options(reading), given.via(fleet, steering)
    folder, new = None if again or len(target) > 1 else find_run(runs, target[0]), False
    chosen = load_tenant(tenant, of_run="" if folder is None else folder.binding().tenant)
    if folder is not None:
        check_selection(folder, operation, options)
        if strict:
            refuse_warned(folder)
    else:
        request = PlanRequest(
            Path(target[0]),
            options,
            chosen,
            operation or DEFAULT_OPERATION,
            runs,
            again,
            steering.exclude,
            steering.reason,
            called_at_once=not dry_run,
            strict=strict,
            further=tuple(map(Path, target[1:])),
        )
        folder, new = find_or_plan(request)
    settings, settled = given.sticking(steering, folder)
    carry_out(
        CarryOut(
            folder,
            chosen,
            settings,
            frozenset(),
            yes=yes,
            as_json=as_json,
            dry_run=dry_run,
            via=via,
            recall=fleet.recall,
            settled=tuple(settled),
            moved=moved,
            new=new,
            min_rows=min_rows,
        )
    )


@grouped
def retry(
    name: Annotated[str, typer.Argument(metavar="RUN", help="The run whose rows go again.")],
    *,
    only: Annotated[
        str | None, typer.Option("--only", help="Outcomes to retry: exhausted,unconfirmed,refused,not_found.")
    ] = None,
    tenant: flags.Tenant = None,
    steering: flags.Steering,
    fleet: flags.Fleet,
    runs: flags.Runs = DEFAULT_RUNS,
    moved: flags.Moved = False,
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
    via = given.via(fleet, steering)
    folder = RunFolder.open(runs, name)
    settings, settled = given.sticking(steering, folder)
    carry_out(
        CarryOut(
            folder,
            load_tenant(tenant, of_run=folder.binding().tenant),
            settings,
            retake,
            yes=yes,
            as_json=as_json,
            dry_run=False,
            via=via,
            recall=fleet.recall,
            settled=tuple(settled),
            moved=moved,
            whole=only is None,
        )
    )


def _run_command(
    folder: RunFolder, tenant: str | None, steering: flags.Steering, min_rows: int, *, yes: bool
) -> str:
    """Return the command that carries a plan out, as it is typed: with what was given and is not the default."""
    words = ["--tenant", tenant] if tenant is not None else []
    words += as_words(steering)
    words += [] if min_rows == 1 else ["--min-rows", str(min_rows)]
    return typed_for(folder.path, "run", *words, *(["--yes"] if yes else []))
