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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from worker.compose.operations import find_operation
from worker.connection import Tenant
from worker.errors import InputError, UsageError, WarnedError
from worker.hints import typed_for
from worker.intake import (
    InputOptions,
    Part,
    as_parts,
    digest_of,
    is_stream,
    load_protected,
    open_table,
    part_files,
)
from worker.ledger import Binding, PlanDraft, RunFolder, facts, remove_stale_drafts
from worker.model import RunState
from worker.report.advice import run_again
from worker.warned import Warned

_STEM: Final = re.compile(r"[^A-Za-z0-9]+")
_STEM_LENGTH: Final = 24
_REST: Final = Path("rest.csv")


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
    """Return the run of this input: the one that exists, unless `again`, or else a new plan on disk.

    Raises:
        InputError: The file as a whole cannot be planned.
        UsageError: There is no such operation, or the input is planned already: read in another way, or with
            other content and not finished.
        WarnedError: It is warned of, and this is `strict`.
    """
    find_operation(request.operation)
    request.input_options.check()
    make_private(request.runs_dir)
    remove_stale_drafts(request.runs_dir)
    with as_parts(request.inputs, request.runs_dir) as parts:
        binding = Binding(
            input_name=_input_name(request.inputs),
            input_sha256=digest_of(parts),
            tenant=request.tenant.name,
            operation=request.operation,
            selection=_selection(request.input_options),
            input_path=_input_path(request.inputs),
        )

        def existing() -> RunFolder | None:
            return None if request.again else _find(request, binding)

        found = existing()
        if found is None:
            return _draft(request, binding, parts, existing)
    if request.strict:
        refuse_warned(found)
    return found


def _find(request: PlanRequest, binding: Binding) -> RunFolder | None:
    """Return the newest run of `binding`, or None where its input has no run.

    Raises:
        UsageError: One more run would call rows a second time, or others than were looked at.
    """
    otherwise: tuple[RunFolder, list[str]] | None = None
    of_this_file: RunFolder | None = None
    for folder, bound in RunFolder.bound(request.runs_dir):
        if (bound.tenant, bound.operation) != (binding.tenant, binding.operation):
            continue
        if bound.input_sha256 == binding.input_sha256:
            differing = _differing(bound.selection, binding.selection)
            if not differing:
                return folder
            otherwise = otherwise or (folder, differing)
        elif bound.input_path and bound.input_path == binding.input_path:
            of_this_file = of_this_file or folder
    if otherwise is not None:
        raise _read_otherwise(*otherwise)
    if of_this_file is not None:
        _refuse_changed(of_this_file, request)
    return None


def _differing(planned: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    before, now = _normal(planned), dict(wanted)
    return [name for name in before | now if before.get(name) != now.get(name)]


def _read_otherwise(folder: RunFolder, differing: list[str]) -> UsageError:
    flags = " and ".join(map(_flag, differing))
    return UsageError(
        f"This input is planned already, as run {folder.run_id}, with {flags} otherwise than now. A second plan"
        f" would call its rows a second time: use that run (`{typed_for(folder.path, 'run')}`), or give"
        " --again for a new one."
    )


def _refuse_changed(planned: RunFolder, request: PlanRequest) -> None:
    """Refuse a file that was changed since its run was planned, if that run is still to be carried out."""
    state = facts(planned).state
    settled = state in (RunState.FINISHED, RunState.CANCELLED)
    if settled or (state is RunState.PLANNED and not request.called_at_once):
        return
    look = ", plan the new content to look at it first" if state is RunState.PLANNED else ""
    raise UsageError(
        f"{' '.join(map(str, request.inputs))} has other content than when run {planned.run_id} was planned, which is"
        f" {state}: carry that out (`{typed_for(planned.path, 'run')}`){look}, or give --again for a new run of"
        " the new content."
    )


def find_run(runs_dir: Path, target: str) -> RunFolder | None:
    """Return the run that `target` names or whose folder it is, or None if it is something else: a file.

    Raises:
        LedgerError: It is a run's folder, and its ledger cannot be read.
    """
    path = Path(target)
    try:
        names_a_run = target != "-" and not path.is_file() and _is_run(runs_dir, path)
    except OSError:  # not to be looked at, or longer than a name can be: who opens the file says why
        return None
    return RunFolder.open(runs_dir, target) if names_a_run else None


def _is_run(runs_dir: Path, path: Path) -> bool:
    """Tell whether a folder is to be a run, though a broken one, rather than a folder of part files."""
    if (len(path.parts) == 1 and (runs_dir / path).is_dir()) or RunFolder(path).exists:
        return True
    return path.is_dir() and not _holds_parts(path)


def _holds_parts(folder: Path) -> bool:
    try:
        return bool(part_files([folder]))
    except InputError:
        return any(each.is_file() for each in folder.iterdir())


def check_selection(folder: RunFolder, operation: str | None, options: InputOptions) -> None:
    """Refuse flags that select other rows, or do something else with them, than the run's plan.

    Args:
        folder: A run that was named, so that its plan stands already.
        operation: The operation that was asked for, or None for the plan's.
        options: What was said of the input; what is at its default was not said.

    Raises:
        UsageError: Naming the flag.
        LedgerError: The ledger cannot be read.
    """
    binding = folder.binding()
    if operation not in (None, binding.operation):
        raise UsageError(
            f"Run {folder.run_id} was planned for {binding.operation}, not for {operation}: leave --operation"
            " out, or give the file to plan a run of its own."
        )
    unsaid, planned = _selection(InputOptions()), _normal(binding.selection)
    for name, value in _selection(options).items():
        if value != unsaid.get(name) and value != planned.get(name):
            raise UsageError(
                f"Run {folder.run_id} was planned without {_flag(name)} as it is given now: leave it out, or"
                " give the file and --again to plan a run of its own."
            )


def check_tenant(folder: RunFolder, tenant: Tenant) -> None:
    """Refuse to carry out a run on another tenant than its plan's.

    Raises:
        UsageError: It is another one.
        LedgerError: The ledger cannot be read.
    """
    planned = folder.binding().tenant
    if planned != tenant.name:
        raise UsageError(
            f"Run {folder.run_id} was planned for {planned}, not for {tenant.name}. To go on with it, name that"
            f" tenant. {_elsewhere(folder)}"
        )


def _elsewhere(folder: RunFolder) -> str:
    """Return how the rows of a run that are not done yet are done on another tenant, and none of the others."""
    pending = typed_for(folder.path, "report", "--only", "pending", "-o", str(_REST))
    lists = folder.protected_lists()
    exclude = ("--exclude", str(lists[0])) if lists else ()
    command = run_again(facts(folder), _REST, *exclude, runs_dir=folder.path.parent)
    others = f" Its other protected lists: {', '.join(map(str, lists[1:]))}; add each with --exclude." * (
        len(lists) > 1
    )
    return f"To do its pending rows here instead: `{pending}`, then `{command}`.{others}"


def _draft(
    request: PlanRequest, binding: Binding, parts: Sequence[Part], existing: Callable[[], RunFolder | None]
) -> RunFolder:
    protected = load_protected(request.exclude) if request.exclude else frozenset()
    now = time.time()
    with (
        open_table(parts, request.input_options) as table,
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
        lists = [request.exclude.absolute()] if request.exclude else []
        draft.finish(header=table.header, protected=protected, lists=lists, warnings=table.warnings)
        if request.strict:
            refuse_warnings(draft.drafted.plan_summary().warnings, "Nothing was planned")
        return draft.publish(existing)


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


def _selection(options: InputOptions) -> dict[str, str]:
    """Return what was said of the input, by name; what means the same is the same."""
    said = dataclasses.asdict(options) | {"delimiter": options.separator, "encoding": options.codec}
    return {name: str(value) for name, value in said.items() if value is not None}


def _normal(planned: Mapping[str, str]) -> dict[str, str]:
    """Return a plan's selection as it is kept now: older versions kept the words that were typed."""
    typed = InputOptions(delimiter=planned.get("delimiter"), encoding=planned.get("encoding"))
    meant = {"delimiter": typed.separator, "encoding": typed.codec}
    return {**planned, **{name: value for name, value in meant.items() if value is not None}}


def _flag(name: str) -> str:
    return "--no-header" if name == "header" else f"--{name.replace('_', '-')}"


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
