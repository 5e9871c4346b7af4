"""Input that can be read only once (standard input, pipes) is kept in a private file, to be read like any other."""

from __future__ import annotations

import contextlib
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
def spooled(path: Path, directory: Path) -> Iterator[Path]:
    """Copy a stream to a file (0600) in `directory`, and yield its path; the file goes when the block ends.

    Raises:
        InputError: The stream cannot be read, is a device that never ends, or cannot be written down.
    """
    name = "Standard input" if str(path) in _STDIN else str(path)
    with _opened(path, name) as stream:
        _refuse_device(stream, name)
        kept = _kept(stream, directory, name)
    try:
        yield kept
    except InputError as error:  # the copy's name says nothing, and is gone when the sentence is read
        raise InputError(str(error).replace(str(kept), name)) from None
    finally:
        kept.unlink(missing_ok=True)


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


def _kept(stream: BinaryIO, directory: Path, name: str) -> Path:
    """Copy `stream` to a new file and return its path; a copy that fails leaves nothing behind."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=_PREFIX, suffix=".input", dir=directory)
        with contextlib.ExitStack() as undo:
            undo.callback(Path(draft).unlink, missing_ok=True)
            with os.fdopen(handle, "wb") as file:
                for chunk in _chunks(stream, name):
                    file.write(chunk)
            undo.pop_all()
        return Path(draft)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{name} could not be kept in {directory} ({error}): make room there, or give a file."
        ) from error


def _chunks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        while chunk := stream.read(PLAIN_CHUNK_BYTES):
            yield chunk
    except (OSError, ValueError) as error:
        raise InputError(unreadable(name, error)) from error
