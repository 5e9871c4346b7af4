"""What the official SDKs also read from the environment."""

from __future__ import annotations

import math
from typing import Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.connection.tenant import Tenant
from worker.errors import ConfigurationError

_MS: Final = 1000.0
TIMEOUT: Final = "MONOCLOUD_MANAGEMENT_TIMEOUT"
"""The variable of the time limit of one call, in milliseconds."""


class _Domain(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MONOCLOUD_MANAGEMENT_", extra="ignore")

    domain: str = ""


class _Timeout(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MONOCLOUD_MANAGEMENT_", extra="ignore")

    timeout: float = 10_000.0


def load_tenant(flag: str | None, *, of_run: str = "") -> Tenant:
    """Return the tenant that the flag names, else the environment.

    Args:
        flag: What `--tenant` said.
        of_run: The name of the tenant that the run at hand is bound to. It is told, never taken: the key goes where
            the operator says, not where a folder does.

    Raises:
        ConfigurationError: Neither does, or it is no domain.
    """
    text = flag if flag is not None else _Domain().domain
    if not text.strip():
        known = f" The run is of {of_run}: `--tenant {_address(of_run)}`." if of_run else ""
        raise ConfigurationError(f"Which tenant? Give --tenant or set MONOCLOUD_MANAGEMENT_DOMAIN.{known}")
    return Tenant.parse(text)


def _address(name: str) -> str:
    """Return how a tenant of this name is written; this machine's own, the sandbox, answers plain http."""
    return f"http://{name}" if Tenant.parse(name).loopback else name


def default_timeout_s() -> float:
    """Return the time limit of one call: MONOCLOUD_MANAGEMENT_TIMEOUT (milliseconds), or 10 seconds.

    Raises:
        ConfigurationError: The variable holds no positive number.
    """
    try:
        timeout_ms = _Timeout().timeout
    except ValidationError:
        timeout_ms = 0.0
    if not 0 < timeout_ms < math.inf:
        raise ConfigurationError(f"{TIMEOUT} must be a positive number of milliseconds.")
    return timeout_ms / _MS
