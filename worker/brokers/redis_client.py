"""How everything here speaks to Redis: one kind of client, and one sentence for what it raises."""

from __future__ import annotations

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from worker.brokers.address import QueueAddress
from worker.errors import BrokerError


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
    """Return the error to raise instead; its text may hold what was sent, so that is not shown."""
    code = error.status_code if isinstance(error, RedisError) else None
    if code is None and isinstance(error, ResponseError):
        code = str(error).split(" ", 1)[0]  # redis-py takes off those that it knows, and no other
    said = type(error).__name__ if code in (None, "ERR") else code
    return BrokerError(f"{what} cannot be used ({said}).")
