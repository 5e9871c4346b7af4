"""The ledger's tables, and how its file is opened. One SQLite file a run: the truth of what was done."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from worker.errors import LedgerError, UsageError
from worker.ledger.locks import is_held

VERSION: Final = 3

_WAITING: Final = (  # of a row that was tried and has to go again; `worker.model.Effort` says what each is
    "not_before REAL",  # NULL: it was not tried, or may go as if it had not been
    "tries INTEGER NOT NULL DEFAULT 0",
    "attempts INTEGER NOT NULL DEFAULT 0",
    "charged_s REAL NOT NULL DEFAULT 0",
    "refusals INTEGER NOT NULL DEFAULT 0",
    "doubtful INTEGER NOT NULL DEFAULT 0",
    "started_at REAL NOT NULL DEFAULT 0",
    "answered INTEGER NOT NULL DEFAULT -1",
    "owed INTEGER NOT NULL DEFAULT 0",
    "owed_s REAL NOT NULL DEFAULT 0",
    "free INTEGER NOT NULL DEFAULT 0",
    "http_status INTEGER",
    "error_code TEXT",
    "error_message TEXT",
)
_WAITING_INDEX: Final = (
    "CREATE INDEX IF NOT EXISTS waiting ON carried (not_before) WHERE not_before IS NOT NULL;"
)

_ASIDE: Final = "CREATE TABLE IF NOT EXISTS aside (row INTEGER PRIMARY KEY)"
"""Pending rows that the session leaves as they are: a `retry` sends others."""
TABLES: Final = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rows (               -- the plan: never changed once it is complete
  row INTEGER PRIMARY KEY, line INTEGER NOT NULL, user_id TEXT NOT NULL, identifier_id TEXT NOT NULL,
  cells TEXT,                     -- JSON array of all cells; NULL: they are the two ids in the header's order
  planned TEXT,                   -- invalid, excluded or duplicate; NULL: to be called
  error_code TEXT, error_message TEXT, duplicate_of INTEGER);
CREATE TABLE in_flight (          -- claimed and without an outcome; after a kill: what may have been sent
  row INTEGER PRIMARY KEY);
CREATE TABLE carried (            -- what attempts and earlier sessions left behind of rows without an outcome
  row INTEGER PRIMARY KEY, requests INTEGER NOT NULL,
  maybe_sent INTEGER NOT NULL,    -- 1: claimed when the process was killed; 2: and sent again since
  {", ".join(_WAITING)});
{_WAITING_INDEX}
{_ASIDE};
CREATE TABLE outcomes (
  row INTEGER PRIMARY KEY, session INTEGER NOT NULL, outcome TEXT NOT NULL, http_status INTEGER,
  error_code TEXT, error_message TEXT, requests INTEGER NOT NULL, sent TEXT NOT NULL,
  resent INTEGER NOT NULL, started_at REAL NOT NULL, finished_at REAL NOT NULL,
  verified_contacts_left INTEGER, lockout_risk INTEGER);
CREATE TABLE history (            -- outcomes that were taken back, for the auditor
  id INTEGER PRIMARY KEY, taken_back_at REAL NOT NULL, why TEXT NOT NULL, row INTEGER NOT NULL,
  session INTEGER NOT NULL, outcome TEXT NOT NULL, http_status INTEGER, error_code TEXT, error_message TEXT,
  requests INTEGER NOT NULL, started_at REAL NOT NULL, finished_at REAL NOT NULL);
CREATE TABLE sessions (
  number INTEGER PRIMARY KEY, started_at REAL NOT NULL, ended_at REAL, state TEXT NOT NULL,
  halt_reason TEXT NOT NULL, operator TEXT NOT NULL, settings TEXT NOT NULL);
CREATE TABLE commands (id INTEGER PRIMARY KEY, applied_at REAL NOT NULL, command TEXT NOT NULL);
CREATE TABLE protected (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE published (          -- rows that went to a queue's workers, until they have an outcome or are taken back
  row INTEGER PRIMARY KEY, batch TEXT NOT NULL);  -- the name under which its outcome will come back
CREATE TABLE collected (          -- of a run that was collected from a queue: by which name a row went there
  batch TEXT NOT NULL, number INTEGER NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (batch, number)) WITHOUT ROWID;
"""
_SINCE: Final = {
    1: "CREATE TABLE IF NOT EXISTS published (row INTEGER PRIMARY KEY, batch TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS collected (batch TEXT NOT NULL, number INTEGER NOT NULL, row INTEGER NOT NULL,"
    " PRIMARY KEY (batch, number)) WITHOUT ROWID; PRAGMA user_version = 2",
    2: "".join(f"ALTER TABLE carried ADD COLUMN {column};" for column in _WAITING)
    + f"{_WAITING_INDEX} {_ASIDE}; PRAGMA user_version = 3",
}
"""What brings a ledger up from each older version to the next."""
PUBLISHED_TO: Final = "published_to"
"""Under this name `meta` holds the queue that rows were published to last, without its login."""
OUTAGE: Final = "outage"
"""Under this name `meta` holds the last outage: since and until when (null while it lasts), and what was met."""
COOL_DOWN_UNTIL: Final = "cool_down_until"
"""Under this name `meta` holds until when the tenant wanted to be left alone, epoch seconds."""
PLACE: Final = "place"
"""Under this name `meta` holds where the ledger lies, and the session that began there, as a JSON object."""
RESENT: Final = 2
"""In `carried.maybe_sent`: a killed session may have sent the row, and it was sent again since."""
_READ_CACHE_KIB: Final = 2_048
"""Reading goes through the ledger once, in order: what it has passed is not needed again."""
_WRITE_CACHE_KIB: Final = 16_384


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a ledger that exists. The caller closes it; transactions are explicit (`BEGIN`).

    Raises:
        UsageError: There is no ledger, or a newer version wrote it.
        LedgerError: The file is no ledger, or it is broken.
    """
    try:
        missing = not path.is_file()
    except OSError as error:
        raise LedgerError(f"The ledger {path} cannot be looked at: {error.strerror}.") from error
    if missing:
        raise UsageError(f"{path} does not exist: this is not a run's folder.")
    unlogged = not _size_of(path.with_name(f"{path.name}-wal"))
    try:
        with contextlib.ExitStack() as opened:
            connection = opened.enter_context(contextlib.closing(_open(path, read_only=read_only)))
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute("SELECT count(*) FROM meta").fetchone()
            if version > VERSION:
                raise UsageError(
                    f"{path} was written by a newer bulk-unverify. Use that version for this run."
                )
            if unlogged:
                _refuse_without_log(connection, path)
            if version < VERSION:
                _read_as_new(connection) if read_only else _bring_up(connection, version)
            opened.pop_all()
    except sqlite3.Error as error:
        raise broken(path, error) from error
    return connection


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _refuse_without_log(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a ledger whose last session was not closed, and whose write-ahead log is gone with what it did."""
    (open_,) = connection.execute(
        "SELECT count(*) FROM sessions JOIN meta ON meta.name = ? WHERE ended_at IS NULL"
        " AND number = json_extract(meta.value, '$.session')",
        (PLACE,),
    ).fetchone()
    if open_ and not is_held(path.parent.resolve()):
        raise LedgerError(
            f"{path}-wal is missing or empty, and with it what the last session did: this is a copy of"
            f" {path.name} alone, of a run that was not at rest. Copy the whole folder, after the process that works"
            " on it has ended. If that file is lost for good, `run FILE --again` calls every row again."
        )


def _bring_up(connection: sqlite3.Connection, version: int) -> None:
    """Bring an older ledger up to this version, whole or not at all."""
    steps = "".join(f"{_SINCE[older]};" for older in range(max(version, 1), VERSION))
    connection.executescript(f"BEGIN IMMEDIATE; {steps} COMMIT")


def _read_as_new(connection: sqlite3.Connection) -> None:
    """Have what an older version carried read as if this one had: a view of the connection's own stands for it."""
    names = ", ".join(column.split()[0] for column in _WAITING)
    values = ", ".join(column.partition("DEFAULT ")[2] or "NULL" for column in _WAITING)
    connection.execute(
        f"CREATE TEMP VIEW carried AS WITH more ({names}) AS (VALUES ({values}))"  # noqa: S608 - constants
        " SELECT row, requests, maybe_sent, more.* FROM main.carried, more"
    )
    connection.execute(_ASIDE.replace("TABLE", "TEMP TABLE", 1))


def _open(path: Path, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    cache_kib = _READ_CACHE_KIB if read_only else _WRITE_CACHE_KIB
    try:
        # Zeroing what is deleted (some builds' default) costs a write a row and hides nothing: the report has it.
        connection.executescript(f"PRAGMA cache_size = -{cache_kib}; PRAGMA secure_delete = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def broken(path: Path, error: Exception) -> LedgerError:
    """Return what to tell a person when `path` cannot be read or written, or holds what no ledger holds."""
    return LedgerError(
        f"The ledger {path} cannot be used: {error}. Nothing false was recorded. If the disk is full, free"
        " some space; then run the same command again to resume. If the file is damaged, keep it as"
        " evidence and restore the run's folder from a copy."
    )
