"""The tenant's key: a root credential. Found in the environment or in a secret file, never in an argument."""

from __future__ import annotations

import os
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
