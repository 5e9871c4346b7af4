"""One connection to RabbitMQ with its channel: what came on it, what is written to it, and what a message is.

Messages come and go by the channel of aiormq, on which aio-pika builds: its own objects and tasks for each one that
comes cost a fifth of a row.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractQueue
from aiormq.abc import AbstractChannel, DeliveredMessage

from worker.model import Delivery

_RETURNS: Final = "x-delivery-count"
_DIGITS: Final = 16
"""Of a digest, beside an id."""
_TRIES: Final = "x-bulk-unverify-tries"
"""How often a message had been delivered in vain when it was last given back."""


@dataclasses.dataclass(slots=True)
class Link:
    """A connection with its channel, and what came on it."""

    connection: AbstractConnection
    channel: AbstractChannel
    queue: AbstractQueue
    held: dict[str, list[DeliveredMessage]] = dataclasses.field(default_factory=dict)
    """By name; a message that was published twice may be here twice."""
    arrived: list[Delivery] = dataclasses.field(default_factory=list)
    """What nobody has received yet."""
    something: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    unacknowledged: set[int] = dataclasses.field(default_factory=set)
    """Delivery tags of what came and is not acknowledged: held, or about to be given back."""
    acknowledging: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    async def take(self, message: DeliveredMessage) -> None:
        """Keep what the broker delivers."""
        delivery = delivery_of(message)
        self.held.setdefault(delivery.name, []).append(message)
        self.unacknowledged.add(_tag(message))
        self.arrived.append(delivery)
        self.something.set()

    async def acknowledge(self, messages: Sequence[DeliveredMessage]) -> None:
        """Acknowledge messages: those that came before all that are not acknowledged, in one go.

        A quorum queue's channel applies 32 acknowledgements at a time, and what it has not applied when its
        connection ends is delivered again. Only one caller at a time, so that no message is acknowledged twice: the
        broker would end the channel.
        """
        async with self.acknowledging:
            channel = messages[0].channel
            tags = sorted(map(_tag, messages))
            self.unacknowledged.difference_update(tags)
            first_open = min(self.unacknowledged, default=math.inf)
            before = [tag for tag in tags if tag < first_open]
            if before:
                await channel.basic_ack(before[-1], multiple=True)
            for tag in tags[len(before) :]:
                await channel.basic_ack(tag, wait=tag == tags[-1])

    async def publish(self, messages: Iterable[aio_pika.Message]) -> None:
        """Publish messages, and wait for the broker to confirm them.

        Not through an exchange of aio-pika: it writes the next message only when the last one is on its way, two
        turns of the event loop later, and those are long while calls are made.
        """
        channel: Any = self.channel  # its abstract class knows of no `wait`
        for message in messages:
            message.delivery_mode = aio_pika.DeliveryMode.PERSISTENT
        await asyncio.gather(
            *(
                channel.basic_publish(
                    message.body,
                    routing_key=self.queue.name,
                    properties=message.properties,
                    mandatory=True,
                    wait=False,
                )
                for message in messages
            )
        )


def delivery_of(message: DeliveredMessage) -> Delivery:
    """Return the message under its id and its digest: producers may use an id twice, or none."""
    properties = message.header.properties
    digest = hashlib.sha256(message.body).hexdigest()
    has_id = properties.message_id not in (None, "", digest)
    name = f"{properties.message_id}.{digest[:_DIGITS]}" if has_id else digest
    headers = properties.headers or {}
    return Delivery(name, message.body, 1 + _count(headers, _RETURNS) + _count(headers, _TRIES))


def again(message: DeliveredMessage) -> aio_pika.Message:
    """Return a copy that has the name, and the tries but for this one."""
    delivery = delivery_of(message)
    headers = dict(message.header.properties.headers or {})
    headers.pop(_RETURNS, None)
    headers[_TRIES] = delivery.times - 1
    given = message.header.properties.message_id
    return aio_pika.Message(delivery.body, headers=headers, message_id=given or delivery.name)


def _tag(message: DeliveredMessage) -> int:
    assert message.delivery_tag is not None
    return message.delivery_tag


def _count(headers: Mapping[str, object], header: str) -> int:
    count = headers.get(header)
    return count if isinstance(count, int) else 0
