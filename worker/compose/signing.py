"""The key that signs messages: known to a queue's producers and its workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from worker.connection.key import refuse_shown
from worker.errors import ConfigurationError

_LONGEST_KEY_BYTES: Final = 4096


def read_signing_key(path: Path | None) -> bytes | None:
    """Return the key that messages are signed with, from a file; None without one.

    Raises:
        ConfigurationError: The file cannot be read, others can read it, or it holds too little to be a key.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            refuse_shown(path, os.fstat(file.fileno()), "signing key's")
            key = file.read(_LONGEST_KEY_BYTES + 1).strip()
    except OSError as error:
        raise ConfigurationError(f"The signing key {path} cannot be read: {error.strerror}.") from None
    if len(key) < 16:  # noqa: PLR2004 - 128 bits, however they are written
        raise ConfigurationError(f"The signing key in {path} has {len(key)} bytes; 16 are the least.")
    if len(key) > _LONGEST_KEY_BYTES:
        raise ConfigurationError(f"{path} has over {_LONGEST_KEY_BYTES} bytes: that is no signing key.")
    return key
