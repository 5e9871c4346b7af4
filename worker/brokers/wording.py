"""What a broker's library knows of a trouble, in words that hold nothing of what was sent and no login."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

_REFUSED: Final = "nothing listens there"
NO_ANSWER: Final = "no answer in time"
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


def known_of(error: BaseException) -> str:
    """Return what the system says is wrong with a connection, or nothing; libraries hide it behind their errors."""
    return next(filter(None, map(_words, chain_of(error))), "")


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all behind it, the innermost first: that one knows most."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    yield from reversed(chain)


def _words(error: BaseException) -> str:
    match error:
        case ssl.SSLError():
            return _tls_words(error)
        case socket.gaierror():
            return f"its host is not known: {error.strerror}"
        case ConnectionRefusedError():
            return _REFUSED
        case OSError(errno=int(number)):
            return errno.errorcode.get(number, "")
    return ""


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if error.reason in _NO_TLS:
        return "TLS failed: there seems to be none at that port"
    return f"TLS failed: {(error.reason or 'it gives no reason').replace('_', ' ').lower()}"
