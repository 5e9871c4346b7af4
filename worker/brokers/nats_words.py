"""What NATS raises, made into a sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from nats.errors import Error, MaxPayloadError, NoRespondersError
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError, ServiceUnavailableError

from worker.brokers.nats_line import NatsLine
from worker.brokers.wording import known_of
from worker.errors import BrokerError, UsageError

P = ParamSpec("P")
R = TypeVar("R")
Q = TypeVar("Q", bound="Asked")

_GONE: Final = (NotFoundError, NoRespondersError, NoStreamResponseError, ServiceUnavailableError)
"""What JetStream answers, or nobody does, when there is no such stream or consumer any more."""


class Asked(Protocol):
    """A queue whose methods ask NATS."""

    line: NatsLine
    name: str

    async def forget(self) -> None:
        """Make stream and consumer anew before they are used again."""


def answered(
    function: Callable[Concatenate[Q, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Q, P], Coroutine[Any, Any, R]]:
    """Turn what NATS raises into a sentence."""

    @functools.wraps(function)
    async def wrapped(queue: Q, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            async with queue.line.patience(queue.name):
                return await function(queue, *args, **kwargs)
        except MaxPayloadError:
            raise UsageError(
                "A message is larger than the NATS server takes: put fewer rows into each, or raise its max_payload."
            ) from None
        except (Error, OSError) as error:
            if isinstance(error, _GONE):
                await queue.forget()
            raise BrokerError(f"NATS cannot be used ({_said(error)}).") from None

    return wrapped


def _said(error: Exception) -> str:
    """Return what the server said, or what kind of error it is: other texts may hold what was sent."""
    if isinstance(error, APIError) and error.description:
        return error.description
    if type(error) is Error:
        return str(error).removeprefix("nats: ")
    return known_of(error) or type(error).__name__
