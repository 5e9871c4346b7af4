"""How another shell steers a running run: it leaves a command, the run's owner takes and records it."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.errors import UsageError


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


def take(inbox: Path, *, before_ns: int | None = None) -> list[Command]:
    """Take every command that waits, oldest first. What is no command, or unreadable, is set aside as `*.bad`.

    Args:
        inbox: The run's inbox.
        before_ns: Take only what was left before this moment (epoch nanoseconds), or None to take all.
    """
    commands = []
    end = None if before_ns is None else f"{before_ns:020}"
    for path in sorted(inbox.glob("*.json")):
        if end is not None and path.name >= end:
            break
        try:
            commands.append(Command.model_validate_json(path.read_bytes()))
        except (ValidationError, OSError):
            path.rename(path.with_suffix(".bad"))
        else:
            path.unlink()
    return commands
