"""The tenant's address, as people write it, made into the one base that every call goes to."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from typing import Self
from urllib.parse import urlsplit

from worker.errors import ConfigurationError

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")


@dataclasses.dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the platform.

    Attributes:
        name: Host, and port if one was given; what the operator types to confirm and what a run is bound to.
        base_url: Where the API's paths begin; ends in `/api/`.
        loopback: Whether it is this machine (the sandbox).
    """

    name: str
    base_url: str
    loopback: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a domain such as `acme.us.monocloud.com`, bare or with `https://`.

        Raises:
            ConfigurationError: It is no domain, or it would carry the key over plain http to another machine.
        """
        given = text.strip()
        scheme, separator, rest = given.partition("://")
        if not separator:
            scheme, rest = "https", given
        rest = rest.rstrip("/")
        if rest.lower().endswith(("/api", "/api/v1")):
            bare = rest[: rest.lower().rindex("/api")]
            raise ConfigurationError(
                f"The tenant {given!r} ends in the API's path, which is added by itself: write {bare!r}."
            )
        host, port = _host_and_port(given, rest)
        loopback = _is_loopback(host)
        if scheme.lower() == "http" and not loopback:
            raise ConfigurationError(
                f"The tenant {given!r} would get the key over plain http. Write https://{rest} (plain http is for"
                " this machine's loopback addresses alone)."
            )
        if scheme.lower() not in ("http", "https"):
            raise ConfigurationError(
                f"The tenant {given!r} is no domain: write one such as acme.us.monocloud.com."
            )
        shown = f"[{host}]" if ":" in host else host
        name = shown if port is None else f"{shown}:{port}"
        return cls(name, f"{scheme.lower()}://{name}/api/", loopback)


def _host_and_port(given: str, rest: str) -> tuple[str, int | None]:
    refusal = ConfigurationError(
        f"The tenant {_without_user(given)!r} is no domain: write one such as acme.us.monocloud.com, without"
        " path, user name or spaces."
    )
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise refusal from None
    extra = parts.path or parts.query or parts.fragment or "@" in rest or "?" in rest or "#" in rest
    if not host or extra or not _HOST.fullmatch(host):
        raise refusal
    return host.lower(), port


def _without_user(given: str) -> str:
    """Leave out what stands before an `@`: it may be a password."""
    return given.rpartition("@")[2]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
