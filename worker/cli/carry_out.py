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
from worker.compose.choosing import check_tenant
from worker.compose.options import Steering
from worker.compose.reporting import last_report
from worker.compose.session import SessionRequest, run_session
from worker.compose.sticking import Setting, without_callers
from worker.connection import load_key
from worker.errors import BulkUnverifyError, UsageError
from worker.hints import BY_WORKERS, typed, typed_for
from worker.ledger import facts, foreseen, left_of_retry, may_be_a_copy, withdraw
from worker.model import Outcome, RunState
from worker.reportable import COLLECTED

if TYPE_CHECKING:
    from worker.compose.engine import Via
    from worker.connection import Tenant
    from worker.ledger import Outlook, RunFolder


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
        settled: What steers it, and where each of it comes from.
        moved: Whether somebody says that the folder is no copy.
        whole: Whether `retry` was given without outcomes: then nothing may be pending beside them.
        new: Whether the run was planned by this very command.
        min_rows: Fewest rows to call for which it is carried out.
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
    settled: tuple[Setting, ...] = ()
    moved: bool = False
    whole: bool = False
    new: bool = False
    min_rows: int = 0


def carry_out(order: CarryOut) -> None:
    """Confirm, run, report; exits with the run's code.

    Raises:
        BulkUnverifyError: With a sentence and an exit code; what was done is on disk.
    """
    try:
        _carry_out(order)
    except (BulkUnverifyError, KeyboardInterrupt) as error:
        if _had_no_effect(order, error):
            withdraw(order.folder)
        raise


class NotConfirmedError(UsageError):
    """Nobody confirmed the plan, which was looked at."""


def _had_no_effect(order: CarryOut, error: BaseException) -> bool:
    """Return whether the run was planned for nothing: left as it is, the next plain `run` would take it.

    Before its first session nothing was confirmed; after it, exit 2 says that nothing was sent. A plan that was
    looked at is there to be confirmed, but for one beside another run (`--again`).
    """
    if not order.new or (not _is_beside_another(order) and _was_looked_at(error)):
        return False
    known = facts(order.folder)
    refused = isinstance(error, BulkUnverifyError) and error.exit_code == UsageError.exit_code
    return not known.sessions or (refused and not known.calls)


def _was_looked_at(error: BaseException) -> bool:
    return isinstance(error, NotConfirmedError | KeyboardInterrupt)


def _is_beside_another(order: CarryOut) -> bool:
    return order.new and order.folder.binding().unconfirmed


def _carry_out(order: CarryOut) -> None:
    check_tenant(order.folder, order.tenant)
    if not order.retake:
        _refuse_collected(order.folder)
    if _is_done(order):
        refuse_too_few(foreseen(order.folder), 0 if order.retake else order.min_rows)
        _conclude(order, last_report(order.folder, accept=order.steering.accept))
    _ask_if_moved(order)
    amend(order.folder, order.steering, show.say)
    rate = order.steering.rate if order.via is None else None
    outlook = foreseen(order.folder)
    show.plan(order.folder, outlook, rate, order.steering.deadline_s, retake=order.retake)
    show.settings(order.settled if order.via is None else without_callers(order.settled))
    if order.via is not None:
        show.say(f"Called by  the workers of {order.via.address}, at their rate")
    if order.dry_run:
        show.too_few(outlook, order.min_rows)
        calls = show.first_calls(order.folder, order.tenant)
        if order.as_json:
            show.say_json(show.plan_object(order.folder, outlook) | {"first_calls": calls})
        raise SystemExit(0)
    refuse_too_few(outlook, 0 if order.retake else order.min_rows)
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
    except BulkUnverifyError as error:
        if not _had_no_effect(order, error):
            show.resume_hint(order.folder, order.retake, whole=order.whole, by_workers=order.via is not None)
        raise
    _conclude(order, summary)


def refuse_too_few(outlook: Outlook, least: int) -> None:
    """Refuse a run that would do less than was expected of it, and end as a success.

    Raises:
        UsageError: It has fewer than `least` rows to call, those that were called before included.
    """
    if reason := show.why_too_few(outlook, least):
        raise UsageError(f"{reason} Nothing was sent.")


def _refuse_collected(folder: RunFolder) -> None:
    if COLLECTED in folder.binding().selection:
        raise UsageError(
            f"The rows of {folder.run_id} were called by a queue's workers; there is nothing to carry out here. New"
            f" outcomes: `{typed('collect', runs_dir=folder.path.parent)}`. To send failed rows again:"
            f" `{typed_for(folder.path, 'retry')}`."
        )


def _is_done(order: CarryOut) -> bool:
    """Return whether there is nothing to send, and say so.

    A `retry --only` that was halted or interrupted has taken rows back: it goes on with these.
    """
    known = facts(order.folder)
    if order.retake:
        pending = known.outcomes[Outcome.PENDING]
        if order.whole and pending:
            raise _pending_first(order.folder, pending)
        again = any(known.outcomes[outcome] for outcome in order.retake)
        if again or (pending and left_of_retry(order.folder, order.retake)):
            return False
        show.nothing_to_retry(order.folder, order.retake)
        return True
    if known.state is RunState.FINISHED:
        show.finished_before(order.folder)
        return True
    return False


def _pending_first(folder: RunFolder, pending: int) -> UsageError:
    command = typed_for(folder.path, "run", *(BY_WORKERS if facts(folder).called_via else ()))
    return UsageError(
        f"{pending:,} rows of run {folder.run_id} are pending: `{command}` first. To send rows of some outcomes"
        " alone, name these with --only."
    )


def _ask_if_moved(order: CarryOut) -> None:
    """Have it confirmed that a folder that may be a copy is the one to be worked on."""
    folder = order.folder
    if order.moved or order.dry_run or not (doubt := may_be_a_copy(folder)):
        return
    told = f"Run {folder.run_id} may be a copy: {doubt}. Two copies call every pending row twice."
    if not sys.stdin.isatty():
        raise UsageError(f"{told} If it was moved here and is worked on nowhere else, add --moved.")
    show.say(f"{told} Type 'moved' if it is worked on nowhere else, anything else to leave:")
    if sys.stdin.readline().strip() != "moved":
        raise UsageError("Not confirmed: nothing was sent.")


def _conclude(order: CarryOut, summary: dict[str, object]) -> NoReturn:
    show.summary(order.folder, summary, as_json=order.as_json)
    raise SystemExit(summary["exit_code"])


def _confirm(order: CarryOut) -> None:
    if order.yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmedError(
            "This is not a terminal, so nobody can confirm. Add --yes once the plan above is what you want."
        )
    show.say(f"Type the tenant's name ({order.tenant.name}) to go ahead, anything else to leave:")
    if sys.stdin.readline().strip() != order.tenant.name:
        again = typed_for(order.folder.path, "run")
        kept = "this plan is not kept" if _is_beside_another(order) else f"the plan is kept: `{again}`"
        raise NotConfirmedError(f"Not confirmed: nothing was sent, and {kept}.")
