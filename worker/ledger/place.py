"""Where a run's folder is at home, so that a copy of it is told from the one that was copied."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
from pathlib import Path
from typing import Final

from worker.ledger.folder import LEDGER, RunFolder
from worker.ledger.schema import PLACE, broken, connect

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def place_of(ledger: Path, at: Path, session: int = 0) -> str:
    """Return what is kept of where a ledger lies, as JSON.

    Args:
        ledger: The file.
        at: The folder that it has, or will have once it is published.
        session: The session that begins there, or 0.

    Raises:
        OSError: The file cannot be looked at.
    """
    status = ledger.stat()
    return json.dumps(
        {
            "host": socket.gethostname(),
            "boot": _boot(),
            "path": str(at.parent.resolve() / at.name),
            "file": [status.st_dev, status.st_ino],
            "session": session,
        }
    )


def settle_in(folder: RunFolder, session: int) -> None:
    """Keep that `session` begins here, in the ledger's main file: without its `-wal` it is no fresh plan.

    Raises:
        LedgerError: The ledger cannot be written.
    """
    try:
        with contextlib.closing(connect(folder.ledger, read_only=False)) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)",
                (PLACE, place_of(folder.ledger, folder.path.resolve(), session)),
            )
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # its file stays, so that it can be missed
    except (sqlite3.Error, OSError) as error:
        raise broken(folder.ledger, error) from error


def may_be_a_copy(folder: RunFolder) -> str:
    """Return why `folder` may be a copy whose original is worked on elsewhere, or nothing.

    A folder that was moved on this machine is none: nothing is left where it was. On one running system the very same
    file is the very same run, whatever the host's name is in a container.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    kept = folder.meta().get(PLACE)
    if kept is None:
        return ""
    try:
        then, now = json.loads(kept), json.loads(place_of(folder.ledger, folder.path.resolve()))
        same_file = then["boot"] == now["boot"] != "" and then["file"] == now["file"]
        if same_file or (then["host"], then["path"]) == (now["host"], now["path"]):
            return ""
        if then["host"] != now["host"]:
            return f"it was last worked on at {then['path']} on the host {then['host']}, which cannot be looked at"
        return _still_there(folder, Path(then["path"]))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise broken(folder.ledger, error) from error


def _still_there(folder: RunFolder, before: Path) -> str:
    try:
        (before / LEDGER).stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"it was last worked on at {before}, which cannot be looked at ({error.strerror})"
    if RunFolder(before).meta().get("run_id") != folder.meta().get("run_id"):
        return ""
    return f"it was last worked on at {before}, where it still is"


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
