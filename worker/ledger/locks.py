"""Who owns a run, and who calls a tenant from this machine. The kernel lets go when a process dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from worker.errors import RunBusyError, UsageError
from worker.tenancy import one_name

_SYSTEM_LOCKS: Final = Path("/run/lock")
_HOLDER_BYTES: Final = 4096
_AS_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TRIES: Final = 5
_TRY_AGAIN_S: Final = 0.01


class FileLock:
    """An advisory lock on a file that tells who holds it.

    Args:
        path: The lock file; made if it is missing, never deleted.
        note: What else to tell of the holder, for example the run.
        busy: The sentence for the one who is refused; `{holder}` is filled in.
        shared: Whether others that also ask for it shared may hold it at once.
        mode: Permissions of a new lock file.
        folder: What to hold as well, so that the lock is not lost with its file; None for nothing.
    """

    def __init__(
        self,
        path: Path,
        *,
        note: str,
        busy: str,
        shared: bool = False,
        mode: int = 0o600,
        folder: Path | None = None,
    ) -> None:
        self._path = path
        self._folder = folder
        self._note = note
        self._busy = busy
        self._shared = shared
        self._mode = mode
        self._descriptor = -1
        self._folder_descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            RunBusyError: Somebody else holds it; the message says who.
            UsageError: The file cannot be opened.
        """
        try:
            self._open()
            if not self._take():
                holder = self._holder()
                self._close()
                raise RunBusyError(self._busy.replace("{holder}", holder))
        except OSError as error:
            self._close()
            raise UsageError(f"Cannot use the lock {self._path}: {error.strerror}.") from error
        self._sign()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        self._close()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            # Without O_CREAT first: Linux refuses that flag on another user's file in a sticky folder
            # (fs.protected_regular), and another user's lock is one to respect.
            self._descriptor = os.open(self._path, flags)
        except FileNotFoundError:
            self._descriptor = os.open(self._path, flags | os.O_CREAT, self._mode)
        with contextlib.suppress(PermissionError):  # another user's file: its mode is as it should be already
            os.fchmod(self._descriptor, self._mode)
        if self._folder is not None:
            self._folder_descriptor = os.open(self._folder, _AS_FOLDER)

    def _take(self) -> bool:
        """Take the lock if it is free; tries for a moment, because `is_held` takes it to find out."""
        kind = fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX
        for _ in range(_TRIES):
            try:
                for descriptor in self._descriptors():
                    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_TRY_AGAIN_S)
            else:
                return True
        return False

    def _descriptors(self) -> list[int]:
        return [each for each in (self._descriptor, self._folder_descriptor) if each >= 0]

    def _close(self) -> None:
        for descriptor in self._descriptors():
            os.close(descriptor)
        self._descriptor = self._folder_descriptor = -1

    def _sign(self) -> None:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = f"process {os.getpid()} of {_user()}@{socket.gethostname()} since {since}{self._note}"
        with contextlib.suppress(OSError):  # a full disk: the lock holds, only its holder is not named
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(text).encode(), 0)

    def _holder(self) -> str:
        try:
            return str(json.loads(os.pread(self._descriptor, _HOLDER_BYTES, 0)))
        except ValueError:
            return "another process"  # it has the lock and has not signed yet


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait for the folder's own lock and hold it: for steps of a moment that others must not see half done.

    Raises:
        UsageError: The folder may not be looked into.
    """
    try:
        descriptor = os.open(folder, _AS_FOLDER)
    except OSError as error:
        raise UsageError(f"Cannot look into the folder {folder}: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether some process holds the lock file or folder `path`, or may: it cannot be looked at."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.errno != errno.ENOENT
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def tenant_lock(tenant: str, *, run_id: str, share: bool) -> FileLock:
    """Return the lock that keeps two runs on one tenant apart on this machine, whoever starts them.

    The file lies in `BULK_UNVERIFY_LOCK_DIR`, else in `/run/lock`, else in the system's temporary folder.

    Raises:
        UsageError: None of these can be written to.
    """
    name = hashlib.sha256(one_name(tenant).encode()).hexdigest()[:16]
    busy = (
        f"Another run is calling {tenant} from this machine: {{holder}}. Two runs would together exceed the"
        " rate: wait for it, or give --share-tenant to both and half the rate to each."
    )
    return FileLock(
        _lock_folder() / f"bulk-unverify-{name}.lock",
        note=f" (run {run_id})",
        busy=busy,
        shared=share,
        mode=0o666,
    )


def _lock_folder() -> Path:
    chosen = os.environ.get("BULK_UNVERIFY_LOCK_DIR")
    if chosen:
        return Path(chosen)
    if os.access(_SYSTEM_LOCKS, os.W_OK):
        return _SYSTEM_LOCKS
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise UsageError(
            "There is no folder for the lock that keeps two runs on one tenant apart: name one with"
            " BULK_UNVERIFY_LOCK_DIR."
        ) from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
