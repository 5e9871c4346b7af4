"""Confirms a planned run with the person, runs a session of it, writes the reports and exits."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, NoReturn

from worker.cli import given, show
from worker.cli.progress import presenter
from worker.compose.amending import amend
from worker.compose.options import Steering
from worker.compose.planning import check_tenant
from worker.compose.reporting import last_report
from worker.compose.session import SessionRequest, run_session
from worker.connection import load_key
from worker.errors import BulkUnverifyError, UsageError
from worker.hints import typed, typed_for
from worker.ledger import facts
from worker.model import Outcome, RunState
from worker.reportable import COLLECTED

if TYPE_CHECKING:
    from worker.compose.engine import Via
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
        via: The queue whose workers call; None to call from here.
        recall: Whether rows that are with a queue's workers are called by others, too.
    """

    folder: RunFolder
    tenant: Tenant
    steering: Steering
    retake: frozenset[Outcome]
    yes: bool
    as_json: bool
    dry_run: bool
    via: Via | None = None
    recall: bool = False


def carry_out(order: CarryOut) -> None:
    """Confirm, run, report; exits with the run's code.

    Raises:
        BulkUnverifyError: With a sentence and an exit code; what was done is on disk.
    """
    check_tenant(order.folder, order.tenant)
    if not order.retake:
        _refuse_collected(order.folder)
    if _is_done(order):
        _conclude(order, last_report(order.folder, accept=order.steering.accept))
    amend(order.folder, order.steering, show.say)
    rate = order.steering.rate if order.via is None else None
    show.plan(order.folder, rate, order.steering.deadline_s, retake=order.retake)
    if order.via is not None:
        show.say(f"Called by  the workers of {order.via.address}, at their rate")
    if order.dry_run:
        calls = show.first_calls(order.folder, order.tenant)
        if order.as_json:
            show.say_json(show.plan_object(order.folder) | {"first_calls": calls})
        raise SystemExit(0)
    key = load_key() if order.via is None else None
    _confirm(order)
    request = SessionRequest(
        folder=order.folder,
        tenant=order.tenant,
        key=key,
        steering=order.steering,
        retake=order.retake,
        present=presenter(sys.stderr),
        say=show.say,
        via=order.via,
        recall=order.recall,
    )
    try:
        with contextlib.nullcontext() if order.via is None else given.naming(order.via.address):
            summary = asyncio.run(run_session(request))
    except BulkUnverifyError:
        show.resume_hint(order.folder, order.retake, by_workers=order.via is not None)
        raise
    _conclude(order, summary)


def _refuse_collected(folder: RunFolder) -> None:
    if COLLECTED in folder.binding().selection:
        raise UsageError(
            f"The rows of {folder.run_id} were called by a queue's workers; there is nothing to carry out here. New"
            f" outcomes: `{typed('collect', runs_dir=folder.path.parent)}`. To send failed rows again:"
            f" `{typed_for(folder.path, 'retry')}`."
        )


def _is_done(order: CarryOut) -> bool:
    """Return whether there is nothing to send, and say so.

    A `retry` that was halted or interrupted has taken its rows back: it goes on with what is pending.
    """
    known = facts(order.folder)
    if order.retake:
        again = any(known.outcomes[outcome] for outcome in order.retake)
        if again or known.state not in (RunState.PLANNED, RunState.FINISHED):
            return False
        show.nothing_to_retry(order.folder, order.retake)
        return True
    if known.state is RunState.FINISHED:
        show.finished_before(order.folder)
        return True
    return False


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
