"""Commands of other programs: what they print, or why they could not be run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

_SLOWEST_S: Final = 300


class NotRunError(Exception):
    """A program is not there, or failed."""


def sh(*words: str, env: dict[str, str] | None = None) -> bytes:
    """Return what a command printed.

    Raises:
        NotRunError: It is not there, failed, or took too long.
    """
    try:
        done = subprocess.run(words, env=env, capture_output=True, check=False, timeout=_SLOWEST_S)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise NotRunError(f"{words[0]}: {type(error).__name__}") from error
    if done.returncode:
        raise NotRunError(
            f"{Path(words[0]).name}: {done.stderr.decode(errors='replace').strip().splitlines()[-1:]}"
        )
    return done.stdout or done.stderr


def succeeds(*words: str, cwd: Path | None = None) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return (
            subprocess.run(words, cwd=cwd, env=environment, capture_output=True, check=False).returncode == 0
        )
    except FileNotFoundError:
        return False
