"""What a person gets to read: what was asked for on standard output, what is said beside it on standard error."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import OutputError
from worker.hints import BY_WORKERS, typed_for
from worker.ledger import facts, left_of_retry
from worker.model import Outcome
from worker.printable import shown
from worker.report.advice import lines
from worker.units import format_duration

if TYPE_CHECKING:
    from worker.compose.sticking import Setting
    from worker.connection import Tenant
    from worker.ledger import ListCount, Outlook, RunFolder
    from worker.pacing import RatePlan
    from worker.reportable import RunFacts
    from worker.warned import Warned

_FIRST_CALLS = 5


def say(line: str) -> None:
    """Write one line to standard error; what it quotes of others steers no terminal."""
    sys.stderr.write(shown(line) + "\n")
    sys.stderr.flush()


def say_json(value: dict[str, object]) -> None:
    """Write one JSON object, alone, to standard output.

    Raises:
        OutputError: It cannot be written.
    """
    _put(json.dumps(value, default=str))


def answer(line: str) -> None:
    """Write a line of what a command was asked for to standard output, where `grep` and `less` find it.

    Raises:
        OutputError: It cannot be written.
    """
    _put(shown(line))


def _put(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError.because(error) from error


def plan(
    folder: RunFolder,
    outlook: Outlook,
    rate: RatePlan | None,
    deadline_s: float | None,
    *,
    retake: frozenset[Outcome] = frozenset(),
) -> None:
    """Show what a run will do: rows, users, duplicates, invalid ones, excluded ones, how long it takes.

    Rows with an outcome of `retake` are to be called again. Without a rate, others call.
    """
    planned, known, outcomes = folder.plan_summary(), outlook.known, outlook.outcomes
    again = {outcome: count for outcome, count in outcomes.items() if count and outcome in retake}
    pending = outcomes[Outcome.PENDING]
    left = left_of_retry(folder, retake) if retake else pending
    calls, done = left + sum(again.values()), _done_before(outcomes, retake)
    say(f"Run        {folder.run_id}  ({folder.path})")
    say(f"Tenant     {known.tenant}")
    say(f"Operation  {known.operation}")
    say(f"Input      {known.input_name}: {known.rows:,} rows, {planned.users:,} distinct users to call")
    say(f"To call    {calls:,} rows; {done:,} are done already")
    if retake:
        say(f"Again      {', '.join(f'{count:,} {outcome}' for outcome, count in again.items()) or 'none'}")
        if pending > left:
            say(f"Stay       {pending - left:,} rows pending; they go with `{typed_for(folder.path, 'run')}`")
    say(
        f"Left out   {outcomes[Outcome.DUPLICATE]:,} duplicate, {outcomes[Outcome.INVALID]:,} invalid,"
        f" {outcomes[Outcome.EXCLUDED]:,} excluded"
    )
    if barred := outcomes[Outcome.EXCLUDED] - known.outcomes[Outcome.EXCLUDED]:
        say(f"           {barred:,} of the excluded are on the protected list since after the plan")
    first_invalid(planned.first_invalid)
    protected(planned.lists)
    warned(planned.warnings)
    if rate is not None:
        say(f"Rate       {rate}; {_expected(calls, rate, deadline_s)}")


def settings(settled: Iterable[Setting]) -> None:
    """Show what steers the session otherwise than by default, and where it comes from."""
    for each in settled:
        if each.differs:
            say(f"Setting    {each.sentence()}")


def why_too_few(outlook: Outlook, least: int) -> str:
    """Return why a run has fewer than `least` rows to call, those that were called before included, or nothing."""
    known, outcomes = outlook.known, outlook.outcomes
    left_out = {each: outcomes[each] for each in (Outcome.INVALID, Outcome.DUPLICATE, Outcome.EXCLUDED)}
    to_call = known.rows - sum(left_out.values())
    if to_call >= least:
        return ""
    of = ", ".join(f"{count:,} {outcome}" for outcome, count in left_out.items() if count)
    return (
        f"{known.input_name} has {known.rows:,} rows{f' ({of})' if of else ''}, so that {to_call:,} are to be called:"
        f" fewer than --min-rows {least}. Is it the right file, and is it whole? If so, give --min-rows {to_call}."
    )


def too_few(outlook: Outlook, least: int) -> bool:
    """Warn of a plan that `run` refuses, as it has fewer than `least` rows to call; return whether it does."""
    reason = why_too_few(outlook, least)
    if reason:
        say(f"Warning    `run` refuses this: {reason}")
    return bool(reason)


def protected(lists: Iterable[ListCount]) -> None:
    """Show of each protected list how many ids it names and how many of them occur in the input."""
    for each in lists:
        ids = f"{each.ids:,} id{'' if each.ids == 1 else 's'}"
        say(f"Protected  {Path(each.path).name}: {ids}, {each.in_file:,} of them in this file")


def list_objects(lists: Iterable[ListCount]) -> list[dict[str, object]]:
    """Return the protected lists for JSON."""
    return [
        {"path": each.path, "sha256": each.sha256, "ids": each.ids, "in_file": each.in_file} for each in lists
    ]


def warned(warnings: Iterable[Warned]) -> None:
    """Show what looked wrong in the input, though it is planned."""
    for each in warnings:
        say(f"Warning    {each.sentence()}")


def first_invalid(rows: Iterable[tuple[int, int, str]]) -> None:
    """Show invalid rows: number, line, why."""
    for row, line, message in rows:
        say(f"           invalid: row {row}, line {line}: {message}")


def invalid_objects(rows: Iterable[tuple[int, int, str]]) -> list[dict[str, object]]:
    """Return invalid rows for JSON."""
    return [{"row": row, "line": line, "message": message} for row, line, message in rows]


def plan_object(folder: RunFolder, outlook: Outlook) -> dict[str, object]:
    """Return what `plan --json` prints."""
    planned, known = folder.plan_summary(), outlook.known
    return {
        "run_id": folder.run_id,
        "run_dir": str(folder.path),
        "state": known.state,
        "tenant": known.tenant,
        "operation": known.operation,
        "rows": known.rows,
        "users": planned.users,
        "outcomes": outlook.outcomes,
        "halt_reason": known.halt_reason or None,
        "paused": known.paused or None,
        "outage": None if known.outage is None else dataclasses.asdict(known.outage),
        "first_invalid": invalid_objects(planned.first_invalid),
        "protected_lists": list_objects(planned.lists),
        "warnings": [each.as_object() for each in planned.warnings],
        "exit_code": 0,
    }


def first_calls(folder: RunFolder, tenant: Tenant) -> list[dict[str, object]]:
    """Show the first requests that a run would make, and return them for JSON."""
    import itertools

    from jobs.catalog import OPERATIONS
    from worker.ledger import pending_rows

    operation = OPERATIONS[facts(folder).operation]
    calls: list[dict[str, object]] = [
        {"row": row.number, "method": call.method, "url": f"{tenant.base_url}{call.path}"}
        for row in itertools.islice(pending_rows(folder), _FIRST_CALLS)
        for call in (operation.call(row),)
    ]
    say("First calls (not sent):")
    for call in calls:
        say(f"  row {call['row']}: {call['method']} {call['url']}")
    say(f"Dry run: nothing was sent. `{typed_for(folder.path, 'run')}` takes this very plan.")
    return calls


def finished_before(folder: RunFolder) -> None:
    """Say that a run is finished and what can be done with it."""
    say(
        f"Run {folder.run_id} of this input is finished: nothing is sent. To send failed rows again:"
        f" `{typed_for(folder.path, 'retry')}`. To do all of it once more: run its file with `--again`."
    )


def nothing_to_retry(folder: RunFolder, retake: frozenset[Outcome]) -> None:
    """Say that no row goes again."""
    gone = 0 if Outcome.NOT_FOUND in retake else facts(folder).outcomes[Outcome.NOT_FOUND]
    others = (
        f" {gone:,} are not_found, which earlier builds also said of a proxy's 404. To send them again:"
        f" `{typed_for(folder.path, 'retry', '--only', 'not_found')}`."
        if gone
        else ""
    )
    say(f"No row of run {folder.run_id} is {' or '.join(sorted(retake))}: nothing is sent.{others}")


def resume_hint(folder: RunFolder, retake: frozenset[Outcome], *, whole: bool, by_workers: bool) -> None:
    """Say how to go on after an error; what a `retry` of all took back is pending, and `run` goes on with it."""
    begun = whole and facts(folder).outcomes[Outcome.PENDING] > 0
    only = ("--only", ",".join(sorted(retake))) if retake and not whole else ()
    via = BY_WORKERS if by_workers else ()
    command = typed_for(folder.path, "retry" if retake and not begun else "run", *only, *via)
    say(f"Once what is said below is mended, resume with: {command}")


def summary(folder: RunFolder, told: dict[str, object], *, as_json: bool) -> None:
    """Show how a run stands after a session."""
    if as_json:
        say_json(told)
        return
    status(folder)
    say(f"Report: {told['report']}")


def worked(told: dict[str, object]) -> None:
    """Show what a worker did: its rows by outcome, and the messages that it buried."""
    outcomes, buried = told["outcomes"], told["buried"]
    assert isinstance(outcomes, dict)
    done = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items() if count) or "no row"
    say(f"Done: {done}.")
    if buried:
        say(f"Buried: {buried:,} messages that nobody can work on. `bulk-unverify dead-letters` says why.")


def status(folder: RunFolder, write: Callable[[str], None] = say) -> None:
    """Show how a run stands and what to do next."""
    for line in lines(facts(folder), folder.path):
        write(line)


def status_line(folder: RunFolder, known: RunFacts) -> str:
    """Return one line on a run, for a list of runs; a folder that was renamed goes by its new name."""
    done = known.rows - known.outcomes[Outcome.PENDING]
    paused = f"  {known.paused}" if known.paused else ""
    return f"{folder.run_id}  {known.state:<11}  {done:,}/{known.rows:,}  {known.operation} on {known.tenant}{paused}"


def _done_before(outcomes: dict[Outcome, int], retake: frozenset[Outcome]) -> int:
    not_done = {Outcome.PENDING, Outcome.INVALID, Outcome.DUPLICATE, Outcome.EXCLUDED} | retake
    return sum(count for outcome, count in outcomes.items() if outcome not in not_done)


def _expected(calls: int, rate: RatePlan, deadline_s: float | None) -> str:
    if rate.ceiling_per_s is None:
        return "how long it takes depends on the server"
    least_s = calls / rate.ceiling_per_s
    late = deadline_s is not None and least_s > deadline_s
    return f"takes {format_duration(least_s)} or longer" + (
        ", which the deadline does not allow" if late else ""
    )
