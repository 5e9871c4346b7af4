"""Several files, or a folder of part files, as one input: which files they are, and their digest."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from worker.errors import InputError
from worker.intake.spool import as_file, is_stream
from worker.intake.stored import digest, unreadable

_HIDDEN: Final = (".", "_")
"""What Hadoop's readers pass over: checksums (`.part-0.crc`), `_SUCCESS`, `_metadata`."""
_UNFINISHED: Final = "_temporary"
"""Spark and Hadoop write parts into it, and remove it when all are written."""
_SHOWN: Final = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One file of an input.

    Attributes:
        path: Where it can be read.
        shown: What messages about the file call it; None for its path.
        name: What rows and warnings call it; empty where it is the whole input.
    """

    path: Path
    shown: str | None = None
    name: str = ""


def part_files(given: Sequence[Path]) -> list[Path]:
    """Return the files that were given, in order; a folder stands for the part files in it, by their names.

    Raises:
        InputError: A folder holds no part files, or folders, or is still being written.
    """
    return [file for path in given for file in (_in_folder(path) if _is_folder(path) else [path])]


@contextlib.contextmanager
def as_parts(given: Sequence[Path], directory: Path) -> Iterator[list[Part]]:
    """Yield the parts of what was given; streams are copied to `directory` until the block ends.

    Raises:
        InputError: As `part_files` and `as_file`.
    """
    files = part_files(given)
    names = _names(files)
    with contextlib.ExitStack() as held:
        yield [
            Part(held.enter_context(as_file(file, directory)), _shown(file), name)
            for file, name in zip(files, names, strict=True)
        ]


def digest_of(parts: Sequence[Part]) -> str:
    """Return the SHA-256 of a whole input in hexadecimal: of its one file, or of its files in their order.

    Raises:
        InputError: A file cannot be read.
    """
    return joined([digest(part.path) for part in parts])


def joined(digests: Sequence[str]) -> str:
    """Return what stands for several digests; one stands for itself, so that a folder of one file is that file."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # whoever opens it says why it cannot be read
        return False


def _in_folder(folder: Path) -> list[Path]:
    try:
        inside = sorted(folder.iterdir())
        if any(path.name == _UNFINISHED for path in inside):
            raise InputError(
                f"{folder} holds {_UNFINISHED}: its parts are still being written, or the job that wrote them"
                " failed. Export it again, or give the files that are whole."
            )
        seen = [path for path in inside if not path.name.startswith(_HIDDEN)]
        folders = [path.name for path in seen if path.is_dir()]
    except OSError as error:
        raise InputError(unreadable(str(folder), error)) from error
    if folders:
        raise InputError(
            f"{folder} holds folders ({_some(folders)}), whose names may be a column: give the files themselves."
        )
    if not seen:
        raise InputError(f"{folder} is a folder without files: give a file, or a folder with part files.")
    if len(kinds := sorted({path.suffix.lower() for path in seen})) > 1:
        raise InputError(
            f"{folder} holds files of several kinds ({_some([kind or 'none' for kind in kinds])}): it is no"
            " folder of part files. Give the files that are meant."
        )
    return seen


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _shown(file: Path) -> str | None:
    """Return nothing for a stream: whoever copied it puts its name into messages."""
    return None if is_stream(file) else str(file)


def _names(files: Sequence[Path]) -> list[str]:
    if len(files) == 1:
        return [""]
    times = Counter(file.name for file in files)
    return [file.name if times[file.name] == 1 else str(file) for file in files]
