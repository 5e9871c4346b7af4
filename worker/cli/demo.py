"""`demo`: the main job against the sandbox, with trouble on, checked against what was staged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_FOLDER = Path("demo")


def demo(
    *,
    folder: Annotated[Path, typer.Option("--folder", help="Where the batch and its run are kept.")] = _FOLDER,
    rows: Annotated[int, typer.Option("--rows", min=100, help="Rows of the batch.")] = 4000,
) -> None:
    """Start the sandbox, write a batch, run it through rate limits and errors, and check the outcomes."""
    import contextlib
    import os

    from worker.cli import show
    from worker.cli.carry_out import CarryOut, carry_out
    from worker.compose.options import steering
    from worker.compose.planning import PlanRequest, plan_run
    from worker.compose.rehearsal import staged_sandbox
    from worker.connection import Tenant
    from worker.errors import BulkUnverifyError
    from worker.intake import InputOptions
    from worker.ledger import facts
    from worker.pacing import parse_rate

    with staged_sandbox(folder, rows) as stage:
        show.say(f"Sandbox tenant at {stage.domain}: {stage.trouble}")
        os.environ["MONOCLOUD_MANAGEMENT_API_KEY"] = stage.key  # this process only; the key is made up
        tenant = Tenant.parse(stage.domain)
        request = PlanRequest(
            stage.batch, InputOptions(), tenant, "unverify-email", folder / "runs", True, None, "demo"
        )
        run = plan_run(request)
        order = CarryOut(
            run, tenant, steering(rate=parse_rate("400/s"), reason="demo"), frozenset(),
            yes=True, as_json=False, dry_run=False,
        )  # fmt: skip
        with contextlib.suppress(
            SystemExit
        ):  # it ends with the run's code: 1, as some rows were staged to fail
            carry_out(order)
        outcomes = {str(outcome): count for outcome, count in facts(run).outcomes.items() if count}
        if outcomes != stage.expected:
            raise BulkUnverifyError(f"The outcomes are {outcomes}, but {stage.expected} was staged.")
        show.say(f"As staged: {outcomes}. The sandbox received {stage.received():,} requests.")
