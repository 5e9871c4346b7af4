"""What is added to a run after its plan was made. It only ever grows: what was protected stays protected."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from worker.ledger.folder import LISTS, RunFolder
from worker.ledger.schema import broken, connect
from worker.ledger.steps import protect

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


def add(folder: RunFolder, *, protected: frozenset[str], lists: Sequence[Path], reason: str) -> Added:
    """Add to a run, in one transaction; the caller holds its lock. What is known already changes no byte.

    Args:
        folder: The run.
        protected: Ids that are not to be called; their pending rows are excluded when they would be claimed.
        lists: The protected lists to read again from now on, instead of those so far.
        reason: One more reason why it is done, or empty.

    Raises:
        LedgerError: The ledger cannot be written; nothing was added.
    """
    try:
        with contextlib.closing(connect(folder.ledger, read_only=False)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            changes = [connection.total_changes]
            protect(connection, protected)
            changes.append(connection.total_changes)
            if lists:
                connection.execute(_KEEP, (LISTS, as_value(lists)))
            changes.append(connection.total_changes)
            connection.execute(_KEEP, ("reason", _joined(connection, reason)))
            changes.append(connection.total_changes)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise broken(folder.ledger, error) from error
    ids, listed, reasoned = (after - before for before, after in itertools.pairwise(changes))
    return Added(ids, bool(listed), bool(reasoned))


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
