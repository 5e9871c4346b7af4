"""What a broker's library knows of a trouble, in words that hold nothing of what was sent and no login."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

_REFUSED = "nothing listens there"
_NO_ANSWER = "no answer in time"


def known_of(error: BaseException) -> str:
    """Return what the system says is wrong with a connection, or nothing; libraries hide it behind their errors."""
    return next(filter(None, map(_words, _chain(error))), "")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all behind it, the innermost first: that one knows most."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    yield from reversed(chain)


def _words(error: BaseException) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            reason = (error.reason or "no TLS there").replace("_", " ").lower()
            return f"TLS failed: {reason}"
        case socket.gaierror():
            return f"its host is not known: {error.strerror}"
        case ConnectionRefusedError():
            return _REFUSED
        case OSError(errno=int(number)):
            return errno.errorcode.get(number, "")
    return ""
