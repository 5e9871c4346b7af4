"""The tenant's key: a root credential. Found in the environment or in a secret file, never in an argument."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.errors import ConfigurationError

_NAME: Final = "MONOCLOUD_MANAGEMENT_API_KEY"
_CREDENTIAL: Final = "monocloud_management_api_key"
_LONGEST_CHARS: Final = 4096
"""Far more than any key has, so that a wrong file (a device, a disk) cannot fill the memory."""

_CONTAINER_SECRETS: Final = Path("/run/secrets")
_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH
_GROUP: Final = stat.S_IRGRP | stat.S_IWGRP


class ApiKey:
    """A key that shows itself only when it is asked to.

    Args:
        value: The key.
    """

    def __init__(self, value: str) -> None:
        self._value = SecretStr(value)

    def reveal(self) -> str:
        """Return the key itself."""
        return self._value.get_secret_value()

    def __repr__(self) -> str:
        return "ApiKey(**********)"


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MONOCLOUD_MANAGEMENT_", extra="ignore")

    api_key: SecretStr = SecretStr("")
    api_key_file: str = ""


def load_key() -> ApiKey:
    """Return the key: from the environment, else a file it names, else systemd's or a container's secret.

    A variable that is empty or blank, as compose files leave it, counts as not set.

    Raises:
        ConfigurationError: There is none, it cannot be read, or it cannot be a key.
    """
    environment = _Environment()
    if (key := environment.api_key.get_secret_value()).strip():
        return _checked(key, _NAME)
    named = Path(environment.api_key_file) if environment.api_key_file.strip() else None
    for path in _files(named):
        try:
            with path.open(encoding="utf-8") as file:
                refuse_shown(path, os.fstat(file.fileno()), "key's")
                text = file.read(_LONGEST_CHARS + 2)  # a line end, and one more than a key has
        except FileNotFoundError:
            if path is named:
                raise ConfigurationError(f"{_NAME}_FILE names {path}, which does not exist.") from None
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The key's file {path} cannot be read: {_why(error)}.") from None
        return _checked(text.removesuffix("\n").removesuffix("\r"), str(path))
    raise ConfigurationError(
        f"There is no key. Set {_NAME}_FILE to a file that only you can read, or {_NAME}, or use systemd's"
        f" LoadCredential={_CREDENTIAL}. It has no flag: arguments are visible to everybody."
    )


def refuse_shown(path: Path, status: os.stat_result, whose: str) -> None:
    """Refuse a key's file that others can read or change.

    Where systemd or a container's engine put it, its mode says nothing: they keep others out of the folder. A group
    may read what another user owns, as it is where an administrator or Kubernetes (`fsGroup`) hands out a key; what
    is one's own is for oneself alone, as ssh has it. What is no regular file (a pipe) is read once.

    Raises:
        ConfigurationError: They can.
    """
    if not stat.S_ISREG(status.st_mode) or _is_handed_out(path):
        return
    own = status.st_uid == os.geteuid()
    if not status.st_mode & (_OTHERS | _GROUP if own else _OTHERS | stat.S_IWGRP):
        return
    advice = f"chmod 600 {shlex.quote(str(path))}" if own else "its owner has to take that right away"
    raise ConfigurationError(
        f"The {whose} file {path} can be read or changed by others (its mode is {stat.S_IMODE(status.st_mode):04o}):"
        f" {advice}. If others were on this machine, make a new key, too."
    )


def _is_handed_out(path: Path) -> bool:
    folders = [_CONTAINER_SECRETS]
    if credentials := os.environ.get("CREDENTIALS_DIRECTORY"):
        folders.append(Path(credentials))
    return any(path.absolute().is_relative_to(folder) for folder in folders)


def _files(named: Path | None) -> Iterator[Path]:
    if named is not None:
        yield named
    if folder := os.environ.get("CREDENTIALS_DIRECTORY"):
        yield Path(folder) / _CREDENTIAL
    yield _CONTAINER_SECRETS / _CREDENTIAL


def _checked(value: str, source: str) -> ApiKey:
    if not value:
        raise ConfigurationError(f"The key in {source} is empty.")
    if len(value) > _LONGEST_CHARS:
        raise ConfigurationError(
            f"The key in {source} has more than {_LONGEST_CHARS} characters, which no key has. Write the key"
            " alone into it."
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(
            f"The key in {source} holds white space, line breaks or characters that no key has. Write the key"
            " alone into it."
        )
    return ApiKey(value)


def _why(error: OSError | UnicodeDecodeError) -> str:
    return "it is not text" if isinstance(error, UnicodeDecodeError) else (error.strerror or "unknown reason")
