"""NATS JetStream: a work-queue stream for each queue, and one durable pull consumer that all workers share.

Field notes: the consumer delivers from the first message; leases are the consumer's `ack_wait`, so all workers of a
queue have to be given the same (the one that came last decides).

JetStream takes an answer from whoever once had the message. This adapter sends none for a lease that has lapsed by
its own clock; it cannot help it when it is stopped between that look and the sending. Then it may remove what
another works on, whose results are confirmed as its own are. Results are recorded more than once whenever two workers
did the same rows: whoever collects them takes the first. Needs nats-server 2.10.

Streams that exist are used as they are, unless they drop what they are given: who wants replicas makes `NAME`,
`NAME-results` and `NAME-dead` beforehand.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType, StreamInfo
from nats.js.errors import NotFoundError

from worker.brokers.address import QueueAddress
from worker.brokers.composed import ComposedWorkQueue
from worker.brokers.fence import Fence
from worker.brokers.leases import Lease, Leases, read_marks
from worker.brokers.nats_fitness import unfit
from worker.brokers.nats_line import TIMEOUT_S, NatsLine
from worker.brokers.nats_pull import NatsPull
from worker.brokers.nats_words import answered
from worker.errors import BrokerUnfitError
from worker.model import Delivery, Depth

_CONSUMER: Final = "bulk-unverify"
_UNLIMITED: Final = -1
_ACKNOWLEDGE: Final = b"+ACK"
_EXTEND: Final = b"+WPI"
_NAME: Final = "Bulk-Unverify-Name"
"""Header: the name of a message that was given back."""
_TRIES: Final = "Bulk-Unverify-Tries"
"""Header: how often it had been delivered in vain by then."""
_SERVERS_OWN: Final = "Nats-"
"""Headers that begin so tell the server something, which is not to be told again."""


class NatsQueue:
    """A stream with its consumer. Implements `worker.ports.Queue`.

    JetStream counts what is given back as one more try, so giving back is done by publishing anew.

    Args:
        line: The connection; the queue does not close it.
        name: Name of the stream, and of the subject that is published to.
        lease_s: Seconds after which a delivery that was not extended goes to another worker.
        clock: Monotonic seconds.
    """

    extends = True

    def __init__(
        self, line: NatsLine, name: str, *, lease_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.line = line
        self.name = name
        self.lease_s = lease_s
        self._leases = Leases(lease_s, clock)
        self._js: JetStreamContext | None = None
        self._joined: Client | None = None
        self._info: StreamInfo | None = None
        """What the stream was like when it was joined."""
        self._pull: NatsPull | None = None

    @property
    def most_bytes(self) -> int:
        """Bytes that one message may have, as far as is known of the server."""
        return self.line.most_bytes

    @answered
    async def check(self) -> None:
        """Find out whether the stream, if it is there, keeps what it is given.

        Raises:
            BrokerUnfitError: It does not.
        """
        js = (await self.line.client()).jetstream(timeout=TIMEOUT_S)
        with contextlib.suppress(NotFoundError):
            self._see(await js.stream_info(self.name))

    @answered
    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish messages in their order; those of one call are confirmed together."""
        await self._send((body, {}) for body in bodies)

    @answered
    async def receive(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Take up to `limit` messages: the first one whenever it comes, with it those that are there already."""
        pull = await self._open_pull()
        now = self._leases.now()
        try:
            messages = await pull.take(limit, self._leases.shortened(min(wait_s, TIMEOUT_S)))
        except BaseException:
            await self.aclose()  # what comes late is not to be taken for what is asked for next
            raise
        return [self._delivery(message, now) for message in messages]

    @answered
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Begin leases anew."""
        leases, now = self._leases.ours(deliveries), self._leases.now()
        await self._answer(leases, _EXTEND)
        self._leases.renew(leases, now)

    @answered
    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages for good.

        JetStream is silent to a delivery that it does not know, as it was killed before that was written down. Such
        a message is delivered again.
        """
        await self._join()
        leases = self._leases.ours(deliveries)
        with contextlib.suppress(TimeoutError):
            await self._answer(leases, _ACKNOWLEDGE)
        self._leases.let_go(leases)

    @answered
    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have deliveries at once: publishes each anew, at the stream's end, and removes the old one.

        A worker that is killed in between leaves the message twice, under one name.
        """
        given = [each for each in deliveries if self._leases.ours([each])]
        await self._send((each.body, _again(each)) for each in given)
        await self.acknowledge(given)

    @answered
    async def depth(self) -> Depth:
        """Return how much the stream holds; what has lapsed counts as taken until somebody takes it."""
        js = await self._join()
        try:
            consumer = await js.consumer_info(self.name, _CONSUMER)
        except NotFoundError:  # nobody has taken anything yet
            return Depth((await js.stream_info(self.name)).state.messages, 0)
        return Depth(consumer.num_pending or 0, consumer.num_ack_pending or 0)

    @answered
    async def remove(self) -> None:
        """Remove the stream for good, with what it holds."""
        js = (await self.line.client()).jetstream(timeout=TIMEOUT_S)
        with contextlib.suppress(NotFoundError):
            await js.delete_stream(self.name)
        await self.forget()

    async def forget(self) -> None:
        """Make stream and consumer anew before they are used again."""
        self._joined = None
        await self.aclose()

    async def aclose(self) -> None:
        """Do no more than take nothing: the connection belongs to whoever made it."""
        pull, self._pull = self._pull, None
        if pull is not None:
            with contextlib.suppress(Error):
                await pull.aclose()

    async def _join(self) -> JetStreamContext:
        """Return JetStream, where the stream exists by now."""
        client = await self.line.client()
        if self._js is None or client is not self._joined:
            js = client.jetstream(timeout=TIMEOUT_S)
            try:
                self._info = await js.stream_info(self.name)
            except NotFoundError:
                self._info = await js.add_stream(
                    name=self.name,
                    subjects=[self.name],
                    retention=RetentionPolicy.WORK_QUEUE,
                    storage=StorageType.FILE,
                )
            self._js, self._joined, self._pull = js, client, None
        return self._js

    async def _open_pull(self) -> NatsPull:
        js = await self._join()
        if self._pull is None:
            consumer = ConsumerConfig(
                name=_CONSUMER, durable_name=_CONSUMER, ack_wait=self.lease_s, max_ack_pending=_UNLIMITED
            )
            await js.add_consumer(self.name, consumer)
            self._pull = await NatsPull.open(await self.line.client(), self.name, _CONSUMER)
        return self._pull

    async def _send(self, messages: Iterable[tuple[bytes, dict[str, str]]]) -> None:
        """Publish messages; not by `publish_async`, which nats-py 2.16 never ends where the server refuses one."""
        js = await self._join()
        assert self._info is not None
        self._see(self._info)
        sent = [
            js.publish(self.name, body, timeout=TIMEOUT_S, stream=self.name, headers=dict(headers))
            for body, headers in messages
        ]
        for answer in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    def _see(self, info: StreamInfo) -> None:
        if trouble := unfit(info.config, self.name):
            raise BrokerUnfitError(f"The NATS stream {self.name} cannot be used: {trouble}.")

    async def _answer(self, leases: Sequence[Lease], word: bytes) -> None:
        """Answer deliveries; JetStream takes answers in their order, so that it has all once it confirms the last."""
        if leases:
            client = await self.line.client()
            for lease in leases[:-1]:
                await client.publish(lease.receipt, word)
            await client.request(leases[-1].receipt, word, timeout=TIMEOUT_S)

    def _delivery(self, message: Msg, now: float) -> Delivery:
        headers, known = message.headers or {}, message.metadata
        # When the message was stored, and its number: a stream that is made anew begins again at 1.
        own_name = f"{known.timestamp.timestamp():.6f}-{known.sequence.stream}"
        name, tries = read_marks(own_name, headers.get(_NAME, ""), headers.get(_TRIES, ""))
        kept = {word: text for word, text in headers.items() if not word.startswith(_SERVERS_OWN)}
        lease = self._leases.take(name, message.reply, now, kept)
        return Delivery(name, message.data, known.num_delivered + tries, lease)


def _again(delivery: Delivery) -> dict[str, str]:
    """Return the headers of a copy: what it had, its name, and its tries but for this one."""
    lease = delivery.receipt
    assert isinstance(lease, Lease)
    return {**lease.kept, _NAME: delivery.name, _TRIES: str(delivery.times - 1)}


def nats_work_queue(address: QueueAddress, fence: Fence | None, *, lease_s: float) -> ComposedWorkQueue:
    """Return the work queue at `address`; nothing is connected before the first use."""
    line = NatsLine(address.server)

    def queue(suffix: str) -> NatsQueue:
        return NatsQueue(line, f"{address.name}{suffix}", lease_s=lease_s)

    def results(reply_to: str) -> NatsQueue:
        return queue(f"-results-{reply_to}" if reply_to else "-results")

    work, dead = queue(""), queue("-dead")

    async def check() -> None:
        for each in (work, queue("-results"), dead):
            await each.check()

    return ComposedWorkQueue(work, results, dead, fence, line.aclose, check)
