"""Ledgers of rows that came from a queue: nobody planned them here, each appears with its outcome, and once."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from worker.errors import LedgerError, UsageError
from worker.ledger import steps
from worker.ledger.folder import Binding, RunFolder
from worker.ledger.inserts import insert
from worker.ledger.planning import PlanDraft
from worker.ledger.schema import broken, connect
from worker.model import Result, RunState
from worker.reportable import COLLECTED

HEADER: Final = ("user_id", "identifier_id", "batch", "number", "worker")
NOT_COLLECTED: Final = "have not been collected yet"
"""With these words a session says that it ended only for want of rows which nobody here knows."""
_SESSION: Final = 1
_BATCH_ROWS: Final = "batch_rows"
_DIGEST_LENGTH: Final = 6
_KNOWN: Final = "SELECT number FROM collected WHERE batch = ? AND number IN (SELECT value FROM json_each(?))"
_BEGIN: Final = (
    "INSERT OR IGNORE INTO sessions (number, started_at, state, halt_reason, operator, settings)"
    " VALUES (?, ?, ?, '', ?, '{}')"
)
_END: Final = (
    "UPDATE sessions SET started_at = min(started_at, ?), ended_at = max(coalesce(ended_at, 0), ?), state = ?,"
    " halt_reason = ? WHERE number = ?"
)
_STAND: Final = "UPDATE sessions SET state = ?, halt_reason = ? WHERE halt_reason LIKE ?"
_FACT: Final = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"


class CollectedRow(msgspec.Struct, frozen=True, gc=False):
    """A row's outcome with the name that the row has in its queue.

    Attributes:
        batch: First half of the name: its batch, or the broker's name for its message.
        number: Second half: its number within the batch.
        worker: Who found it.
        result: The outcome; the number of its row is given here.
    """

    batch: str
    number: int
    worker: str
    result: Result


@dataclasses.dataclass(frozen=True, slots=True)
class Collection:
    """What is collected in one ledger.

    Attributes:
        name: The batch, or the queue for all messages of none.
        of_messages: Whether it is the latter.
        tenant: Whose users they are.
        operation: What was done to them.
    """

    name: str
    of_messages: bool
    tenant: str
    operation: str

    def folder(self, runs_dir: Path) -> RunFolder:
        """Return its run, whether it is there or not."""
        told = f"{self.of_messages}\n{self.tenant}\n{self.operation}"
        digest = hashlib.sha256(told.encode()).hexdigest()
        return RunFolder(runs_dir / f"{COLLECTED}-{self.name}-{digest[:_DIGEST_LENGTH]}")


def open_collected(
    runs_dir: Path, collection: Collection, *, source: str, operator: str, now: float
) -> RunFolder:
    """Return the run of a collection; it is made when it is needed first.

    Args:
        runs_dir: The folder of runs; it exists.
        collection: What is collected in it.
        source: Where it comes from; its input's name.
        operator: Who collects.
        now: Epoch seconds.

    Raises:
        LedgerError: It cannot be read or written.
    """
    folder = collection.folder(runs_dir)
    if not folder.exists:
        selection = {COLLECTED: collection.name}
        binding = Binding(source, "", collection.tenant, collection.operation, selection)
        draft = PlanDraft(runs_dir, folder.run_id, binding, operator=operator, reason="", planned_at=now)
        with _drafted(draft):
            draft.publish(lambda: folder if folder.exists else None)
    return folder


def try_collected(runs_dir: Path, *, now: float) -> None:
    """Make a run as `open_collected` does, and forget it: where that cannot be written, outcomes cannot be kept.

    Raises:
        LedgerError: It cannot be written.
    """
    nothing = Binding("", "", "", "", {})
    with _drafted(PlanDraft(runs_dir, "trial", nothing, operator="", reason="", planned_at=now)):
        pass


@contextlib.contextmanager
def _drafted(draft: PlanDraft) -> Iterator[None]:
    """Finish a draft without rows; that nothing can be made in its folder is no mistake of the command's here."""
    try:
        with draft:
            draft.finish(header=HEADER)
            yield
    except UsageError as error:
        raise LedgerError(f"Outcomes cannot be kept. {error}") from error


def add_collected(folder: RunFolder, rows: Sequence[CollectedRow], batch_rows: int | None) -> int:
    """Record outcomes durably, each once by its name, and return how many were new.

    Any number of processes may do so at once; each call is one transaction.

    Args:
        folder: Made by `open_collected`.
        rows: At least one.
        batch_rows: How many rows there are in all, or None if nobody said; the run is finished with the last.

    Raises:
        LedgerError: The ledger cannot be written; nothing was added.
    """
    try:
        with contextlib.closing(connect(folder.ledger, read_only=False)) as connection:
            # A reader, which a report may be for long, stands in nobody's way.
            connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            new = _new(connection, rows)
            count = _add(connection, new)
            _tell(connection, rows, count, batch_rows)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise broken(folder.ledger, error) from error
    return len(new)


def known_of(folder: RunFolder, batch: str, numbers: Iterable[int]) -> frozenset[int]:
    """Return which rows of a batch have an outcome here.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    try:
        with contextlib.closing(connect(folder.ledger, read_only=True)) as connection:
            return _known(connection, batch, numbers)
    except sqlite3.Error as error:
        raise broken(folder.ledger, error) from error


def _known(connection: sqlite3.Connection, batch: str, numbers: Iterable[int]) -> frozenset[int]:
    found = connection.execute(_KNOWN, (batch, json.dumps(list(numbers))))
    return frozenset(number for (number,) in found)


def _new(connection: sqlite3.Connection, rows: Sequence[CollectedRow]) -> list[CollectedRow]:
    """Return the rows that are not there yet, each name once."""
    named: dict[str, dict[int, CollectedRow]] = collections.defaultdict(dict)
    for row in rows:
        named[row.batch].setdefault(row.number, row)
    new: list[CollectedRow] = []
    for batch, by_number in named.items():
        known = _known(connection, batch, by_number)
        new += (row for number, row in by_number.items() if number not in known)
    return new


def _add(connection: sqlite3.Connection, new: Sequence[CollectedRow]) -> int:
    """Add rows with their outcomes; return how many the run has by now."""
    (last,) = connection.execute("SELECT coalesce(max(row), 0) FROM rows").fetchone()
    numbered = [
        (each, msgspec.structs.replace(each.result.row, number=number))
        for number, each in enumerate(new, last + 1)
    ]
    insert(
        connection,
        "rows (row, line, user_id, identifier_id, cells)",
        [(row.number, row.number, row.user_id, row.identifier_id, _cells(each)) for each, row in numbered],
    )
    insert(connection, "collected", [(each.batch, each.number, row.number) for each, row in numbered])
    results = [msgspec.structs.replace(each.result, row=row) for each, row in numbered]
    steps.record(connection, _SESSION, results)
    return int(last) + len(new)


def _cells(each: CollectedRow) -> str:
    row = each.result.row
    cells = [row.user_id, row.identifier_id, each.batch, str(each.number), each.worker]
    return msgspec.json.encode(cells).decode()


def _tell(
    connection: sqlite3.Connection, rows: Sequence[CollectedRow], count: int, batch_rows: int | None
) -> None:
    """Bring the run's facts up to what it holds."""
    (operator,) = connection.execute("SELECT value FROM meta WHERE name = 'operator'").fetchone()
    batch_rows = max(batch_rows or 0, _told_before(connection))
    began, ended = min(row.result.started_at for row in rows), max(row.result.finished_at for row in rows)
    missing = max(0, batch_rows - count)
    state = RunState.HALTED if missing else RunState.FINISHED
    why = f"{missing:,} of the batch's {batch_rows:,} rows {NOT_COLLECTED}" if missing else ""
    connection.execute(_BEGIN, (_SESSION, began, str(state), operator))
    connection.execute(_END, (began, ended, str(state), why, _SESSION))
    connection.execute(_STAND, (str(state), why, f"%{NOT_COLLECTED}"))  # a retry that ended meanwhile, too
    connection.executemany(
        _FACT, [("rows", str(count + missing)), ("users", str(count)), (_BATCH_ROWS, str(batch_rows))]
    )


def _told_before(connection: sqlite3.Connection) -> int:
    """Return how many rows the batch has as far as somebody has said: not every message has to."""
    told = connection.execute("SELECT value FROM meta WHERE name = ?", (_BATCH_ROWS,)).fetchone()
    return int(told[0]) if told else 0
