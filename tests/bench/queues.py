"""Rows a second of one worker from a broker: beside other task queues on the same Redis, and beside a local run.

Each worker process is held on one core; the broker and the tenant share the other. What is to be done is published
before, and what counts is the time from the first call to the last one, as the tenant saw them.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import csv
import dataclasses
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import redis
from batches import write_batch
from figures import Figure, at_least, spread
from processes import CLIENT_CORE, HERE, SERVER_CORE, BenchError, Server, script, serving
from product import Product
from rivals import RIVALS, Rival

from worker.brokers import QueueAddress, open_queue
from worker.queueing import Heading, ParsedRow, compose

sys.path.append(str(HERE.parent))
from brokers.servers import NatsServer, RabbitServer, RedisServer, SqsServer

_CALLS_AT_ONCE: Final = 64
_ROWS: Final = 60_000
_QUICK_SHARE: Final = 6
_LARGE: Final = 100
_SIZES: Final = (1, _LARGE)
"""Rows of a message."""
_PUBLISHED_AT_ONCE: Final = 500
_SQS: Final = "sqs"
_FEWER: Final = 10
"""Times fewer rows from SQS: its stand-in answers one request at a time."""
_MOTO: Final = "; Moto, not Amazon: it is the stand-in that is slow"
_SPEED: Final = ("--rate", "unlimited", "--concurrency", _CALLS_AT_ONCE)


class _Broker(Protocol):
    """A broker of the bench's own."""

    port: int

    def url(self, queue: str, /) -> str:
        """Return the URL of a queue on it."""

    def close(self) -> None:
        """End it."""


class _Stage:
    """What takes turns: `per_s` of each thing that is measured, by its name.

    Args:
        folder: Where everything is made.
        quick: Fewer rows.
    """

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self._folder = folder
        self._share = _QUICK_SHARE if quick else 1
        self.rows = _ROWS // self._share
        self._file = folder / "batch.csv"
        self._turns = 0
        write_batch(self._file, self.rows)
        with self._file.open(newline="", encoding="utf-8") as lines:
            self._pairs = [(row[0], row[1]) for row in csv.reader(lines)][1:]

    def local(self) -> float:
        """Return the rows a second of `run`, calls alone."""
        with self._tenant() as (tenant, product):
            run = product.run(self._file, *_SPEED, core=CLIENT_CORE)
            return _rate(tenant, self.rows, run.summary["outcomes"])

    def rival(self, rival: Rival, redis_port: int) -> float:
        """Return the rows a second of a task queue."""
        with self._tenant() as (tenant, _):
            return rival.per_s(rival.rows // self._share, self._file, tenant, redis_port, _CALLS_AT_ONCE)

    def worker(self, broker: _Broker, rows_per_message: int, rows: int) -> float:
        """Return the rows a second of `work`, from a queue of its own with so many of the rows."""
        with self._tenant() as (tenant, product):
            url = broker.url(f"bench-{self._turns}")
            asyncio.run(_publish(url, self._messages(self._pairs[:rows], rows_per_message)))
            done = product.work(url, *_SPEED, core=CLIENT_CORE)
            asyncio.run(_remove(url))
            return _rate(tenant, rows, done.figures()["outcomes"])

    @contextlib.contextmanager
    def _tenant(self) -> Iterator[tuple[Server, Product]]:
        self._turns += 1
        with serving(script("fast_tenant.py"), SERVER_CORE) as server:
            runs = self._folder / f"runs-{self._turns}"
            yield server, Product(runs, f"http://127.0.0.1:{server.port}")

    def _messages(self, pairs: Sequence[tuple[str, str]], rows_per_message: int) -> list[bytes]:
        if rows_per_message == 1:  # as a producer would write it who knows of no batches
            return [json.dumps({"user_id": user, "identifier_id": email}).encode() for user, email in pairs]
        rows = [ParsedRow(index, *pair) for index, pair in enumerate(pairs)]
        heading = Heading(f"bench-{self._turns}", len(rows))
        return [
            compose(rows[first : first + rows_per_message], heading)
            for first in range(0, len(rows), rows_per_message)
        ]


def measure(folder: Path, *, quick: bool, rounds: int) -> list[Figure]:
    """Return the figures of each broker and of each rival, all of them taken in turns."""
    os.environ.update(SqsServer.login)
    stage = _Stage(folder, quick=quick)
    found: dict[str, list[float]] = collections.defaultdict(list)
    with contextlib.ExitStack() as running:
        brokers = {
            name: running.enter_context(_running(kind, folder / name)) for name, kind in _BROKERS.items()
        }
        redis_port = brokers["redis"].port
        for _ in range(rounds):
            found["run"].append(stage.local())
            for rival in RIVALS:
                found[rival.name].append(stage.rival(rival, redis_port))
            for name, broker in brokers.items():
                for size in _SIZES:
                    found[f"{name} {size}"].append(stage.worker(broker, size, _rows(name, stage)))
    return [*_figures(found, stage), *(_of_rival(each, found[each.name]) for each in RIVALS)]


def _rows(broker: str, stage: _Stage) -> int:
    return stage.rows // (_FEWER if broker == _SQS else 1)


def _figures(found: Mapping[str, list[float]], stage: _Stage) -> list[Figure]:
    """Return both ratios of each broker; there is no target where the broker is not the real one."""
    fastest = max(RIVALS, key=lambda each: statistics.median(found[each.name])).name
    figures = []
    for broker in _BROKERS:
        for size, against, target in ((1, fastest, 3.0), (_LARGE, "run", 0.8)):
            ours, theirs = found[f"{broker} {size}"], found[against]
            ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
            rows = _rows(broker, stage)
            what = f"{broker}, messages of {size}: work / {against}, rows/s, {rows:,} rows"
            notes = (
                f"work {statistics.median(ours):,.0f} rows/s, {against} {statistics.median(theirs):,.0f}; "
                f"{spread(ratios)}{_MOTO if broker == _SQS else ''}"
            )
            figure = at_least("queues", what, statistics.median(ratios), target, notes)
            if broker == _SQS:
                figure = dataclasses.replace(figure, target="-", passed=None)
            figures.append(figure)
    return figures


def _of_rival(rival: Rival, per_s: list[float]) -> Figure:
    """Return what is told of a rival: it has no target."""
    notes = f"{rival.versions()}; {spread(per_s, 0)}"
    return Figure(
        "queues", f"{rival.name}, one call a message", "-", f"{statistics.median(per_s):,.0f}/s", None, notes
    )


def _rate(tenant: Server, rows: int, outcomes: dict[str, int]) -> float:
    calls = tenant.calls()
    if not outcomes["succeeded"] == calls.number == rows:
        raise BenchError(f"Not every row succeeded with one call: {calls.number} calls, {outcomes}")
    return calls.per_s()


async def _publish(url: str, bodies: Sequence[bytes]) -> None:
    async with contextlib.aclosing(open_queue(QueueAddress.parse(url), "bench")) as queue:
        for first in range(0, len(bodies), _PUBLISHED_AT_ONCE):
            await queue.publish(bodies[first : first + _PUBLISHED_AT_ONCE])


async def _remove(url: str) -> None:
    """Remove a queue with its results, so that no turn finds more in the broker than another."""
    async with contextlib.aclosing(open_queue(QueueAddress.parse(url), "bench")) as queue:
        await queue.results().remove()
        await queue.remove()


@contextlib.contextmanager
def _running(kind: Callable[[Path], _Broker], folder: Path) -> Iterator[_Broker]:
    """Start a broker on the server's core."""
    folder.mkdir()
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})  # whom a process starts stays where it is
    try:
        broker = kind(folder)
    finally:
        os.sched_setaffinity(0, ours)
    try:
        yield broker
    finally:
        broker.close()


def _redis(folder: Path) -> RedisServer:
    """Return a Redis that writes to disk once a second, as is usual; the suites' own does so with each command."""
    server = RedisServer(folder)
    with redis.Redis(port=server.port) as client:
        client.config_set("appendfsync", "everysec")
    return server


_BROKERS: Final[Mapping[str, Callable[[Path], _Broker]]] = {
    "redis": _redis,
    "rabbitmq": RabbitServer,
    "nats": NatsServer,
    _SQS: SqsServer,
}
