"""The tenant's address, as people write it, made into the one base that every call goes to."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from typing import Final, Self
from urllib.parse import urlsplit

from worker.errors import ConfigurationError

_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?!.{{254}}){_LABEL}(\.{_LABEL})*")
"""A host name in lower case. Source: RFC 1123, section 2.1."""

_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A host that ends in a number is an IPv4 address, in one of its odd spellings. Source: URL Standard, 3.5."""
_API_PATH: Final = re.compile(r"/api(/v1)?/*\Z", re.IGNORECASE)
_PORTS: Final = {"http": 80, "https": 443}


@dataclasses.dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the platform.

    Attributes:
        name: Host in lower case, and port if it is not the scheme's own; what the operator types to confirm
            and what a run is bound to.
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
        scheme, rest = scheme.lower(), rest.rstrip("/")
        if _API_PATH.search(rest):
            bare = _without_user(_API_PATH.sub("", given))
            raise ConfigurationError(
                f"The tenant {_without_user(given)!r} ends in the API's path, which is added by itself: write"
                f" {bare!r}."
            )
        host, port = _host_and_port(given, rest)
        loopback = _is_loopback(host)
        if scheme not in _PORTS:
            raise _refusal(given)
        if scheme == "http" and not loopback:
            raise ConfigurationError(
                f"The tenant {given!r} would get the key over plain http. Write https://{rest} (plain http is for"
                " this machine's loopback addresses alone)."
            )
        if not loopback and not _is_ip(host):
            _refuse_half(given, host)
        shown = f"[{host}]" if ":" in host else host
        name = shown if port in (None, _PORTS[scheme]) else f"{shown}:{port}"
        return cls(name, f"{scheme}://{name}/api/", loopback)


def _host_and_port(given: str, rest: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _refusal(given) from None
    if not host or not (_HOST.fullmatch(host) or _is_ip(host)):
        raise _refusal(given)
    # Whatever else was read (a path, a query, a user, an empty port) would be left out in silence.
    shown = f"[{host}]" if ":" in host else host
    if port == 0 or rest.lower() not in (shown, f"{shown}:{port}"):
        raise _refusal(given)
    return host, port


def _refuse_half(given: str, host: str) -> None:
    """Refuse what is the beginning of a domain or of an IP address, and would be completed by a guess."""
    first, dot, _ = host.partition(".")
    if not dot:
        raise ConfigurationError(
            f"The tenant {given!r} is no whole domain. Was {first}.us.monocloud.com meant? Write the domain as the"
            " tenant's dashboard shows it."
        )
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise _refusal(given)


def _refusal(given: str) -> ConfigurationError:
    return ConfigurationError(
        f"The tenant {_without_user(given)!r} is no domain: write one such as acme.us.monocloud.com, without"
        " path, user name or spaces."
    )


def _without_user(given: str) -> str:
    """Leave out what stands before an `@`: it may be a password."""
    return given.rpartition("@")[2]


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _is_loopback(host: str) -> bool:
    """Return whether it is this machine; an IPv4 address in IPv6's form is not, as only newer Pythons say so."""
    if not _is_ip(host):
        return host == "localhost"
    address = ipaddress.ip_address(host)
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None
