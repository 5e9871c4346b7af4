"""What RabbitMQ says is wrong, which its library keeps in the texts and causes of its errors, or in its log."""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import Final

import aiormq
from aiormq.exceptions import (
    AMQPChannelError,
    ConnectionClosed,
    InvalidFrameError,
    ProbableAuthenticationError,
)

from worker.brokers.wording import NO_ANSWER, chain_of, known_of

_NO_HOST: Final = "its virtual host is not there, or this user has no right to it"
_CLOSED: Final = "it closed the connection: a port for TLS wants amqps://"


class Blocked(logging.Handler):
    """Why the broker stopped to read from connections that publish: aiormq tells it to its log alone."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._reasons: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the reason of a connection until it is read from again."""
        match record.args:
            case (aiormq.Connection() as connection, reason) if "was blocked" in record.msg:
                self._reasons[connection] = str(reason)
            case (aiormq.Connection() as connection,) if "was unblocked" in record.msg:
                self._reasons.pop(connection, None)

    def reason(self, connection: object) -> str:
        """Return why nothing is read from `connection`, or nothing."""
        return self._reasons.get(connection, "")


BLOCKED: Final = Blocked()
for _library in ("aio_pika", "aiormq"):  # a lost connection is said by whoever needs it, in a sentence
    logging.getLogger(_library).addHandler(BLOCKED)


def said(error: BaseException, connection: object | None) -> str:
    """Return what is wrong with a broker; what an error says of a URL is not shown."""
    if isinstance(error, TimeoutError) and (reason := BLOCKED.reason(connection)):
        return f"it takes no messages for now: {reason}"
    if isinstance(error, (AMQPChannelError, ProbableAuthenticationError)):
        return " ".join(str(error.args[-1]).split()) if error.args else type(error).__name__
    if isinstance(error, ConnectionClosed) and len(error.args) > 1:
        return str(error.args[1])
    if isinstance(error, InvalidFrameError) and "OpenOk" in str(error):
        return _NO_HOST
    if any(isinstance(each, asyncio.IncompleteReadError) for each in chain_of(error)):
        return _CLOSED
    return known_of(error) or (NO_ANSWER if isinstance(error, TimeoutError) else type(error).__name__)
