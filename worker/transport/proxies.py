"""The proxy that the environment names for the tenant: https only, and never for this machine."""

from __future__ import annotations

import base64
import dataclasses
import urllib.request
from typing import Final

from yarl import URL

from worker.errors import ConfigurationError

_SPOKEN: Final = ("http", "https")


@dataclasses.dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, or none.

    Attributes:
        url: Its address without user and password, or None.
        headers: What it is to be told (its own password), or None.
    """

    url: URL | None
    headers: dict[str, str] | None


def proxy_for(base: URL) -> Proxy | None:
    """Return the proxy for `base` from HTTPS_PROXY and NO_PROXY, or None.

    Raises:
        ConfigurationError: The variable holds no address.
    """
    named = urllib.request.getproxies().get("https")
    if base.scheme != "https" or not named or urllib.request.proxy_bypass(base.host or ""):
        return None
    try:
        url = URL(named if "://" in named else f"http://{named}")
    except ValueError:
        url = URL()
    if not url.host or url.scheme not in _SPOKEN:
        raise ConfigurationError(
            "HTTPS_PROXY holds no address of an HTTP proxy. Write for example http://proxy.example:3128."
        )
    if url.user is None:
        return Proxy(url, None)
    login = f"{url.user}:{url.password or ''}".encode()
    return Proxy(url.with_user(None), {"Proxy-Authorization": "Basic " + base64.b64encode(login).decode()})
