"""Where a report goes: a file that appears whole or not at all, or a stream such as standard output."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from worker.errors import ReportError, UsageError

Destination = Path | BinaryIO
"""A file's path, or a binary stream (`sys.stdout.buffer`) that stays open."""

_BUFFER_BYTES: Final = 1 << 18


@contextlib.contextmanager
def open_destination(destination: Destination) -> Iterator[BinaryIO]:
    """Yield a binary stream to write a whole report to.

    A file is written under a temporary name in the same folder, mode 0600, and takes its own name only when
    the block ends well. A device or pipe (`/dev/stdout`, `/dev/null`) is written to, never replaced.

    Raises:
        UsageError: The path is a folder, or its folder does not exist.
        ReportError: The file could not be written (full disk, no permission); an older file is still there.
    """
    try:
        if not isinstance(destination, Path):
            yield destination
            destination.flush()
            return
        path = destination.resolve()
        if path.is_dir():
            raise UsageError(f"{destination} is a folder. Name a file to write the report to.")
        if not path.parent.is_dir():
            raise UsageError(
                f"The folder {destination.parent} does not exist. Make it, or name another file."
            )
        with _open_path(destination, path) as out:
            yield out
    except BrokenPipeError:
        raise
    except OSError as error:
        name = destination if isinstance(destination, Path) else "Standard output"
        raise ReportError(
            f"{name} could not be written: {error.strerror or error}. What was done is "
            "safe in the ledger: make room or name another place, then write the report again."
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all (see `open_destination`)."""
    with open_destination(path) as out:
        out.write(content)


def sweep(path: Path) -> None:
    """Remove what a killed process left of half-written versions of `path`."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _open_path(named: Path, path: Path) -> Iterator[BinaryIO]:
    """Open what was named, of which `path` is the place without links: for a pipe (`/dev/stdout`) that is none."""
    if named.exists() and not stat.S_ISREG(named.stat().st_mode):
        with named.open("wb", buffering=_BUFFER_BYTES) as out:
            yield out
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb", buffering=_BUFFER_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
