"""What is added to a run after its plan was made. It only ever grows: what was protected stays protected."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from worker.ledger.folder import LISTS, WARNINGS, RunFolder, as_warnings, warnings_of
from worker.ledger.protection import COUNTS, as_counts, counts_of, keys_in, survey
from worker.ledger.schema import broken, connect
from worker.ledger.steps import close_killed, protect
from worker.protection import ProtectedList, keys_of

_KEEP = (
    "INSERT INTO meta (name, value) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value"
)
_BETWEEN = "; "


@dataclasses.dataclass(frozen=True, slots=True)
class Added:
    """What of it was new to the run.

    Attributes:
        ids: How many protected ids.
        lists: Whether the lists to read again are others now.
        reason: Whether the reason was not among those given before.
    """

    ids: int
    lists: bool
    reason: bool

    def __bool__(self) -> bool:
        """Whether anything was."""
        return bool(self.ids or self.lists or self.reason)


def add(folder: RunFolder, *, lists: Sequence[ProtectedList], reason: str) -> Added:
    """Add to a run, in one transaction; the caller holds its lock. What is known already changes no byte.

    Args:
        folder: The run.
        lists: The protected lists to read again from now on, instead of those so far: pending rows that hold an id
            of theirs are excluded when they would be claimed.
        reason: One more reason why it is done, or empty.

    Raises:
        LedgerError: The ledger cannot be written; nothing was added.
    """
    try:
        with contextlib.closing(connect(folder.ledger, read_only=False)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            close_killed(connection)
            changes = [connection.total_changes]
            protect(connection, keys_of(lists) - keys_in(connection))
            changes.append(connection.total_changes)
            if lists:
                connection.execute(_KEEP, (LISTS, as_value([each.path for each in lists])))
            changes.append(connection.total_changes)
            _count_again(connection, lists)
            changes.append(connection.total_changes)
            connection.execute(_KEEP, ("reason", _joined(connection, reason)))
            changes.append(connection.total_changes)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise broken(folder.ledger, error) from error
    ids, listed, _, reasoned = (after - before for before, after in itertools.pairwise(changes))
    return Added(ids, bool(listed), bool(reasoned))


def _count_again(connection: sqlite3.Connection, lists: Sequence[ProtectedList]) -> None:
    """Count anew how many ids of the lists occur, if one of them was not counted as it is now."""
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    counted = [(each.path, each.sha256) for each in counts_of(meta)]
    if not lists or counted == [(str(each.path), each.sha256) for each in lists]:
        return
    seen = survey(connection, lists)
    warnings = [each for each in warnings_of(meta) if each.code != seen.alike.code]
    warnings += [seen.alike] if seen.alike.count else []
    for name, value in ((COUNTS, as_counts(seen.counts)), (WARNINGS, as_warnings(warnings))):
        connection.execute(_KEEP, (name, value))


def as_value(lists: Sequence[Path]) -> str:
    """Return paths as the ledger keeps them: JSON has a form for what is no UTF-8."""
    return json.dumps([str(path) for path in lists])


def _joined(connection: sqlite3.Connection, reason: str) -> str:
    """Return all reasons that were given, in their order."""
    (known,) = connection.execute(
        "SELECT coalesce(max(value), '') FROM meta WHERE name = 'reason'"
    ).fetchone()
    if not reason or f"{_BETWEEN}{reason}{_BETWEEN}" in f"{_BETWEEN}{known}{_BETWEEN}":
        return str(known)
    return f"{known}{_BETWEEN}{reason}" if known else reason
