"""Confirms a planned run with the person, runs a session of it, writes the reports and exits."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from typing import TYPE_CHECKING, NoReturn

from worker.cli import show
from worker.cli.progress import presenter
from worker.compose.amending import amend
from worker.compose.options import Steering
from worker.compose.planning import check_tenant
from worker.compose.reporting import last_report
from worker.compose.session import SessionRequest, run_session
from worker.connection import load_key
from worker.errors import BulkUnverifyError, UsageError
from worker.ledger import facts
from worker.model import Outcome, RunState

if TYPE_CHECKING:
    from worker.connection import Tenant
    from worker.ledger import RunFolder


@dataclasses.dataclass(frozen=True, slots=True)
class CarryOut:
    """A planned run and how to carry it out.

    Attributes:
        folder: The run.
        tenant: The tenant it was planned for.
        steering: How to go about it.
        retake: Outcomes that go again first (`retry`).
        yes: Do not ask.
        as_json: Print the summary as JSON, and nothing else on standard output.
        dry_run: Show what would be called, send nothing.
    """

    folder: RunFolder
    tenant: Tenant
    steering: Steering
    retake: frozenset[Outcome]
    yes: bool
    as_json: bool
    dry_run: bool


def carry_out(order: CarryOut) -> None:
    """Confirm, run, report; exits with the run's code.

    Raises:
        BulkUnverifyError: With a sentence and an exit code; what was done is on disk.
    """
    check_tenant(order.folder, order.tenant)
    if facts(order.folder).state is RunState.FINISHED and not order.retake:
        show.finished_before(order.folder)
        _conclude(order, last_report(order.folder, accept=order.steering.accept))
    amend(order.folder, order.steering, show.say)
    show.plan(order.folder, order.steering.rate, order.steering.deadline_s)
    if order.dry_run:
        show.first_calls(order.folder, order.tenant)
        raise SystemExit(0)
    key = load_key()
    _confirm(order)
    request = SessionRequest(
        folder=order.folder,
        tenant=order.tenant,
        key=key,
        steering=order.steering,
        retake=order.retake,
        present=presenter(sys.stderr),
        say=show.say,
    )
    try:
        summary = asyncio.run(run_session(request))
    except BulkUnverifyError:
        show.resume_hint(order.folder)
        raise
    _conclude(order, summary)


def _conclude(order: CarryOut, summary: dict[str, object]) -> NoReturn:
    show.summary(order.folder, summary, as_json=order.as_json)
    raise SystemExit(summary["exit_code"])


def _confirm(order: CarryOut) -> None:
    if order.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "This is not a terminal, so nobody can confirm. Add --yes once the plan above is what you want."
        )
    show.say(f"Type the tenant's name ({order.tenant.name}) to go ahead, anything else to leave:")
    if sys.stdin.readline().strip() != order.tenant.name:
        raise UsageError("Not confirmed: nothing was sent. The plan is kept; run the same command again.")
