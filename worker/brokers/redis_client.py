"""How everything here speaks to Redis: one kind of client, and one sentence for what it raises."""

from __future__ import annotations

import re
from typing import Final

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from worker.brokers.address import QueueAddress
from worker.brokers.wording import known_of
from worker.errors import BrokerError

_QUOTED: Final = re.compile("(?<![A-Za-z])[\"'`]")
"""What begins a part of what was sent, in the server's words."""
_LONGEST_WORDS: Final = 120
_CONNECTION: Final = {
    "Connection closed by server.": "it closed the connection: a port for TLS wants rediss://",
    "Timeout connecting to server": "no answer in time: a port without TLS wants redis://",
}


def redis_client(address: QueueAddress, *, timeout_s: float) -> redis.Redis:
    """Return a client of the Redis at `address`; nothing is connected before the first use."""
    return redis.Redis.from_url(
        address.server,
        protocol=2,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),  # whoever asks tries again by itself, and says that it was lost
        # Nor is this tried again, but its connection is given up: it leads to what is no primary any more.
        retry_on_error=[ReadOnlyError],
        health_check_interval=30,
    )


def broker_error(error: RedisError | OSError, what: str = "Redis") -> BrokerError:
    """Return the error to raise instead; what was sent may stand in its text, and is not shown."""
    if isinstance(error, OutOfMemoryError):
        return BrokerError(
            f"{what} cannot be used (OOM): its memory is full, so it takes nothing new. Workers still work off what"
            " it holds, and `collect` makes room; or raise its maxmemory."
        )
    return BrokerError(f"{what} cannot be used ({_said(error)}).")


def _said(error: RedisError | OSError) -> str:
    code = error.status_code if isinstance(error, RedisError) else None
    if code is None and isinstance(error, ResponseError):
        code = str(error).split(" ", 1)[0]  # redis-py takes off those that it knows, and no other
    if code is None:
        return known_of(error) or _CONNECTION.get(str(error), type(error).__name__)
    if code != "ERR" or str(error).startswith("Command #"):  # a pipeline's text is what was sent
        return type(error).__name__ if code == "ERR" else code
    words = _QUOTED.split(str(error).partition(" script: ")[0], maxsplit=1)[0].strip(" ,:(")
    return words[:_LONGEST_WORDS] or type(error).__name__
