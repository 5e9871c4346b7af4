"""A fence of rows in a Redis, for queues of brokers that remember none: one bit a row, in bitmaps of a batch."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

import redis.asyncio as redis
from redis.exceptions import RedisError

from worker.brokers import redis_scripts
from worker.brokers.address import QueueAddress
from worker.brokers.redis_client import broker_error, redis_client
from worker.brokers.redis_fitness import check_fitness

REMEMBERED_S: Final = 7 * 24 * 3600
ROWS_EACH: Final = 65_536
"""In one bitmap, which is as long as its highest number: a batch may number its rows as it likes."""
_TIMEOUT_S: Final = 10.0


class RedisFence:
    """Remembers for seven days which rows of a queue have an outcome. Implements `worker.brokers.fence.Fence`.

    Args:
        address: The Redis; its name sets fences of queues apart that have the same address, as two AWS accounts have.
        queue: The queue: what another one did to rows of the same name is not known here.
    """

    def __init__(self, address: QueueAddress, queue: QueueAddress) -> None:
        self._client = redis_client(address, timeout_s=_TIMEOUT_S)
        self._prefix = f"{{{address.name}}}.fence.{_place(queue)}."
        self._remember = self._client.register_script(redis_scripts.REMEMBER)

    async def check(self) -> None:
        """Find out whether it can be used."""
        with _said():
            await check_fitness(self._client, keeps=True, what="The fence's Redis")

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which of `rows` (indexes by batch) have an outcome."""
        with _said():
            return await remembered(self._client, self._prefix, rows)

    async def remember(self, rows: Mapping[str, Iterable[int]]) -> None:
        """Keep that `rows` have an outcome."""
        async with self._pipeline() as pipeline:
            for (batch, bitmap), indexes in _bitmaps(rows).items():
                key = f"{self._prefix}{batch}/{bitmap}"
                bits = [index % ROWS_EACH for index in indexes]
                await self._remember(keys=[key], args=[REMEMBERED_S, *bits], client=pipeline)
            with _said():
                await pipeline.execute()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _pipeline(self) -> redis.client.Pipeline:
        return self._client.pipeline(transaction=False)


def _place(queue: QueueAddress) -> str:
    """Return where a queue is, without its login; a virtual host and a region count."""
    parts = urlsplit(queue.server)
    return f"{parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()} {queue.name}"


async def remembered(
    client: redis.Redis, prefix: str, rows: Mapping[str, Iterable[int]]
) -> dict[str, frozenset[int]]:
    """Return which of `rows` (indexes by batch) have their bit set, in the bitmaps whose keys begin with `prefix`.

    Raises:
        redis.RedisError: It cannot be asked.
    """
    asked = _bitmaps(rows)
    async with client.pipeline(transaction=False) as pipeline:
        for (batch, bitmap), indexes in asked.items():
            bits = [word for index in indexes for word in ("GET", "u1", index % ROWS_EACH)]
            pipeline.execute_command("BITFIELD_RO", f"{prefix}{batch}/{bitmap}", *bits)
        answers = await pipeline.execute()
    known: dict[str, set[int]] = {batch: set() for batch in rows}
    for ((batch, _), indexes), bits in zip(asked.items(), answers, strict=True):
        known[batch].update(index for index, bit in zip(indexes, bits, strict=True) if bit)
    return {batch: frozenset(indexes) for batch, indexes in known.items()}


def _bitmaps(rows: Mapping[str, Iterable[int]]) -> dict[tuple[str, int], list[int]]:
    """Return `rows` (indexes by batch) by batch and number of the bitmap that they are in."""
    bitmaps: dict[tuple[str, int], list[int]] = collections.defaultdict(list)
    for batch, indexes in rows.items():
        for index in indexes:
            bitmaps[batch, index // ROWS_EACH].append(index)
    return bitmaps


@contextlib.contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise broker_error(error, "The fence's Redis") from None
