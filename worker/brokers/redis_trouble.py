"""What Redis raises, in a sentence."""

from __future__ import annotations

from redis.exceptions import RedisError, ResponseError

from worker.errors import BrokerError


def broker_error(error: RedisError | OSError) -> BrokerError:
    """Return the error to raise instead; its text may hold what was sent, so that is not shown."""
    said = str(error).split(" ", 1)[0] if isinstance(error, ResponseError) else type(error).__name__
    return BrokerError(f"Redis cannot be used ({said}).")
