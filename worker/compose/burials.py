"""The dead letters of a queue: to be read, and to be sent again once the cause is gone."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from worker.brokers import QueueAddress, open_queue
from worker.model import Delivery
from worker.ports import WorkQueue
from worker.queueing import DeadLetter, letter_of

_AT_ONCE: Final = 100
_WAIT_S: Final = 0.5


async def dead_letters(
    address: QueueAddress, tell: Callable[[DeadLetter], None], *, requeue: bool, limit: int | None
) -> int:
    """Tell of each dead letter, and with `requeue` put its message back into the queue; return how many were.

    Without `requeue` they stay where they are, and so do those that do not hold all that the producer sent.

    Raises:
        BrokerError: The broker is lost. A message may be in the queue and in the dead letters then.
    """
    name = f"dead-letters-{secrets.token_hex(4)}"
    back = 0
    async with contextlib.aclosing(open_queue(address, name)) as queue:
        held: list[Delivery] = []
        depth = await queue.dead.depth()
        # Some brokers count what somebody took and was killed with as taken, until it is taken again.
        left = depth.waiting + depth.taken if limit is None else limit
        try:
            while left and (deliveries := await queue.dead.receive(min(left, _AT_ONCE), _WAIT_S)):
                left -= len(deliveries)
                held += deliveries
                letters = [letter_of(delivery) for delivery in deliveries]
                for letter in letters:
                    tell(letter)
                if requeue:
                    done = await _put_back(queue, deliveries, letters)
                    held = [delivery for delivery in held if delivery not in done]
                    back += len(done)
        finally:
            await queue.dead.give_back(held)
    return back


async def _put_back(
    queue: WorkQueue, deliveries: Sequence[Delivery], letters: Sequence[DeadLetter]
) -> list[Delivery]:
    """Publish the messages of whole letters, then remove these; return them."""
    whole = [(delivery, letter) for delivery, letter in zip(deliveries, letters, strict=True) if letter.whole]
    done = [delivery for delivery, _ in whole]
    await queue.publish([letter.body.encode() for _, letter in whole])
    await queue.dead.acknowledge(done)
    return done
