"""The rows of a run as they were planned, by number: what a report that is fed back in is compared with."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Final

from worker.ledger.fold import understood
from worker.ledger.folder import RunFolder
from worker.ledger.schema import connect
from worker.model import Outcome
from worker.reportable import PlannedRow

_ROW: Final = "SELECT user_id, identifier_id, cells, planned FROM rows WHERE row = ?"
_HEADER: Final = "SELECT value FROM meta WHERE name = 'header'"
_LARGEST: Final = (1 << 63) - 1


class PlannedRows:
    """A run's rows. Made by `planned_rows`.

    Attributes:
        header: The columns of its input.
    """

    def __init__(self, folder: RunFolder, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._connection = connection
        with understood(folder):
            self.header: tuple[str, ...] = tuple(json.loads(connection.execute(_HEADER).fetchone()[0]))

    def row(self, number: int) -> PlannedRow | None:
        """Return the row of this number, or None if there is none.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        if number > _LARGEST:
            return None
        with understood(self._folder):
            found = self._connection.execute(_ROW, (number,)).fetchone()
            if found is None:
                return None
            user_id, identifier_id, stored, planned = found
            cells = [user_id, identifier_id] if stored is None else json.loads(stored)
            return PlannedRow(user_id, identifier_id, tuple(cells), invalid=planned == Outcome.INVALID)


@contextlib.contextmanager
def planned_rows(folder: RunFolder) -> Iterator[PlannedRows]:
    """Yield the rows of a run as they were planned.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with contextlib.closing(connect(folder.ledger, read_only=True)) as connection:
        yield PlannedRows(folder, connection)
