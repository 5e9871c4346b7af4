"""Input that can be read only once (standard input, pipes) is kept in a private file, to be read like any other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from worker.errors import InputError
from worker.intake.stored import PLAIN_CHUNK_BYTES, unreadable

_STDIN: Final = frozenset({"-", "/dev/stdin"})
_PREFIX: Final = ".spooled-"
_SUFFIX: Final = ".input"


def is_stream(path: Path) -> bool:
    """Tell whether `path` is no file that can be read again: standard input, a pipe, a device."""
    if str(path) == "-":
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever opens it says why it cannot be read
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextlib.contextmanager
def as_file(path: Path, directory: Path) -> Iterator[Path]:
    """Yield a file that can be read more than once: `path` itself, or a copy in `directory` where it is a stream.

    Raises:
        InputError: It is a stream that cannot be copied.
    """
    if is_stream(path):
        with spooled(path, directory) as kept:
            yield kept
    else:
        yield path


@contextlib.contextmanager
def spooled(path: Path, directory: Path) -> Iterator[Path]:
    """Copy a stream to a file (0600) in `directory`, and yield its path; the file goes when the block ends.

    Raises:
        InputError: The stream cannot be read, is a device that never ends, or cannot be written down.
    """
    name = "Standard input" if str(path) in _STDIN else str(path)
    with contextlib.ExitStack() as held:
        with _opened(path, name) as stream:
            _refuse_device(stream, name)
            kept = held.enter_context(_private_file(directory, name))
            _keep(stream, name, kept, directory)
        try:
            yield kept
        except InputError as error:  # the copy's name says nothing, and is gone when the sentence is read
            raise InputError(str(error).replace(str(kept), name)) from None


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[BinaryIO]:
    if str(path) in _STDIN:
        if sys.stdin is None:
            raise InputError("Standard input is closed: give a file, or pipe the rows in.")
        yield sys.stdin.buffer
        return
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        raise InputError(unreadable(name, error)) from error
    with stream:
        yield stream


def _refuse_device(stream: BinaryIO, name: str) -> None:
    """Refuse what may never end and would fill the disk: every device but a terminal and the empty one."""
    status = os.fstat(stream.fileno())
    device = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
    if device and not stream.isatty() and status.st_rdev != Path(os.devnull).stat().st_rdev:
        raise InputError(f"{name} is a device, which may never end: give a file or a pipe.")


def _keep(stream: BinaryIO, name: str, kept: Path, directory: Path) -> None:
    """Copy `stream` to `kept`; a full disk may be found out only when that is closed."""
    try:
        with kept.open("wb") as file:
            file.writelines(_chunks(stream, name))
    except OSError as error:
        raise InputError(_no_room(name, directory, error)) from error


@contextlib.contextmanager
def _private_file(directory: Path, name: str) -> Iterator[Path]:
    """Make a file that goes when the block ends; a lock keeps `_remove_stale` off it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(directory)
        handle, path = _locked_file(directory)
    except (OSError, ValueError) as error:
        raise InputError(_no_room(name, directory, error)) from error
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _locked_file(directory: Path) -> tuple[int, Path]:
    while True:
        handle, path = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=directory)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else another process took it for stale, before it was locked
            return handle, Path(path)
        os.close(handle)


def _remove_stale(directory: Path) -> None:
    """Remove the copies of processes that were killed: nobody holds their lock."""
    for path in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError), path.open("rb") as file:  # gone, in use, or of another user
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _no_room(name: str, directory: Path, error: Exception) -> str:
    return f"{name} could not be kept in {directory} ({error}): make room there, or give a file."


def _chunks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        while chunk := stream.read(PLAIN_CHUNK_BYTES):
            yield chunk
    except (OSError, ValueError) as error:
        raise InputError(unreadable(name, error)) from error
