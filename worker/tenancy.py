"""A tenant's one name: however its address was written, it is one tenant with one limit."""

from __future__ import annotations

import ipaddress
from typing import Final

_THIS_MACHINE: Final = "localhost"
_HTTPS: Final = "443"


def one_name(tenant: str) -> str:
    """Return the name that all spellings of a tenant's name (`host` or `host:port`) share.

    Case, a dot at the end, https's own port and the spellings of an IP address make no difference, and this
    machine is one however it is called. Nothing is looked up: what a name resolves to may change.
    """
    host, port = _parted(tenant.strip().lower())
    host = _THIS_MACHINE if is_loopback(host) else _spelled(host)
    return host if port in ("", _HTTPS) else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether `host`, in lower case and without brackets, is this machine by its own name or address."""
    address = _address(host)
    if address is None:
        return host == _THIS_MACHINE or host.endswith(f".{_THIS_MACHINE}")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _parted(tenant: str) -> tuple[str, str]:
    if tenant.startswith("["):
        host, _, port = tenant[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = tenant.partition(":")
    return host.rstrip("."), port


def _spelled(host: str) -> str:
    address = _address(host)
    return host if address is None else address.compressed


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
