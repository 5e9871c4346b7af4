"""One table from the errors of aiohttp, asyncio and ssl to the words of the model."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Final

import aiohttp

from worker.model import NoAnswer, Trouble

CAUGHT: Final = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
"""What a call may end in without an answer; anything else is a defect and travels."""

_TABLE: Final[tuple[tuple[type[BaseException], Trouble, str], ...]] = (
    (aiohttp.ClientConnectorDNSError, Trouble.UNKNOWN_HOST, "the host's name cannot be resolved"),
    (
        aiohttp.ClientConnectorCertificateError,
        Trouble.CERTIFICATE,
        "the server's certificate is not trusted, or not for this host; --ca-bundle names another authority",
    ),
    (aiohttp.ClientSSLError, Trouble.CONNECT, "the TLS handshake failed"),
    (aiohttp.ClientProxyConnectionError, Trouble.CONNECT, "the proxy cannot be reached"),
    (aiohttp.ClientHttpProxyError, Trouble.CONNECT, "the proxy refused to connect"),
    (aiohttp.ClientConnectorError, Trouble.CONNECT, "no connection"),
    (asyncio.TimeoutError, Trouble.TIMEOUT, "no answer within the time limit"),
    (aiohttp.ServerDisconnectedError, Trouble.DISCONNECTED, "the server closed the connection"),
    (aiohttp.ClientOSError, Trouble.DISCONNECTED, "the connection broke"),
    (aiohttp.ClientConnectionError, Trouble.DISCONNECTED, "the connection broke"),
    (aiohttp.ClientResponseError, Trouble.PROTOCOL, "what came back is not HTTP"),
    (aiohttp.ClientError, Trouble.PROTOCOL, "the call could not be made"),
    (OSError, Trouble.DISCONNECTED, "the connection broke"),
)

_REFUSALS: Final = frozenset(range(400, 500)) - {408, 425, 429}
"""How a proxy answers CONNECT when it will answer the next one in the same way."""

_PROXY_ADVICE: Final = (
    "the proxy refused to connect ({status}); HTTPS_PROXY holds its address, user and password, NO_PROXY the hosts"
    " that need none"
)


def no_answer(error: BaseException, *, sent: bool, kept: bool = False) -> NoAnswer:
    """Return what `error` means; the detail names no address, header or identifier.

    Args:
        error: One of `CAUGHT`.
        sent: Whether writing the request had begun.
        kept: Whether it was written to a connection that an earlier call had used.
    """
    if sent and kept and _broke_unanswered(error):
        return NoAnswer(Trouble.DISCONNECTED, "the kept connection was closed already", sent, stale=True)
    if isinstance(error, aiohttp.ClientHttpProxyError) and error.status in _REFUSALS:
        return NoAnswer(Trouble.PROXY, _PROXY_ADVICE.format(status=error.status), sent)
    for kind, trouble, detail in _TABLE:
        if isinstance(error, kind):
            reason = _reason(error)
            return NoAnswer(trouble, f"{detail} ({reason})" if reason else detail, sent)
    raise AssertionError(f"{type(error).__name__} is not in the table") from error


def timed_out(*, sent: bool) -> NoAnswer:
    """Return that the call took longer than it may."""
    return NoAnswer(Trouble.TIMEOUT, "no answer within the time limit", sent)


def _broke_unanswered(error: BaseException) -> bool:
    """Return whether the connection broke before any byte of an answer's head was read."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)  # else it is the part of the head that came
    return isinstance(error, (aiohttp.ClientOSError, aiohttp.ClientConnectionResetError))


def _reason(error: BaseException) -> str:
    """Return the system's own words for an error, where there are any."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        told = error.certificate_error
        return told.verify_message.rstrip(".") if isinstance(told, ssl.SSLCertVerificationError) else ""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return str(error.status)
    for each in (getattr(error, "os_error", None), error.__cause__, error):
        # Its number is one of OpenSSL's, which `strerror` would take for one of the system's; aiohttp's own
        # subclasses of it have no `reason`.
        if isinstance(each, ssl.SSLError):
            return (getattr(each, "reason", None) or "").replace("_", " ").lower()
    if not isinstance(error, OSError) or error.errno is None or error.errno <= 0:
        return ""
    return os.strerror(error.errno)
