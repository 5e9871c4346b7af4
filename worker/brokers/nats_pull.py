"""Messages of a JetStream consumer, asked for a few at a time; each request is followed to its end.

The library's `fetch` gives up at its time-out. What was on its way then is handed out the next time, which may be
when its lease is over and another has it. Source: NATS' ADR-13, "Pull Subscribe internals".
"""

from __future__ import annotations

import json
from typing import Final, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.errors import APIError

_NS: Final = 1_000_000_000
_LATE_S: Final = 5.0
"""How much later than its time the end of a request may come."""
_ENDS: Final = ("404", "408")
"""Nothing is there, or nothing came in time."""


class NatsPull:
    """Takes messages of one consumer on one connection.

    Args:
        client: The connection.
        next_of: Subject that messages are asked for on.
        arrivals: Where they come in.
    """

    def __init__(self, client: Client, next_of: str, arrivals: Subscription) -> None:
        self._client = client
        self._next_of = next_of
        self._arrivals = arrivals

    @classmethod
    async def open(cls, client: Client, stream: str, consumer: str) -> Self:
        """Return what takes messages of `consumer`, which is there."""
        arrivals = await client.subscribe(client.new_inbox(), pending_bytes_limit=0)
        return cls(client, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", arrivals)

    async def take(self, limit: int, wait_s: float) -> list[Msg]:
        """Take up to `limit` messages: the first one whenever it comes, with it those that are there already.

        Raises:
            nats.errors.Error: The request did not end well, or not in time: what came of it is lost with this, and
                comes again.
        """
        messages = await self._ask(1, wait_s, expires=int(wait_s * _NS))
        if messages and limit > 1:
            messages += await self._ask(limit - 1, 0.0, no_wait=True)
        return messages

    async def _ask(self, count: int, wait_s: float, **how: int) -> list[Msg]:
        request = json.dumps({"batch": count, **how}).encode()
        await self._client.publish(self._next_of, request, reply=self._arrivals.subject)
        messages: list[Msg] = []
        while len(messages) < count:
            message = await self._arrivals.next_msg(wait_s + _LATE_S)
            status = (message.headers or {}).get("Status")
            if status is None:
                messages.append(message)
            elif status in _ENDS or messages or "no_wait" in how:
                break  # what else is wrong, the next request for the first one is told
            else:
                raise APIError.from_msg(message)
        return messages

    async def aclose(self) -> None:
        """Take no more; what comes late comes again."""
        await self._arrivals.unsubscribe()
