"""From an input file to a plan on disk. Sends nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import getpass
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from worker.compose.choosing import KnownRuns, selection_of
from worker.compose.operations import find_operation
from worker.compose.origins import origins
from worker.connection import Tenant
from worker.errors import InputError, UsageError, WarnedError
from worker.intake import (
    InputOptions,
    Part,
    as_parts,
    digest,
    digest_of,
    is_stream,
    load_protected,
    open_table,
)
from worker.ledger import Binding, PlanDraft, RunFolder, facts, remove_stale_drafts
from worker.model import RunState
from worker.warned import Warned

_STEM: Final = re.compile(r"[^A-Za-z0-9]+")
_STEM_LENGTH: Final = 24


@dataclasses.dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned.

    Attributes:
        input_path: The file, or `-` for standard input.
        input_options: How to read it.
        tenant: Whose users they are.
        operation: Name of the operation.
        runs_dir: Where run folders are made.
        again: Whether to make a new run although one of the same input exists.
        exclude: The protected list, or None.
        reason: Why it is done.
        called_at_once: Whether its rows are called as soon as it is planned: then a plan that was looked at
            must not give way to one of other content in silence.
        strict: Whether an input that is warned of is refused.
        further: More files (or folders of part files) of the same input, in order.
    """

    input_path: Path
    input_options: InputOptions
    tenant: Tenant
    operation: str
    runs_dir: Path
    again: bool
    exclude: Path | None
    reason: str
    called_at_once: bool = False
    strict: bool = False
    further: tuple[Path, ...] = ()

    @property
    def inputs(self) -> tuple[Path, ...]:
        """All that was given as the input, in order."""
        return (self.input_path, *self.further)


def operator() -> str:
    """Return who runs this, as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return storable(f"{user}@{socket.gethostname()}")


def plan_run(request: PlanRequest) -> RunFolder:
    """Return the run of this input: see `find_or_plan`."""
    return find_or_plan(request)[0]


def find_or_plan(request: PlanRequest) -> tuple[RunFolder, bool]:
    """Return the run of this input, and whether it is new: a plan on disk where there is none, or `again`.

    Raises:
        InputError: The file as a whole cannot be planned.
        UsageError: There is no such operation; or the input is planned already: read in another way, with other
            content and not finished, or several times.
        WarnedError: It is warned of, and this is `strict`.
    """
    find_operation(request.operation)
    request.input_options.check()
    make_private(request.runs_dir)
    remove_stale_drafts(request.runs_dir)
    runs = KnownRuns(request.runs_dir)
    with as_parts(request.inputs, request.runs_dir) as parts:
        binding = Binding(
            input_name=_input_name(request.inputs),
            input_sha256=digest_of(parts),
            tenant=request.tenant.name,
            operation=request.operation,
            selection=selection_of(request.input_options),
            input_path=_input_path(request.inputs),
            unconfirmed=request.again and request.called_at_once,
        )

        def existing() -> RunFolder | None:
            return None if request.again else runs.find(binding, called_at_once=request.called_at_once)

        found = existing()
        if found is None:
            numbered = dataclasses.replace(binding, number=runs.next_number())
            return _draft(request, numbered, parts, existing)
    if request.strict:
        refuse_warned(found)
    return found, False


def _draft(
    request: PlanRequest, binding: Binding, parts: Sequence[Part], existing: Callable[[], RunFolder | None]
) -> tuple[RunFolder, bool]:
    refuse_as_protected(request.exclude, binding)
    lists = [load_protected(request.exclude)] if request.exclude else []
    now = time.time()
    with (
        origins(request.runs_dir) as known,
        open_table(parts, request.input_options, known) as table,
        PlanDraft(
            request.runs_dir,
            _run_id(request.input_path, now),
            binding,
            operator=operator(),
            reason=storable(request.reason),
            planned_at=now,
        ) as draft,
    ):
        draft.add(table.rows())
        if table.sha256 != binding.input_sha256:
            raise InputError(
                f"{binding.input_name} changed while it was read. Plan it again when it is complete."
            )
        draft.finish(header=table.header, lists=lists, warnings=table.warnings)
        if request.strict:
            refuse_warnings(draft.drafted.plan_summary().warnings, "Nothing was planned")
        folder = draft.publish(existing)
        return folder, folder == draft.folder


def refuse_as_protected(exclude: Path | None, binding: Binding) -> None:
    """Refuse a protected list that is the input: every row would be left out, and the run a success.

    Raises:
        InputError: It is, by name or content; or it is one of the input's parts.
    """
    if exclude is None or not exclude.is_file():  # what is no file is refused when it is read
        return
    if str(exclude.resolve()) in binding.input_path.split("\n") or digest(exclude) == binding.input_sha256:
        raise InputError(
            f"{exclude} is the input of this run as well as its protected list: nobody would be called. Give the"
            " file of those who are to be called as FILE, and the list of those who are not with --exclude."
        )


def refuse_warned(planned: RunFolder) -> None:
    """Refuse a plan that was made with warnings, as `--strict` asks, if it is still to be carried out.

    Raises:
        WarnedError: It has some.
        LedgerError: The ledger cannot be read.
    """
    if facts(planned).state not in (RunState.FINISHED, RunState.CANCELLED):
        refuse_warnings(planned.plan_summary().warnings, f"Nothing was sent for run {planned.run_id}")


def refuse_warnings(warnings: Sequence[Warned], done: str) -> None:
    """Refuse an input that is warned of; `done` says what was not done for it.

    Raises:
        WarnedError: With the warnings.
    """
    if warnings:
        said = "; ".join(each.sentence() for each in warnings)
        raise WarnedError(
            f"{done}: --strict takes no input that is warned of. {said}. Mend these rows, or leave --strict out.",
            {"warnings": [each.as_object() for each in warnings]},
        )


def _input_name(inputs: Sequence[Path]) -> str:
    more = f" and {len(inputs) - 1} more" if len(inputs) > 1 else ""
    return storable(inputs[0].name + more)


def _input_path(inputs: Sequence[Path]) -> str:
    """Return where the input lies, a line each, or nothing where some of it cannot be read again."""
    if any(map(is_stream, inputs)):
        return ""
    return storable("\n".join(str(path.resolve()) for path in inputs))


def _run_id(input_path: Path, now: float) -> str:
    moment = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y%m%d-%H%M%S")
    stem = _STEM.sub("-", input_path.name.split(".")[0]).strip("-")[:_STEM_LENGTH] or "stdin"
    return f"{moment}-{stem.lower()}-{secrets.token_hex(2)}"


def storable(text: str) -> str:
    r"""Return `text` with bytes of a name or argument that are no UTF-8 written as `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def make_private(folder: Path) -> None:
    """Make the folder of runs, for its owner alone, unless it is there.

    Raises:
        UsageError: It cannot be made.
    """
    if (shown := storable(str(folder.absolute()))) != str(folder.absolute()):
        raise UsageError(
            f"--runs {shown}: this path is not UTF-8, which the ledger cannot have. Name another."
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--runs {folder}: cannot make this folder: {error.strerror}.") from error
