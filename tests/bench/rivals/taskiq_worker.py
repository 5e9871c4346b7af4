"""What a user of taskiq writes. `taskiq_worker.py FILE ROWS` publishes; `taskiq worker taskiq_worker:broker` works.

Tuned: a list, which is the fastest of its brokers on Redis (and loses what a killed worker had); uvloop, which it
uses where it is installed; no results.
"""

from __future__ import annotations

import asyncio
import itertools

import aiohttp
from backlog import HEADERS, REDIS, backlog, url_of
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import ListQueueBroker

broker = ListQueueBroker(REDIS)
sessions: list[aiohttp.ClientSession] = []


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(_: TaskiqState) -> None:
    sessions.append(aiohttp.ClientSession(headers=HEADERS))


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def stop(_: TaskiqState) -> None:
    await sessions.pop().close()


@broker.task(task_name="unverify")
async def unverify(user_id: str, identifier_id: str) -> None:
    async with sessions[0].post(url_of(user_id, identifier_id)) as reply:
        reply.raise_for_status()
        await reply.json()


async def publish() -> None:
    await broker.startup()
    pairs = backlog()
    while group := list(itertools.islice(pairs, 500)):
        await asyncio.gather(*(unverify.kiq(*pair) for pair in group))


if __name__ == "__main__":
    asyncio.run(publish())
