"""A fleet's one rate, and a queue's rows of the last hour, kept in Redis for whatever broker. Needs Redis 7.

Each is one script: Redis' own clock decides, and a call to it is all that happens. All keys of a tenant are in one
slot of a cluster. They go by themselves when nobody has asked for ten minutes (of the rows, for an hour).
"""

from __future__ import annotations

from typing import Any, Final, Self

import redis.asyncio as redis
from redis.exceptions import RedisError

from worker.brokers import redis_fleet_scripts
from worker.brokers.address import QueueAddress
from worker.brokers.redis_client import broker_error, redis_client
from worker.brokers.redis_fitness import Fitness
from worker.sharing import ABSENT_S, Ask, Found, Grant

_TIMEOUT_S: Final = 1.0
"""Short, because calls wait for it; a worker that was not answered by then keeps to its share."""
_US: Final = 1e6
_NO_CEILING: Final = 1e12
_NO_CLIMB: Final = -1


class RedisFleetStore:
    """Implements `worker.ports.FleetStore` for one tenant, and makes the counts of its queues' rows.

    Args:
        client: The connections.
        tenant: Whose rate it is; whatever fleets call that tenant share it.
    """

    def __init__(self, client: redis.Redis, tenant: str) -> None:
        self._client = client
        self._prefix = f"bulk-unverify:{{{tenant}}}"
        self._keys = [f"{self._prefix}:{part}" for part in ("rate", "workers", "ceilings")]
        self._fitness = Fitness(client)
        self._reserve = client.register_script(redis_fleet_scripts.RESERVE)
        self._leave = client.register_script(redis_fleet_scripts.LEAVE)

    @classmethod
    def connect(cls, address: QueueAddress, tenant: str) -> Self:
        """Return the store at `address`; nothing is connected before the first use."""
        return cls(redis_client(address, timeout_s=_TIMEOUT_S), tenant)

    async def reserve(self, ask: Ask) -> Grant:
        """Tell the others what `ask` holds, and reserve the slots that it asks for; in one step."""
        words: list[str | float] = [
            ask.worker,
            _NO_CEILING if ask.ceiling_per_s is None else ask.ceiling_per_s,
            ask.slots,
            ask.accepted,
            ask.refused,
            ask.cool_down_s * _US,
            ask.told_per_s or 0,
            int(ask.willing),
            ask.found.rate_per_s,
            _NO_CLIMB if ask.found.climb is None else ask.found.climb,
            ask.expected,
            ABSENT_S * _US,
            ask.answered,
        ]
        try:
            await self._fitness.check()
            return _grant(await self._reserve(keys=self._keys, args=words))
        except (RedisError, OSError) as error:
            self._fitness.doubt()
            raise broker_error(error) from None

    async def leave(self, worker: str) -> None:
        """Say that a worker goes."""
        try:
            await self._leave(keys=self._keys, args=[worker])
        except (RedisError, OSError) as error:
            raise broker_error(error) from None

    def row_count(self, queue: str) -> RedisRowCount:
        """Return what counts the rows of `queue`."""
        return RedisRowCount(self._client, self._fitness, f"{self._prefix}:rows:{queue}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class RedisRowCount:
    """Implements `worker.ports.RowCount` for all workers together.

    Args:
        client: The connections; this does not close them.
        fitness: Whether their Redis keeps what it is given.
        key: Where the count is.
    """

    def __init__(self, client: redis.Redis, fitness: Fitness, key: str) -> None:
        self._fitness = fitness
        self._key = key
        self._count = client.register_script(redis_fleet_scripts.COUNT)

    async def count(self, rows: int, most: int) -> float:
        """Count `rows` and return 0, or return in how many seconds to ask again."""
        try:
            await self._fitness.check()
            return float(await self._count(keys=[self._key], args=[rows, most]))
        except (RedisError, OSError) as error:
            self._fitness.doubt()
            raise broker_error(error) from None


def _grant(answer: list[Any]) -> Grant:
    """Return what the script answers: numbers as text, times in microseconds."""
    at, first, interval, slots, resume, ceiling, force, rate, climb, told, leads, *counts = map(float, answer)
    accepted, refused, workers, present, answered = map(int, counts)
    return Grant(
        at_s=at / _US,
        first_s=first / _US,
        interval_s=interval / _US,
        slots=int(slots),
        resume_s=resume / _US,
        ceiling_per_s=None if ceiling >= _NO_CEILING else ceiling,
        rate_per_s=force,
        found=Found(rate, None if climb == _NO_CLIMB else int(climb)),
        told_per_s=told or None,
        leads=bool(leads),
        accepted=accepted,
        refused=refused,
        workers=workers,
        present=present,
        answered=answered,
    )
