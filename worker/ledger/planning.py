"""Writes a plan: a run's folder that appears whole, or not at all (promise 3)."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from worker.errors import LedgerError, UsageError
from worker.identifiers import are_canonical, canonical, find_guid
from worker.ledger.additions import as_value
from worker.ledger.folder import LEDGER, LISTS, WARNINGS, Binding, RunFolder, as_warnings
from worker.ledger.inserts import insert
from worker.ledger.locks import FileLock, alone_in, is_held
from worker.ledger.marking import mark_duplicates
from worker.ledger.place import place_of
from worker.ledger.protection import COUNTS, as_counts, exclude
from worker.ledger.schema import PLACE, TABLES, VERSION, broken
from worker.model import InputRow, Outcome
from worker.protection import ProtectedList
from worker.warned import MOST_LINES, Warnings

_DRAFT: Final = ".planning-"
_FIRST_INVALID: Final = 5
_CACHE_KIB: Final = 8_192
"""Of pages; and what is sorted takes as much once more before it goes to files."""
_BATCH: Final = 512
"""Rows held at once: of more, so many objects are alive that the garbage collector costs a tenth of planning."""

_GOOD: Final = "rows (row, line, user_id, identifier_id, cells)"
_INVALID: Final = "rows (row, line, user_id, identifier_id, cells, planned, error_code, error_message)"


class PlanDraft:
    """A plan in the making. As a context manager: what is not published leaves nothing behind.

    Args:
        runs_dir: Where the run's folder is to appear; it exists.
        run_id: The run's name.
        binding: What selects its rows.
        operator: Who plans it, `user@host`.
        reason: Why, or empty.
        planned_at: Epoch seconds.
    """

    def __init__(
        self, runs_dir: Path, run_id: str, binding: Binding, *, operator: str, reason: str, planned_at: float
    ) -> None:
        self.folder = RunFolder(runs_dir / run_id)
        self._draft = runs_dir / f"{_DRAFT}{run_id}-{secrets.token_hex(4)}"  # two may make one at once
        self._meta: dict[str, str] = {
            "run_id": run_id,
            "input_name": binding.input_name,
            "input_path": binding.input_path,
            "input_sha256": binding.input_sha256,
            "tenant": binding.tenant,
            "operation": binding.operation,
            "selection": json.dumps(dict(binding.selection)),
            "operator": operator,
            "reason": reason,
            "planned_at": repr(planned_at),
            "number": str(binding.number),
            **({"unconfirmed": "yes"} if binding.unconfirmed else {}),
        }
        self._rows = 0
        self._users = 0
        self._first_invalid: list[tuple[int, int, str]] = []
        self._invalid = 0
        self._strange = 0
        """Good rows whose identifier is no GUID."""
        self._strange_lines: list[int] = []

    def __enter__(self) -> Self:
        """Make the draft's folder.

        Raises:
            UsageError: The folder cannot be written to.
        """
        with contextlib.ExitStack() as opened:
            try:
                with alone_in(self._draft.parent):
                    self._draft.mkdir(mode=0o700)
                    opened.callback(shutil.rmtree, self._draft, ignore_errors=True)
                    lock = FileLock(self._draft / "lock", note="", busy="{holder} is making this plan.")
                    opened.enter_context(lock)
                (self._draft / "inbox").mkdir(mode=0o700)
                os.close(os.open(self._draft / LEDGER, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                opened.callback(_sort_anywhere)
                self._connection = opened.enter_context(contextlib.closing(self._connect()))
            except OSError as error:
                raise UsageError(f"Cannot make a plan in {self._draft.parent}: {error.strerror}.") from error
            except sqlite3.Error as error:
                raise broken(self._draft / LEDGER, error) from error
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the draft unless it was published."""
        self._opened.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._draft / LEDGER, isolation_level=None)
        # Nothing is a plan before the rename, so nothing needs to survive a crash before it. What is sorted
        # holds ids: it goes to files beside the draft, not to a folder that may be memory, small or shared.
        beside = str(self._draft.absolute()).replace("'", "''")
        connection.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE_KIB};"
            f"PRAGMA temp_store = FILE; PRAGMA temp_store_directory = '{beside}';"
            f"PRAGMA user_version = {VERSION}; {TABLES} BEGIN"
        )
        return connection

    def add(self, rows: Iterable[InputRow]) -> None:
        """Add rows in the order of their numbers; streamed, in constant memory.

        Raises:
            LedgerError: They could not be written (a full disk).
        """
        source = iter(rows)
        try:
            while batch := list(itertools.islice(source, _BATCH)):
                insert(self._connection, _GOOD, list(self._values(batch)))
                self._rows += len(batch)
        except sqlite3.Error as error:
            raise broken(self._draft / LEDGER, error) from error

    def finish(
        self,
        *,
        header: tuple[str, ...],
        lists: Sequence[ProtectedList] = (),
        warnings: Warnings | None = None,
    ) -> None:
        """Mark excluded and duplicate rows, count, and make the plan durable; `publish` makes it a run.

        Args:
            header: The input's own columns.
            lists: The protected lists: their ids are not to be called, nor what is put there later.
            warnings: What looked wrong while the rows were read.

        Raises:
            LedgerError: It could not be written.
        """
        warnings = warnings or Warnings()
        self._meta[LISTS] = as_value([each.path for each in lists])
        try:
            seen = exclude(self._connection, lists)
            self._meta[COUNTS] = as_counts(seen.counts)
            warnings.put(seen.alike.code, seen.alike.count, seen.alike.lines)
            self._users = mark_duplicates(self._connection)
            self._count(header, warnings)
            self._connection.execute("COMMIT")
            # A reader never stands in the way of the one who begins the run: it is in WAL mode already.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.close()
            _sync(self._draft / LEDGER)
        except sqlite3.Error as error:
            raise broken(self._draft / LEDGER, error) from error
        except OSError as error:
            raise self._not_kept(error) from error

    @property
    def drafted(self) -> RunFolder:
        """The finished plan, which nobody else can see before it is published."""
        return RunFolder(self._draft)

    def publish(self, existing: Callable[[], RunFolder | None] = lambda: None) -> RunFolder:
        """Give the finished plan its name, and return its run.

        Args:
            existing: Looks for a run that somebody else may have planned meanwhile. Where there is one, that is
                returned and this plan forgotten; nobody can publish between the look and the name.

        Raises:
            LedgerError: It could not be written.
        """
        with alone_in(self.folder.path.parent):
            if (found := existing()) is not None:
                return found
            try:
                self._draft.rename(self.folder.path)
                _sync(self.folder.path.parent)
            except OSError as error:
                raise self._not_kept(error) from error
        return self.folder

    def _not_kept(self, error: OSError) -> LedgerError:
        return LedgerError(f"The plan could not be kept in {self.folder.path}: {error.strerror}.")

    def _values(self, batch: Sequence[InputRow]) -> Iterator[tuple[object, ...]]:
        """Yield the good rows of `batch`, with their identifiers as they are sent; keeps the others by itself."""
        encode = msgspec.json.encode
        as_sent = are_canonical([row.identifier_id for row in batch])
        for row in batch:
            user_id, identifier_id, cells = row.user_id, row.identifier_id, row.cells
            if row.error_code:
                self._add_invalid(row)
                continue
            if not as_sent:
                identifier_id = self._as_sent(row)
            alone = len(cells) == 2 and cells == [user_id, identifier_id]  # noqa: PLR2004 - the two ids
            stored = None if alone else encode(cells).decode()
            yield row.number, row.line, user_id, identifier_id, stored

    def _as_sent(self, row: InputRow) -> str:
        """Return a good row's identifier as it is sent; notes one that is no GUID."""
        sent = canonical(row.identifier_id)
        if find_guid(sent) is None:
            self._strange += 1
            self._strange_lines += [row.line] if len(self._strange_lines) < MOST_LINES else []
        return sent

    def _add_invalid(self, row: InputRow) -> None:
        self._invalid += 1
        message = _storable(row.error_message)
        if len(self._first_invalid) < _FIRST_INVALID:
            self._first_invalid.append((row.number, row.line, message))
        ids = _storable(row.user_id), _storable(row.identifier_id)
        cells = json.dumps([_storable(cell) for cell in row.cells])
        values = (row.number, row.line, *ids, cells, str(Outcome.INVALID), row.error_code, message)
        insert(self._connection, _INVALID, [values])

    def _count(self, header: tuple[str, ...], warnings: Warnings) -> None:
        if self._strange < self._rows - self._invalid:
            warnings.put("not_a_guid", self._strange, self._strange_lines)
        self._meta |= {
            "header": json.dumps(header),
            "rows": str(self._rows),
            "users": str(self._users),
            WARNINGS: as_warnings(warnings.all()),
            "first_invalid": json.dumps(self._first_invalid),
            PLACE: place_of(self._draft / LEDGER, self.folder.path),
        }
        self._connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", self._meta.items())


def withdraw(folder: RunFolder) -> None:
    """Remove a run of which nothing was sent, as if it had never been planned; not while a process works on it.

    Raises:
        RunBusyError: One does.
        UsageError: The folder of runs may not be changed.
    """
    aside = folder.path.with_name(f"{_DRAFT}{folder.run_id}-{secrets.token_hex(4)}")
    with alone_in(folder.path.parent), folder.lock():
        try:
            folder.path.rename(aside)  # a plan is there as a whole or not at all
        except OSError as error:
            raise UsageError(f"Cannot remove the plan {folder.path}: {error.strerror}.") from error
        shutil.rmtree(aside, ignore_errors=True)


def remove_stale_drafts(runs_dir: Path) -> None:
    """Remove what planners left behind that were killed.

    Raises:
        UsageError: `runs_dir` may not be looked into.
    """
    with alone_in(runs_dir):
        for draft in runs_dir.glob(f"{_DRAFT}*"):
            if not is_held(draft / "lock"):
                shutil.rmtree(draft, ignore_errors=True)


def _sort_anywhere() -> None:
    """Undo `temp_store_directory`, which holds for the whole process: the draft's folder is gone."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA temp_store_directory = ''")


def _storable(text: str) -> str:
    """Return `text` with what UTF-8 cannot hold (undecodable bytes) written out as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
