"""A fence of rows in a Redis, for queues of brokers that remember none: one bit a row, in one bitmap a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from worker.brokers.address import QueueAddress
from worker.errors import BrokerError

_REMEMBERED_S: Final = 7 * 24 * 3600
_TIMEOUT_S: Final = 10.0


class RedisFence:
    """Remembers for seven days which rows of a queue have an outcome. Implements `worker.brokers.fenced.Fence`.

    Args:
        address: The Redis; its name sets fences of queues apart that have the same address, as two AWS accounts have.
        queue: The queue: what another one did to rows of the same name is not known here.
    """

    def __init__(self, address: QueueAddress, queue: QueueAddress) -> None:
        self._client = redis.Redis.from_url(
            address.server,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # whoever uses the queue tries again, and says that it was lost
            health_check_interval=30,
        )
        self._prefix = f"{{{address.name}}}.fence.{_place(queue)}."

    async def check(self) -> None:
        """Find out whether it can be used."""
        async with self._pipeline() as pipeline:
            pipeline.ping()
            await _answered(pipeline)

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which of `rows` (indexes by batch) have an outcome."""
        asked = {batch: list(indexes) for batch, indexes in rows.items()}
        async with self._pipeline() as pipeline:
            for batch, indexes in asked.items():
                bits = [word for index in indexes for word in ("GET", "u1", index)]
                pipeline.execute_command("BITFIELD_RO", f"{self._prefix}{batch}", *bits)
            answers = await _answered(pipeline)
        return {
            batch: frozenset(index for index, bit in zip(indexes, bits, strict=True) if bit)
            for (batch, indexes), bits in zip(asked.items(), answers, strict=True)
        }

    async def remember(self, rows: Mapping[str, Iterable[int]]) -> None:
        """Keep that `rows` have an outcome."""
        async with self._pipeline() as pipeline:
            for batch, indexes in rows.items():
                for index in indexes:
                    pipeline.setbit(f"{self._prefix}{batch}", index, 1)
                pipeline.expire(f"{self._prefix}{batch}", _REMEMBERED_S)
            await _answered(pipeline)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _pipeline(self) -> redis.client.Pipeline:
        return self._client.pipeline(transaction=False)


def _place(queue: QueueAddress) -> str:
    """Return where a queue is, without its login; a virtual host and a region count."""
    parts = urlsplit(queue.server)
    return f"{parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()} {queue.name}"


async def _answered(pipeline: redis.client.Pipeline) -> list[list[int]]:
    try:
        answers: list[list[int]] = await pipeline.execute()
    except (RedisError, OSError) as error:  # its text may hold what was sent, so that is not shown
        said = str(error).split(" ", 1)[0] if isinstance(error, ResponseError) else type(error).__name__
        raise BrokerError(f"The fence's Redis cannot be used ({said}).") from None
    return answers
