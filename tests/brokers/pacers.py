"""Workers' pacers on one store, in one loop: each makes calls as fast as it may, and they are all on one list."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from typing import Self

import structlog
from multidict import CIMultiDict
from structlog.testing import CapturingLogger

from worker.brokers import QueueAddress, open_fleet_store
from worker.model import Answer, Attempt, Decision, Outcome, Reply, Verdict
from worker.pacing import AsyncPacer, FleetLink, FleetRate, RatePlan
from worker.sandbox.record import most_in_window

OK = Answer(200, CIMultiDict(), b"")
DONE = Verdict(Decision.FINAL, Outcome.SUCCEEDED, 200)
REFUSED = Verdict(Decision.THROTTLED, Outcome.PENDING, 429)
CALLERS = 16


class Paced:
    """One worker's pacer and its link."""

    def __init__(self, url: str, tenant: str, name: str, plan: RatePlan, workers: int) -> None:
        self.name = name
        self.store = open_fleet_store(QueueAddress.parse(url), tenant)
        self.rate = FleetRate(plan, workers=workers, worker=name, now=time.monotonic())
        self.pacer = AsyncPacer(plan, concurrency=CALLERS, fleet=self.rate)
        self.said = CapturingLogger()
        self._link = FleetLink(self.store, self.rate, self.pacer, structlog.wrap_logger(self.said, []))
        self._tasks: list[asyncio.Task[None]] = []
        self._rows = itertools.count(1)
        self.answers: list[Reply] = []
        """What the next calls meet, refusals of the rate; all others go well."""
        self.refused_at: list[float] = []
        """When one of them did not."""

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._link.run())]
        return self

    def call(self, made: list[float]) -> None:
        """Make calls from now on, and note when each went."""
        self._tasks += [asyncio.create_task(self._calls(made)) for _ in range(CALLERS)]

    async def _calls(self, made: list[float]) -> None:
        while await self.pacer.enter():
            made.append(time.monotonic())
            await asyncio.sleep(0.002)
            if self.answers:
                self.refused_at.append(time.monotonic())
                self.pacer.leave(self.answers.pop(), Attempt(next(self._rows), REFUSED))
            else:
                self.pacer.leave(OK, Attempt(next(self._rows), DONE))

    async def __aexit__(self, *_: object) -> None:
        """Die: nobody is told."""
        self._link.stop()
        for task in self._tasks[1:]:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.store.aclose()

    @property
    def events(self) -> list[str]:
        """What it logged."""
        return [call.kwargs["event"] for call in self.said.calls]


@contextlib.asynccontextmanager
async def pacers(
    url: str, tenant: str, plan: RatePlan, count: int, *, workers: int = 1
) -> AsyncIterator[list[Paced]]:
    async with contextlib.AsyncExitStack() as entered:
        yield [
            await entered.enter_async_context(Paced(url, tenant, f"w{number}", plan, workers))
            for number in range(count)
        ]


def most_in_a_second(times: Sequence[float]) -> int:
    return most_in_window(sorted(times))
