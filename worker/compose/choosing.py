"""Which run a command means: named, found by its input, or refused. Never guessed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from worker.connection import Tenant
from worker.errors import InputError, UsageError
from worker.hints import typed_for
from worker.intake import InputOptions, part_files
from worker.ledger import Binding, RunFolder, facts
from worker.model import Outcome, RunState
from worker.report.advice import run_again
from worker.tenancy import one_name

_REST: Final = Path("rest.csv")


class KnownRuns:
    """The runs of a folder by what selected their rows; each ledger is read for it once, newest first.

    Args:
        runs_dir: The folder of runs.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._known: dict[Path, Binding] = {}

    def find(self, wanted: Binding, *, called_at_once: bool) -> RunFolder | None:
        """Return the one run of `wanted` that is not finished, else the newest finished one, else None.

        Args:
            wanted: What selects the rows.
            called_at_once: Whether they are called as soon as they are planned: then a plan that was looked at
                must not give way to one of other content in silence.

        Raises:
            UsageError: Several are not finished; or one more run would call rows a second time, or others than
                were looked at; or a run cannot be read.
        """
        of_this_input, changed = self._sorted(wanted)
        exact = [folder for folder, differing in of_this_input if not differing]
        begun = [folder for folder in exact if not _is_finished(folder)]
        if len(begun) > 1:
            raise _several(begun)
        if begun:
            return begun[0]
        for folder, differing in of_this_input:
            if differing and not (exact and _is_finished(folder)):
                raise _read_otherwise(folder, differing)
        if exact:
            return exact[0]
        for folder in changed:
            _refuse_changed(folder, wanted.input_path, called_at_once=called_at_once)
        return None

    def _sorted(self, wanted: Binding) -> tuple[list[tuple[RunFolder, list[str]]], list[RunFolder]]:
        """Return the runs of this input, and by what they differ; and those of the same file with other content."""
        of_this_input: list[tuple[RunFolder, list[str]]] = []
        changed: list[RunFolder] = []
        for folder, bound in RunFolder.bound(self._runs_dir, self._known):
            if _is_elsewhere(bound, wanted) or _was_never_confirmed(folder, bound):
                continue
            if bound.input_sha256 == wanted.input_sha256:
                of_this_input.append((folder, _differing(bound.selection, wanted.selection)))
            elif bound.input_path and bound.input_path == wanted.input_path:
                changed.append(folder)
        return of_this_input, changed

    def next_number(self) -> int:
        """Return the number of a run that is planned now: above those of all that can be read."""
        RunFolder.learn(self._runs_dir, self._known)
        return 1 + max((bound.number for bound in self._known.values()), default=0)


def _is_elsewhere(bound: Binding, wanted: Binding) -> bool:
    return bound.operation != wanted.operation or one_name(bound.tenant) != one_name(wanted.tenant)


def _was_never_confirmed(folder: RunFolder, bound: Binding) -> bool:
    """Return whether it is what `run --again` planned and nobody confirmed: killed while it asked."""
    return bound.unconfirmed and facts(folder).state is RunState.PLANNED


def _is_finished(folder: RunFolder) -> bool:
    return facts(folder).state is RunState.FINISHED


def _several(begun: list[RunFolder]) -> UsageError:
    told = "; ".join(map(_described, begun))
    return UsageError(
        f"{len(begun)} runs of this input are not finished, and which one is meant is not guessed: {told}. Name one"
        " of them. Each calls all of its own pending rows, so that the rows of several are called several times."
    )


def _described(folder: RunFolder) -> str:
    known = facts(folder)
    pending = known.outcomes[Outcome.PENDING]
    return f"`{typed_for(folder.path, 'run')}` ({known.state}, {pending:,} of {known.rows:,} rows pending)"


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


def _refuse_changed(planned: RunFolder, path: str, *, called_at_once: bool) -> None:
    """Refuse a file that was changed since its run was planned, if that run is still to be carried out."""
    state = facts(planned).state
    settled = state in (RunState.FINISHED, RunState.CANCELLED)
    if settled or (state is RunState.PLANNED and not called_at_once):
        return
    look = ", plan the new content to look at it first" if state is RunState.PLANNED else ""
    raise UsageError(
        f"{' '.join(path.splitlines())} has other content than when run {planned.run_id} was planned, which is"
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
    unsaid, planned = selection_of(InputOptions()), _normal(binding.selection)
    for name, value in selection_of(options).items():
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
    if one_name(planned) != one_name(tenant.name):
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


def selection_of(options: InputOptions) -> dict[str, str]:
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
