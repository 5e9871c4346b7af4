"""What is said of a run after it was planned: more protected ids, where their lists lie, one more reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from worker.compose.options import Steering
from worker.compose.planning import refuse_as_protected, storable
from worker.compose.reporting import report
from worker.errors import InputError, UsageError
from worker.hints import typed_for
from worker.intake import load_protected
from worker.ledger import RunFolder, add, facts
from worker.model import RunState
from worker.protection import ProtectedList


def amend(folder: RunFolder, steering: Steering, say: Callable[[str], None]) -> None:
    """Let the ledger know what `steering` adds to the plan, and what its protected lists hold by now.

    While another process works on the run, that one reads the lists again, and nobody else may add to it.

    Raises:
        InputError: A protected list cannot be read, or is the run's input.
        RunBusyError: Another process works on the run.
        LedgerError: The ledger cannot be read or written.
        ReportError: The reports, which show what was added, could not be written.
    """
    if folder.owned and steering.exclude is None and not steering.reason:
        return
    refuse_as_protected(steering.exclude, folder.binding())
    lists = _read_again(folder, steering.exclude, say)
    if not lists and not steering.reason:
        return
    with folder.lock():
        added = add(folder, lists=lists, reason=storable(steering.reason))
        if added and facts(folder).sessions:
            report(folder, accept=steering.accept)
    if added.ids:
        names = ", ".join(str(each.path) for each in lists)
        say(f"Added to run {folder.run_id}: {added.ids:,} protected ids, which are not called ({names}).")
    if added.reason:
        say(f"Added to run {folder.run_id}: the reason {steering.reason!r}.")


def refuse_if_finished(folder: RunFolder, steering: Steering) -> None:
    """Refuse to add to a run in which nothing is left to do: it would be a reason for what was done before.

    Raises:
        UsageError: There is something to add.
        LedgerError: The ledger cannot be read.
    """
    given = {"--exclude": steering.exclude is not None, "--reason": bool(steering.reason)}
    flags = " and ".join(flag for flag in given if given[flag])
    if flags and facts(folder).state is RunState.FINISHED:
        raise UsageError(
            f"Run {folder.run_id} of this input is finished, so {flags} would change nothing in it. To send"
            f" failed rows again: `{typed_for(folder.path, 'retry')}`, which takes both. To do all of it once more:"
            " run its file with --again."
        )


def _read_again(folder: RunFolder, named: Path | None, say: Callable[[str], None]) -> list[ProtectedList]:
    """Return the lists to read from now on; one that is gone gives way to a named one."""
    newest = [] if named is None else [named.absolute()]
    lists: list[ProtectedList] = []
    for path in _without(folder.protected_lists(), newest):
        try:
            lists.append(load_protected(path))
        except InputError as error:
            if named is None:
                raise InputError(
                    f"The protected list of run {folder.run_id} cannot be read again. {error} If it lies"
                    " elsewhere now, say where with --exclude FILE: the ids that were read from it before stay"
                    " protected."
                ) from error
            say(f"No longer read: {error} The ids that were read from it before stay protected.")
    return [*lists, *map(load_protected, newest)]


def _without(paths: Iterable[Path], others: list[Path]) -> list[Path]:
    return [path for path in paths if path not in others]
