"""What a session would begin with: the rows that are pending, but for those that are protected by now. Read-only."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from typing import Final

from worker.ledger.fold import facts, understood
from worker.ledger.folder import RunFolder
from worker.ledger.protection import count_barred, keys_in
from worker.ledger.schema import connect
from worker.ledger.steps import TAKEN_UP, next_pending
from worker.model import Outcome, Row
from worker.protection import is_protected
from worker.reportable import RunFacts

_LEFT: Final = (
    "SELECT count(*) FROM rows WHERE planned IS NULL AND row NOT IN (SELECT row FROM outcomes)"  # noqa: S608
    f" AND row IN ({TAKEN_UP})"
)
_AT_ONCE: Final = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Outlook:
    """What a session would begin with. To look costs a pass over all rows: it is done once and handed on.

    Attributes:
        known: The run as it stands.
        outcomes: Rows by outcome; pending ones that are protected by now are excluded.
    """

    known: RunFacts
    outcomes: dict[Outcome, int]


def foreseen(folder: RunFolder) -> Outlook:
    """Return what a session would begin with.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    known = facts(folder)
    with _reading(folder) as connection:
        barred = count_barred(connection)
    changed = {
        Outcome.PENDING: known.outcomes[Outcome.PENDING] - barred,
        Outcome.EXCLUDED: known.outcomes[Outcome.EXCLUDED] + barred,
    }
    return Outlook(known, known.outcomes | changed)


def left_of_retry(folder: RunFolder, outcomes: frozenset[Outcome]) -> int:
    """Return how many rows are pending because a `retry` of `outcomes` took them back and did not come to them.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with _reading(folder) as connection:
        (count,) = connection.execute(_LEFT, {"outcomes": json.dumps(sorted(outcomes))}).fetchone()
    return int(count)


def pending_rows(folder: RunFolder) -> Iterator[Row]:
    """Yield the rows that a session would call, in the input's order and in constant memory.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    after = 0
    with _reading(folder) as connection:
        protected = keys_in(connection)
        while rows := next_pending(
            connection, after, _AT_ONCE, waiting_too=True, in_flight_too=not folder.owned
        ):
            after = rows[-1].number
            yield from (row for row in rows if not is_protected(row, protected))


@contextlib.contextmanager
def _reading(folder: RunFolder) -> Iterator[sqlite3.Connection]:
    """Yield a connection that sees one moment of the ledger."""
    with (
        contextlib.closing(connect(folder.ledger, read_only=True)) as connection,
        understood(folder),
    ):
        connection.execute("BEGIN")
        yield connection
