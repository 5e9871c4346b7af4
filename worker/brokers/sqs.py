"""Amazon SQS: a standard queue each for the work, its results and its dead letters.

SQS delivers at least once, in any order, and its counts are approximate. Leases are visibility timeouts, in whole
seconds, of 12 hours at most since the message was taken. Quotas and behaviour are those of the developer guide's
"Amazon SQS message quotas" and "visibility timeout".

An answer with an old receipt may be taken although the message went to another. This adapter sends none for a lease
that has lapsed by its own clock. Results are recorded more than once whenever two workers did the same rows: whoever
collects them takes the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from worker.brokers.address import QueueAddress
from worker.brokers.composed import ComposedWorkQueue
from worker.brokers.fence import Fence
from worker.brokers.leases import Lease, Leases
from worker.brokers.sqs_line import QueueMissingError, SqsLine, all_of
from worker.brokers.sqs_messages import (
    AT_ONCE,
    MOST_BYTES,
    Entry,
    again,
    batches,
    entry,
    results_suffix,
    tries_of,
)
from worker.errors import BrokerError
from worker.model import Delivery, Depth

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.type_defs import MessageTypeDef

_LONGEST_LEASE_S: Final = 12 * 3600 - 1
_LONGEST_POLL_S: Final = 20
_MORE_BATCHES: Final = 7
"""Batches that are asked for at once when the first one was full."""
_SENDINGS: Final = 3
"""How often what a batch left out is sent: to send the whole again would double the rest of it."""
_LOOKS: Final = 3
_LOOK_AGAIN_S: Final = 0.3
_COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


class SqsQueue:
    """One queue. Implements `worker.ports.Queue`. It is made when it is first used, unless it is there.

    SQS counts what is given back as one more try, so giving back is done by sending anew.

    Args:
        line: The client; the queue does not close it.
        name: The queue's name.
        lease_s: Seconds after which a delivery that was not extended goes to another worker, rounded up.
        clock: Monotonic seconds.
    """

    extends = True
    most_bytes = MOST_BYTES

    def __init__(
        self, line: SqsLine, name: str, *, lease_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._line = line
        self._name = name
        self._whole_s = min(max(1, math.ceil(lease_s)), _LONGEST_LEASE_S)
        self.lease_s = float(self._whole_s)
        self._leases = Leases(self.lease_s, clock)
        self._url = ""

    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Send messages, in batches; SQS keeps no order."""
        await self._send([entry(body, {}) for body in bodies])

    async def receive(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Take up to `limit` messages. SQS waits whole seconds: less is waited here, after a look."""
        poll_s = int(self._leases.shortened(min(wait_s, _LONGEST_POLL_S)))
        taken = await self._take(min(limit, AT_ONCE), poll_s)
        if not taken and not poll_s:
            await asyncio.sleep(wait_s)
        if len(taken) == AT_ONCE < limit:
            sizes = [min(AT_ONCE, limit - done) for done in range(AT_ONCE, limit, AT_ONCE)]
            more = await all_of(self._take_more(size) for size in sizes[:_MORE_BATCHES])
            taken += [delivery for part in more for delivery in part]
        return list({delivery.name: delivery for delivery in taken}.values())

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Begin leases anew, but for those that would last longer than 12 hours in all then."""
        now = self._leases.now()
        last = now + self._whole_s - _LONGEST_LEASE_S
        leases = [lease for lease in self._leases.ours(deliveries) if lease.taken_at > last]
        self._leases.renew(await self._change(leases, self._whole_s), now)

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages for good."""
        leases = self._leases.ours(deliveries)

        async def remove(client: SQSClient, some: Sequence[Lease]) -> Any:
            receipts: Any = [
                {"Id": str(place), "ReceiptHandle": each.receipt} for place, each in enumerate(some)
            ]
            return await client.delete_message_batch(QueueUrl=self._url, Entries=receipts)

        await self._in_batches(leases, remove)
        self._leases.let_go(leases)

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have deliveries at once: sends each anew and removes the old one.

        A worker that is killed in between leaves the message twice, under one name. What is too large for a second
        sending, by what it is marked with, is only let go of, which counts as a try.
        """
        given = [each for each in deliveries if self._leases.ours([each])]
        copies = {each.name: again(each) for each in given}
        await self._send([copy for copy in copies.values() if copy is not None])
        await self.acknowledge([each for each in given if copies[each.name] is not None])
        rest = self._leases.ours(given)
        await self._change(rest, 0)
        self._leases.let_go(rest)

    async def depth(self) -> Depth:
        """Return how much the queue holds, by counts that are approximate: nothing is believed at the third look."""
        for look in range(_LOOKS):
            if look:
                await asyncio.sleep(_LOOK_AGAIN_S)
            depth = await self._look()
            if depth.waiting or depth.taken:
                return depth
        return Depth(0, 0)

    async def remove(self) -> None:
        """Remove the queue for good, with what it holds; SQS lets it be made again after a minute."""
        with contextlib.suppress(QueueMissingError):
            async with self._line.asking() as client:
                url = await client.get_queue_url(QueueName=self._name)
                await client.delete_queue(QueueUrl=url["QueueUrl"])
        self._url = ""

    async def aclose(self) -> None:
        """Do nothing: the connections belong to whoever made them."""

    async def _ask(self, what: Callable[[SQSClient], Awaitable[Any]], wait_s: float = 0.0) -> Any:
        """Return the answer to a request about the queue, which is there by then."""
        try:
            async with self._line.requests, self._line.asking(wait_s) as client:
                await self._find(client)
                return await what(client)
        except QueueMissingError:
            self._url = ""
            raise

    async def _find(self, client: SQSClient) -> None:
        if self._url:
            return
        try:
            found = await client.get_queue_url(QueueName=self._name)
        except client.exceptions.QueueDoesNotExist:
            timeout: Any = {"VisibilityTimeout": str(self._whole_s)}
            made = await client.create_queue(QueueName=self._name, Attributes=timeout)
            self._url = made["QueueUrl"]
        else:
            self._url = found["QueueUrl"]

    async def _take(self, limit: int, wait_s: int) -> list[Delivery]:
        async def receive(client: SQSClient) -> tuple[float, Any]:
            # Not before: the first request has to make its client, for a second.
            asked_at = self._leases.now()
            return asked_at, await client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=limit,
                VisibilityTimeout=self._whole_s,
                WaitTimeSeconds=wait_s,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )

        asked_at, answer = await self._ask(receive, wait_s)
        return [self._delivery(message, asked_at) for message in answer.get("Messages", ())]

    async def _take_more(self, limit: int) -> list[Delivery]:
        """Take messages beside others, which are not given up for a trouble that the next request will tell of."""
        try:
            return await self._take(limit, 0)
        except BrokerError:
            return []

    def _delivery(self, message: MessageTypeDef, asked_at: float) -> Delivery:
        attributes = message.get("MessageAttributes", {})
        name, tries, kept = tries_of(message["MessageId"], attributes)
        times = int(message["Attributes"]["ApproximateReceiveCount"]) + tries
        lease = self._leases.take(name, message["ReceiptHandle"], asked_at, kept)
        return Delivery(name, message["Body"].encode(), times, lease)

    async def _look(self) -> Depth:
        answer = await self._ask(
            lambda client: client.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(_COUNTS))
        )
        waiting, delayed, taken = (int(answer["Attributes"].get(count, 0)) for count in _COUNTS)
        return Depth(waiting + delayed, taken)

    async def _send(self, entries: Sequence[Entry]) -> None:
        async def send(some: Sequence[Entry]) -> None:
            failed: list[Any] = []
            for _ in range(_SENDINGS):
                failed = await self._send_batch(some)
                if not failed:
                    return
                some = [some[int(each["Id"])] for each in failed]
            raise BrokerError(f"SQS did not take {len(failed)} messages ({failed[0]['Code']}).")

        await all_of(send(some) for some in batches(entries))

    async def _send_batch(self, entries: Sequence[Entry]) -> list[Any]:
        """Send messages, and return what SQS says of those that it did not take."""
        numbered: Any = [{"Id": str(place), **each.sent} for place, each in enumerate(entries)]
        answer = await self._ask(
            lambda client: client.send_message_batch(QueueUrl=self._url, Entries=numbered)
        )
        failed: list[Any] = answer.get("Failed", [])
        return failed

    async def _change(self, leases: Sequence[Lease], seconds: int) -> list[Lease]:
        """Let leases last for so long from now on; return those that do."""

        async def change(client: SQSClient, some: Sequence[Lease]) -> Any:
            changes: Any = [
                {"Id": str(place), "ReceiptHandle": each.receipt, "VisibilityTimeout": seconds}
                for place, each in enumerate(some)
            ]
            return await client.change_message_visibility_batch(QueueUrl=self._url, Entries=changes)

        return await self._in_batches(leases, change)

    async def _in_batches(
        self,
        leases: Sequence[Lease],
        ask: Callable[[SQSClient, Sequence[Lease]], Awaitable[Mapping[str, Any]]],
    ) -> list[Lease]:
        """Ask for all leases; return those that it was done for. The others are stale.

        Raises:
            BrokerError: It was the service's fault that something was not done.
        """

        async def part(some: Sequence[Lease]) -> list[Lease]:
            answer = await self._ask(lambda client: ask(client, some))
            failed = answer.get("Failed", [])
            if faults := [each["Code"] for each in failed if not each["SenderFault"]]:
                raise BrokerError(f"SQS cannot be used ({faults[0]}).")
            stale = {int(each["Id"]) for each in failed}
            return [lease for place, lease in enumerate(some) if place not in stale]

        parts = [leases[start : start + AT_ONCE] for start in range(0, len(leases), AT_ONCE)]
        return [lease for done in await all_of(map(part, parts)) for lease in done]


def sqs_work_queue(address: QueueAddress, fence: Fence | None, *, lease_s: float) -> ComposedWorkQueue:
    """Return the work queue at `address`; nothing is connected before the first use."""
    line = SqsLine(address.server)

    def queue(suffix: str) -> SqsQueue:
        return SqsQueue(line, f"{address.name}{suffix}", lease_s=lease_s)

    def results(reply_to: str) -> SqsQueue:
        return queue(results_suffix(address.name, reply_to))

    return ComposedWorkQueue(queue(""), results, queue("-dead"), fence, line.aclose)
