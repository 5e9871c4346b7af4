"""A run's folder: the evidence of what was done, and where each part of it lies."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from worker.errors import BulkUnverifyError, UsageError
from worker.hints import typed_for
from worker.ledger.locks import FileLock, is_held
from worker.ledger.protection import ListCount, counts_of
from worker.ledger.schema import COOL_DOWN_UNTIL, broken, connect
from worker.ledger.steps import close_killed
from worker.warned import Warned

LEDGER = "ledger.sqlite"
LISTS = "protected_lists"
"""Under this name the ledger keeps the paths of the protected lists, as a JSON array."""
WARNINGS = "warnings"
"""Under this name it keeps the plan's warnings, as a JSON array of code, count and lines."""
_SHOWN_CHARS = 120
_RUN_ID = re.compile(r"\d{8}-\d{6}-")
"""How a run's name begins, and a folder's that was not renamed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """What selects a run's rows. Input with an equal binding is the same run.

    Attributes:
        input_name: The input's file name; tells, does not select.
        input_path: Where it lies, absolute and without links, or empty for a stream; the same.
        input_sha256: Hex digest of the input's bytes.
        tenant: The tenant's name.
        operation: The operation's name.
        selection: Column mapping, dialect and row limit, by name.
        number: Grows from plan to plan in a folder of runs, whatever the clock says; the same.
        unconfirmed: Whether a new run was asked for at once, which nobody has confirmed so far; the same.
    """

    input_name: str = dataclasses.field(compare=False)
    input_sha256: str
    tenant: str
    operation: str
    selection: Mapping[str, str]
    input_path: str = dataclasses.field(default="", compare=False)
    number: int = dataclasses.field(default=0, compare=False)
    unconfirmed: bool = dataclasses.field(default=False, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class PlanSummary:
    """What planning counted.

    Attributes:
        users: Distinct users among the rows to be called.
        first_invalid: The first invalid rows: row number, line, why.
        warnings: What looked wrong while the input was read.
        lists: What was counted of its protected lists.
    """

    users: int
    first_invalid: tuple[tuple[int, int, str], ...]
    warnings: tuple[Warned, ...]
    lists: tuple[ListCount, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder, which exists and holds a ledger."""

    path: Path

    @property
    def run_id(self) -> str:
        """The run's name, which is its folder's."""
        return self.path.name

    @property
    def ledger(self) -> Path:
        """The ledger: the truth."""
        return self.path / LEDGER

    @property
    def log(self) -> Path:
        """The log, JSON lines."""
        return self.path / "run.log"

    @property
    def inbox(self) -> Path:
        """Where other shells leave commands."""
        return self.path / "inbox"

    @property
    def exists(self) -> bool:
        """Whether there is a run here, though its ledger be taken away or this user may not look into it."""
        try:
            return self.ledger.exists() or ((self.path / "lock").exists() and self.inbox.is_dir())
        except OSError:
            return bool(_RUN_ID.match(self.run_id))

    @property
    def owned(self) -> bool:
        """Whether a process works on the run now."""
        return is_held(self.path.resolve())

    @classmethod
    def open(cls, runs_dir: Path, name: str) -> Self:
        """Return the run that `name` names in `runs_dir`, or whose folder `name` is.

        Raises:
            UsageError: There is none; the message names those that there are.
        """
        for path in (runs_dir / name, Path(name)):
            if cls(path).exists:
                return cls(path if path.name.strip(".") else path.resolve())
        known = ", ".join(folder.run_id for folder in cls.all(runs_dir)[-5:]) or "none"
        shown = name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}..."
        raise UsageError(f"There is no run {shown!r} in {runs_dir}. The latest there: {known}.")

    @classmethod
    def all(cls, runs_dir: Path) -> list[Self]:
        """Return the runs in `runs_dir`, oldest first (their names begin with the moment of planning).

        Raises:
            UsageError: The folder may not be looked at.
        """
        try:
            paths = sorted(runs_dir.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsageError(f"--runs {runs_dir}: cannot look into it: {error.strerror}.") from error
        folders = (cls(path) for path in paths if not path.name.startswith("."))
        return [folder for folder in folders if folder.exists]

    @classmethod
    def bound(cls, runs_dir: Path, known: dict[Path, Binding] | None = None) -> list[tuple[Self, Binding]]:
        """Return the runs in `runs_dir` with what selected their rows, newest first.

        Args:
            runs_dir: The folder of runs.
            known: What was read of them before, by their paths; what is read now is added.

        Raises:
            UsageError: A run cannot be read: nobody knows what its rows are, and it must not count as none.
        """
        known = {} if known is None else known
        if unread := cls.learn(runs_dir, known):
            folder, error = unread[-1]
            raise UsageError(
                f"Run {folder.run_id} cannot be read, and if it is of this input its rows would be called a"
                f" second time. Mend it or move it out of {runs_dir}, or give --again. ({error})"
            ) from error
        found = [
            (folder, known[folder.path]) for folder in reversed(cls.all(runs_dir)) if folder.path in known
        ]
        return sorted(found, key=lambda each: each[1].number, reverse=True)

    @classmethod
    def learn(cls, runs_dir: Path, known: dict[Path, Binding]) -> list[tuple[Self, BulkUnverifyError]]:
        """Add to `known` what selected the rows of runs that are not in it; returns those that cannot be read."""
        unread = []
        for folder in cls.all(runs_dir):
            try:
                if folder.path not in known:
                    known[folder.path] = folder.binding()
            except BulkUnverifyError as error:
                unread.append((folder, error))
        return unread

    def lock(self) -> FileLock:
        """Return the lock of the run's one owner."""
        return FileLock(
            self.path / "lock",
            folder=self.path,
            note="",
            busy=f"Run {self.run_id} is being worked on by {{holder}}. Watch it with"
            f" `{typed_for(self.path, 'status')}`, steer it with pause, continue, rate or cancel.",
        )

    def rest(self) -> None:
        """Bring the ledger to rest as one file, of which a checksum says something; the caller holds the lock.

        Left in the mode that it is written in, whoever reads it makes files beside it and seems to use it. Where
        that fails (somebody reads it, the disk is full) it stays as it was, sound.
        """
        ledger = contextlib.closing(connect(self.ledger, read_only=False))
        with ledger as connection, contextlib.suppress(sqlite3.Error):
            close_killed(connection)
            connection.executescript("PRAGMA busy_timeout = 1000; PRAGMA journal_mode = DELETE")

    def binding(self) -> Binding:
        """Return what selected the run's rows.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        meta = self.meta()
        try:
            return Binding(
                input_name=meta["input_name"],
                input_sha256=meta["input_sha256"],
                tenant=meta["tenant"],
                operation=meta["operation"],
                selection=json.loads(meta["selection"]),
                input_path=meta.get("input_path", ""),
                number=int(meta.get("number", "0")),  # older versions had none, and only the names tell
                unconfirmed="unconfirmed" in meta,
            )
        except (KeyError, ValueError) as error:
            raise broken(self.ledger, error) from error

    def protected_lists(self) -> tuple[Path, ...]:
        """Return the protected lists that were named for the run, to be read again.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        try:
            return tuple(map(Path, json.loads(self.meta().get(LISTS, "[]"))))
        except (TypeError, ValueError) as error:
            raise broken(self.ledger, error) from error

    def cool_down_until(self) -> float:
        """Return until when the tenant wanted to be left alone as the last session ended; epoch seconds, or 0.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        try:
            return float(self.meta().get(COOL_DOWN_UNTIL, "0"))
        except ValueError as error:
            raise broken(self.ledger, error) from error

    def plan_summary(self) -> PlanSummary:
        """Return what planning counted.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        meta = self.meta()
        try:
            return PlanSummary(
                users=int(meta["users"]),
                first_invalid=tuple((row, line, why) for row, line, why in json.loads(meta["first_invalid"])),
                warnings=warnings_of(meta),
                lists=counts_of(meta),
            )
        except (TypeError, KeyError, ValueError) as error:
            raise broken(self.ledger, error) from error

    def meta(self) -> dict[str, str]:
        """Return the plan's facts by name, as the ledger keeps them.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        connection = connect(self.ledger, read_only=True)
        try:
            return dict(connection.execute("SELECT name, value FROM meta"))
        except sqlite3.Error as error:
            raise broken(self.ledger, error) from error
        finally:
            connection.close()


def as_warnings(warnings: Iterable[Warned]) -> str:
    """Return warnings as the ledger keeps them."""
    return json.dumps([dataclasses.astuple(each) for each in warnings])


def warnings_of(meta: Mapping[str, str]) -> tuple[Warned, ...]:
    """Return the plan's warnings from its facts.

    Raises:
        ValueError: They are no such thing.
        KeyError: The same.
    """
    if WARNINGS in meta:
        kept = json.loads(meta[WARNINGS])
        return tuple(Warned(code, int(count), tuple(lines)) for code, count, lines in kept)
    older = int(meta.get("edge_whitespace", "0"))  # all that older versions counted
    return (Warned("edge_white_space", older, ()),) if older else ()
