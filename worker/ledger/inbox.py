"""How another shell steers a running run: it leaves a command, the run's owner takes and records it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.errors import UsageError

_LONGEST_BYTES: Final = 1 << 16
_NEVER: Final = frozenset({errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM})
"""A link, a socket, another's file: it would be the same the next time."""


class Command(BaseModel):
    """What somebody asks of a running run.

    Attributes:
        name: What to do.
        rate: The new rate as text, for `rate` only.
        operator: Who asks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["pause", "continue", "cancel", "rate"]
    rate: str = ""
    operator: str = ""

    def __str__(self) -> str:
        asked = f"{self.name} {self.rate}".strip()
        return f"{asked} (by {self.operator})" if self.operator else asked


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """What was found in an inbox.

    Attributes:
        commands: The commands, oldest first; they are no longer there.
        unread: What could not be read or taken, and why, for people.
    """

    commands: list[Command]
    unread: list[str]


class _NoCommandError(Exception):
    """What lies there is no command, and never will be one."""


def post(inbox: Path, command: Command) -> None:
    """Leave `command` for the owner of the run. Written whole or not at all.

    Raises:
        UsageError: It cannot be left there: no such run, not one's own, or the disk is full.
    """
    name = f"{time.time_ns():020}-{secrets.token_hex(4)}"
    draft = inbox / f".{name}.tmp"
    try:
        draft.touch(mode=0o600, exist_ok=False)
        owner = inbox.stat()
        if owner.st_uid != os.geteuid():  # `sudo`: the run's own user must be able to read it
            os.chown(draft, owner.st_uid, owner.st_gid)
        draft.write_text(command.model_dump_json(), encoding="utf-8")
        draft.rename(inbox / f"{name}.json")
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise UsageError(f"Cannot leave a command in {inbox}: {error.strerror}.") from error


def take(inbox: Path, *, before_ns: int | None = None) -> Taken:
    """Take every command that waits, oldest first. What is no command is set aside as `*.bad`.

    Never waits and never raises, whatever lies there: what cannot be read is told, and tried again the next time.

    Args:
        inbox: The run's inbox.
        before_ns: Take only what was left before this moment (epoch nanoseconds), or None to take all.
    """
    commands: list[Command] = []
    unread: list[str] = []
    try:
        names = sorted(path.name for path in inbox.iterdir() if path.suffix == ".json")
    except OSError as error:
        return Taken([], [f"{inbox} cannot be looked into ({error.strerror})"])
    end = None if before_ns is None else f"{before_ns:020}"
    for name in itertools.takewhile(lambda name: end is None or name < end, names):
        try:
            command = _read(inbox / name)
            (inbox / name).unlink()  # before it is carried out: else it would be four times a second
        except _NoCommandError as error:
            unread.append(f"{name} {error}, {_set_aside(inbox / name)}")
        except OSError as error:
            unread.append(f"{name} cannot be taken ({error.strerror})")
        else:
            commands.append(command)
    return Taken(commands, unread)


def _read(path: Path) -> Command:
    """Read a command without waiting for anybody: opening a named pipe would wait for its writer.

    Raises:
        _NoCommandError: It is none.
        OSError: It cannot be read now.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NEVER:
            raise _NoCommandError(f"cannot be read ({error.strerror})") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _NoCommandError("is no regular file")
        content = file.read(_LONGEST_BYTES)
    try:
        return Command.model_validate_json(content)
    except ValidationError as error:
        raise _NoCommandError("holds no command") from error


def _set_aside(path: Path) -> str:
    aside = path.with_suffix(".bad")
    try:
        path.rename(aside)
    except OSError as error:
        return f"and cannot be set aside ({error.strerror})"
    return f"set aside as {aside.name}"
