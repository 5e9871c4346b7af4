"""Redis Streams: a consumer group per stream, leases by idle time, and one script that records and acknowledges.

Field notes: the group begins at 0, so that what was published before the first worker existed is worked on; the
dead are taken over with XAUTOCLAIM; Redis' own clock decides. Needs Redis 7.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import msgspec
import redis.asyncio as redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from worker.brokers import redis_scripts
from worker.brokers.address import QueueAddress
from worker.brokers.redis_client import broker_error, redis_client
from worker.brokers.redis_fence import REMEMBERED_S, ROWS_EACH, remembered
from worker.brokers.redis_fitness import check_fitness
from worker.model import Delivery, Depth, Settlement

Q = TypeVar("Q", bound="RedisQueue")
P = ParamSpec("P")
R = TypeVar("R")

_GROUP: Final = "bulk-unverify"
_NOBODY: Final = "given-back"
"""The consumer that owns what was given back, until somebody takes it over."""
_FIELD: Final = b"message"
_LOOK_FOR_DEAD_S: Final = 1.0
_MS: Final = 1000
_TIMEOUT_S: Final = 10.0
_pack: Final = msgspec.msgpack.Encoder().encode


def _answered(
    method: Callable[Concatenate[Q, P], Awaitable[R]],
) -> Callable[Concatenate[Q, P], Coroutine[Any, Any, R]]:
    """See to it that the group is there, and turn what Redis raises into a sentence."""

    @functools.wraps(method)
    async def wrapped(queue: Q, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            await queue.join()
            return await method(queue, *args, **kwargs)
        except (RedisError, OSError) as error:
            queue.grouped = False
            raise broker_error(error) from None

    return wrapped


class RedisQueue:
    """One stream with its group. Implements `worker.ports.Queue`.

    Args:
        client: The connections; the queue does not close them.
        stream: Key of the stream.
        consumer: This worker's name within the group, of this process alone.
        lease_s: Seconds after which a delivery that was not extended goes to another worker.
        clock: Monotonic seconds.
    """

    extends = True
    keeps = False
    """Whether what is published here is lost to somebody if Redis throws it away."""
    most_bytes = 512 * 1024 * 1024
    """The server's `proto-max-bulk-len` unless configured."""

    def __init__(
        self,
        client: redis.Redis,
        stream: str,
        consumer: str,
        *,
        lease_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self.stream = stream
        self.consumer = consumer
        self.lease_s = lease_s
        self._clock = clock
        self.grouped = False
        """Whether the group is known to be there; after an error it may be gone with the memory of a broker."""
        self._looked_at = -_LOOK_FOR_DEAD_S
        self._acknowledge = client.register_script(redis_scripts.ACKNOWLEDGE)
        self._hold = client.register_script(redis_scripts.HOLD)
        self._join = client.register_script(redis_scripts.JOIN)
        self._depth = client.register_script(redis_scripts.DEPTH)

    @_answered
    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish messages in their order."""
        async with self._client.pipeline(transaction=True) as pipeline:
            for body in bodies:
                pipeline.xadd(self.stream, {_FIELD: body})
            await pipeline.execute()

    @_answered
    async def receive(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Take up to `limit` messages, first those whose worker died or gave them back."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_FOR_DEAD_S:
            taken_over = await self._take_over(limit)
            if taken_over:  # there may be more of them: look again at once
                return taken_over
            self._looked_at = now
        read: Any = await self._client.xreadgroup(  # its type says what it is for every protocol at once
            _GROUP, self.consumer, {self.stream: ">"}, count=limit, block=max(1, int(wait_s * _MS))
        )
        return [Delivery(name.decode(), _body(fields)) for _, entries in read for name, fields in entries]

    @_answered
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Begin leases anew."""
        await self._claim(deliveries, self.consumer, idle_ms=0, count=0)

    @_answered
    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages for good."""
        if deliveries:
            names = [delivery.name for delivery in deliveries]
            await self._acknowledge(keys=[self.stream], args=[_GROUP, self.consumer, *names])

    @_answered
    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have deliveries at once."""
        await self._claim(deliveries, _NOBODY, idle_ms=int(self.lease_s * _MS), count=-1)

    @_answered
    async def depth(self) -> Depth:
        """Return how much the stream holds: what is acknowledged is deleted, what is given back waits."""
        length, (pending, _, _, owners) = await self._depth(keys=[self.stream], args=[_GROUP])
        owned = {name: int(count) for name, count in owners or ()}
        taken = pending - owned.get(_NOBODY.encode(), 0)
        return Depth(max(0, length - taken), taken)

    @_answered
    async def remove(self) -> None:
        """Remove the stream for good, with what it holds."""
        await self._client.delete(self.stream)
        self.grouped = False

    async def aclose(self) -> None:
        """Do nothing: the connections belong to whoever made them."""

    async def join(self) -> None:
        """Make the stream and its group, unless they are there."""
        if self.grouped:
            return
        await check_fitness(self._client, keeps=self.keeps)
        try:
            await self._make_group()
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self.grouped = True

    async def _make_group(self) -> None:
        try:
            await self._client.xgroup_create(self.stream, _GROUP, id="0", mkstream=True)
        except OutOfMemoryError:
            await self._join(keys=[self.stream], args=[_GROUP])

    async def _take_over(self, limit: int) -> list[Delivery]:
        """Return up to `limit` messages whose lease has ended, from all that are taken."""
        cursor = b"0-0"
        entries: list[tuple[bytes, dict[bytes, bytes]]] = []
        while not entries:  # a call looks at ten times `limit` of them, and says where it stopped
            cursor, entries, _ = await self._client.xautoclaim(
                self.stream, _GROUP, self.consumer, int(self.lease_s * _MS), start_id=cursor, count=limit
            )
            if cursor == b"0-0":
                break
        if not entries:
            return []
        async with self._client.pipeline(transaction=False) as pipeline:
            for name, _ in entries:
                pipeline.xpending_range(self.stream, _GROUP, name, name, 1)
            pending = await pipeline.execute()
        return [
            Delivery(name.decode(), _body(fields), times=known[0]["times_delivered"])
            for (name, fields), known in zip(entries, pending, strict=True)
            if known
        ]

    async def _claim(self, deliveries: Sequence[Delivery], owner: str, *, idle_ms: int, count: int) -> None:
        if deliveries:
            pairs = [text for each in deliveries for text in (each.name, max(0, each.times + count))]
            await self._hold(keys=[self.stream], args=[_GROUP, self.consumer, owner, idle_ms, *pairs])


class RedisWorkQueue(RedisQueue):
    """The stream of the work, with its results and dead letters in one Redis. Implements `worker.ports.WorkQueue`."""

    keeps = True

    def __init__(self, client: redis.Redis, name: str, consumer: str, *, lease_s: float) -> None:
        super().__init__(client, name, consumer, lease_s=lease_s)
        tag = name if "{" in name else f"{{{name}}}"  # one slot of a cluster for all its keys
        self._results = f"{tag}.results"
        self.dead = RedisQueue(client, f"{tag}.dead", consumer, lease_s=lease_s)
        self._fence = f"{tag}.fence."
        self._settle = client.register_script(redis_scripts.SETTLE)
        self._bury = client.register_script(redis_scripts.BURY)

    @classmethod
    def connect(cls, address: QueueAddress, consumer: str, *, lease_s: float) -> Self:
        """Return the queue at `address`; nothing is connected before the first use."""
        client = redis_client(address, timeout_s=_TIMEOUT_S)
        return cls(client, address.name, consumer, lease_s=lease_s)

    def results(self, reply_to: str = "") -> RedisQueue:
        """Return the stream that outcomes go to."""
        return RedisQueue(self._client, self._results_of(reply_to), self.consumer, lease_s=self.lease_s)

    def _results_of(self, reply_to: str) -> str:
        return f"{self._results}.{reply_to}" if reply_to else self._results

    @_answered
    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which rows have an outcome, as the fence remembers for seven days."""
        return await remembered(self._client, self._fence, rows)

    @_answered
    async def settle(self, settlements: Sequence[Settlement]) -> AbstractSet[str]:
        """Record outcomes and acknowledge what is complete, in one script: all of it happens, or nothing."""
        keys = {self.stream: 1}
        messages = []
        for each in settlements:
            key = keys.setdefault(self._results_of(each.reply_to), len(keys) + 1)
            rows = [(finding.batch, finding.index) for finding in each.findings]
            messages.append((each.delivery.name, each.complete, each.fenced, key, rows))
        bodies = [finding.body for each in settlements for finding in each.findings]
        fence = (REMEMBERED_S, self._fence, ROWS_EACH)
        words: list[Any] = [_GROUP, self.consumer, *fence, _pack(messages), *bodies]
        lost: list[bytes] = await self._settle(keys=list(keys), args=words)
        return {name.decode() for name in lost}

    @_answered
    async def bury(self, delivery: Delivery, letter: bytes) -> None:
        """Put `letter` into the dead letters and remove the message it tells of."""
        await self._bury(
            keys=[self.stream, self.dead.stream], args=[_GROUP, self.consumer, delivery.name, letter]
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _body(fields: Mapping[bytes, bytes]) -> bytes:
    """Return the message; of an entry without that field, all that it has, so that its dead letter shows it."""
    return fields.get(_FIELD) or b" ".join(part for pair in fields.items() for part in pair)
