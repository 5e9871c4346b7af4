"""RabbitMQ: durable quorum queues, persistent messages and publisher confirms.

What is taken belongs to the connection it came on, and comes again when that ends. A quorum queue counts how often
that happened; until 4.3 it also counts what was returned on purpose, so giving back is done by publishing anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused

from worker.brokers.address import QueueAddress
from worker.brokers.composed import ComposedWorkQueue
from worker.brokers.fence import Fence
from worker.brokers.rabbitmq_link import Link, again
from worker.brokers.rabbitmq_words import said
from worker.errors import BrokerError
from worker.model import Delivery, Depth

_NO_LIMIT: Final = 2**31 - 1
"""From 4.0 on a quorum queue drops what came 20 times, unless it has a limit; 3.x does not know -1 for none."""
_MOST_AT_ONCE: Final = 4096
_LEASE_S: Final = 20 * 60.0
_TIMEOUT_S: Final = 10.0
_GOODBYE_S: Final = 1.0


class RabbitQueue:
    """One quorum queue. Implements `worker.ports.Queue`.

    It has a connection of its own, because RabbitMQ stops reading from connections that publish when it is short of
    memory: acknowledgements must not wait behind results. Whatever goes wrong on a connection ends it, so that all
    that it held comes again, and the next use makes another. The queue is declared when it is first used; one that
    is there already with other properties is refused, unless this user may not declare any.

    Args:
        server: URL of the broker with its virtual host, password included.
        name: The queue's name.
        consumer: The connection's name, for whoever looks at the broker.
    """

    lease_s = _LEASE_S
    """Well inside the broker's `consumer_timeout`, 30 minutes unless configured; it ends the channel."""
    extends = False
    most_bytes = 16 * 1024 * 1024
    """The broker's `max_message_size` unless configured: 16 MiB from 4.0 on, 128 MiB before."""

    def __init__(self, server: str, name: str, consumer: str) -> None:
        self._server = server
        self._name = name
        self._consumer = consumer
        self._link: Link | None = None
        self._connecting = asyncio.Lock()

    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish messages in their order, each named by an id of its own."""
        if bodies:
            async with self._use() as link:
                await link.publish([aio_pika.Message(body) for body in bodies])

    async def receive(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Take up to `limit` messages, by a consumer that is there for so many, and until the first ones came.

        Nothing is taken ahead: until 4.3 it would count as a try, and others would wait for it.
        """
        async with self._use(wait_s) as link:
            if not link.arrived:
                await link.channel.basic_qos(prefetch_count=min(limit, _MOST_AT_ONCE))
                link.something.clear()
                consuming = await link.channel.basic_consume(link.queue.name, link.take)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await link.something.wait()
                assert consuming.consumer_tag is not None
                await link.channel.basic_cancel(consuming.consumer_tag)
            taken, link.arrived = link.arrived[:limit], link.arrived[limit:]
            return taken

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Do nothing: AMQP has no lease to extend. A delivery is ours while its connection lives.

        The broker ends a channel that holds one longer than its `consumer_timeout`: take what is done by then.
        """

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages for good.

        It is never confirmed: an acknowledgement that is lost with its connection is a stale one, and says nothing.
        """
        if messages := self._ours(deliveries):
            with contextlib.suppress(BrokerError):
                async with self._use() as link:
                    await link.acknowledge(messages)

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have deliveries at once: publishes each anew, at the queue's end, and removes the old one.

        A worker that is killed in between leaves the message twice, under one name.
        """
        if messages := self._ours(deliveries):
            async with self._use() as link:
                await link.publish([again(message) for message in messages])
                await link.acknowledge(messages)

    async def depth(self) -> Depth:
        """Return what nobody has taken, and what was taken here: of other connections AMQP does not tell.

        A queue that has no leader for the moment says that it is empty. So one that says it is asked for a message,
        which only a leader can answer; if there is one, it is received next.
        """
        async with self._use() as link:
            if not await _waiting(link.queue):
                message = await link.channel.basic_get(link.queue.name)
                if message.delivery_tag is not None:
                    await link.take(message)
            ahead = len(link.arrived)
            taken = sum(map(len, link.held.values())) - ahead
            return Depth(await _waiting(link.queue) + ahead, taken)

    async def remove(self) -> None:
        """Remove the queue for good, with what it holds."""
        async with self._use() as link:
            await link.queue.delete(if_unused=False, if_empty=False)
        await self.aclose()  # the next use declares it anew

    async def aclose(self) -> None:
        """Close the connection; what is taken and not acknowledged goes to others at once."""
        if self._link is not None:
            await self._end(self._link)

    def _ours(self, deliveries: Iterable[Delivery]) -> list[DeliveredMessage]:
        """Return what the connection holds of `deliveries`, also if they came on an earlier one; it forgets them."""
        if self._link is None or self._link.channel.is_closed:
            return []
        return [message for each in deliveries for message in self._link.held.pop(each.name, ())]

    @contextlib.asynccontextmanager
    async def _use(self, wait_s: float = 0.0) -> AsyncIterator[Link]:
        """Yield the connection for one request; if that does not end well, or not in time, it is the last one."""
        link = None
        try:
            async with asyncio.timeout(wait_s + _TIMEOUT_S):
                link = await self._connected()
                yield link
        except BaseException as error:
            if link is not None:
                await self._end(link)
            if isinstance(error, CONNECTION_EXCEPTIONS) or _is_of_the_library(error):
                connection = None if link is None else link.channel.connection
                raise BrokerError(f"RabbitMQ cannot be used ({said(error, connection)}).") from None
            raise

    async def _connected(self) -> Link:
        async with self._connecting:
            if self._link is None or self._link.channel.is_closed:
                await self.aclose()
                self._link = await self._connect()
            return self._link

    async def _connect(self) -> Link:
        connection = await aio_pika.connect(
            self._server, client_properties={"connection_name": self._consumer}
        )
        try:
            channel, queue = await self._declare(connection)
        except BaseException:
            await _close(connection)
            raise
        return Link(connection, await channel.get_underlay_channel(), queue)

    async def _declare(self, connection: AbstractConnection) -> tuple[AbstractChannel, AbstractQueue]:
        """Return a channel and the queue, which is made, or compared with what is there.

        A user who may not configure it uses what somebody else has made as it is: AMQP does not tell how it is made.
        """
        channel = await _channel(connection)
        try:
            arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": _NO_LIMIT}
            return channel, await channel.declare_queue(self._name, durable=True, arguments=arguments)
        except ChannelAccessRefused:  # which has ended the channel
            channel = await _channel(connection)
            return channel, await channel.declare_queue(self._name, passive=True)

    async def _end(self, link: Link) -> None:
        if self._link is link:
            self._link = None
        await _close(link.connection)


def rabbit_work_queue(address: QueueAddress, consumer: str, fence: Fence | None) -> ComposedWorkQueue:
    """Return the work queue at `address`; nothing is connected before the first use."""

    def queue(suffix: str) -> RabbitQueue:
        return RabbitQueue(address.server, f"{address.name}{suffix}", consumer)

    def results(reply_to: str) -> RabbitQueue:
        return queue(f".results.{reply_to}" if reply_to else ".results")

    return ComposedWorkQueue(queue(""), results, queue(".dead"), fence)


async def _channel(connection: AbstractConnection) -> AbstractChannel:
    return await connection.channel(publisher_confirms=True, on_return_raises=True)


async def _waiting(queue: AbstractQueue) -> int:
    return (await queue.declare()).message_count or 0


async def _close(connection: AbstractConnection) -> None:
    with contextlib.suppress(*CONNECTION_EXCEPTIONS):
        async with asyncio.timeout(_GOODBYE_S):
            await connection.close()


def _is_of_the_library(error: BaseException) -> bool:
    """Return whether `error` is a cancellation that nobody asked for: so aiormq ends what waits on a lost channel."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()
