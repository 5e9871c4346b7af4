"""The asyncio edge of a fleet's rate: asks the store when it is time, and tells the pacer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from worker.errors import BrokerError
from worker.pacing.fleet import FleetRate
from worker.pacing.pacer import AsyncPacer
from worker.ports import FleetStore


class FleetLink:
    """Keeps one worker's part of a fleet's rate in touch with the others.

    Args:
        store: Where the rate is kept; the link does not close it.
        fleet: This worker's part.
        pacer: Whose calls go by it.
        log: Is told when the store is lost and when it is back.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        store: FleetStore,
        fleet: FleetRate,
        pacer: AsyncPacer,
        log: structlog.typing.FilteringBoundLogger,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._pacer = pacer
        self._log = log
        self._clock = clock
        self._wanted = asyncio.Event()
        self._stopping = False
        fleet.on_want = self._wanted.set

    async def reach(self) -> None:
        """Ask once.

        Raises:
            BrokerError: The store cannot be used.
        """
        ask = self._fleet.ask(self._clock(), self._pacer.line)
        grant = await self._store.reserve(ask)
        self._pacer.hold(self._fleet.granted(ask, grant, self._clock()))
        if answered := self._fleet.take_answered_elsewhere():
            self._pacer.hear_of(answered)

    async def run(self) -> None:
        """Stay in touch until `stop`; never cancel this: redis-py 8.1 loses a cancellation now and then."""
        await self._wait()
        while not self._stopping:
            await self._ask()
            self._pacer.look()
            await self._wait()

    def stop(self) -> None:
        """Ask no more; `run` ends once the store has answered, or its time-out is over."""
        self._stopping = True
        self._wanted.set()

    async def _wait(self) -> None:
        """Wait until it is time to ask, or to stop."""
        while not self._stopping and (due_s := self._fleet.due_s(self._clock(), self._pacer.line)) > 0.0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_s):
                    await self._wanted.wait()
            self._wanted.clear()

    async def _ask(self) -> None:
        fleet = self._fleet
        was_alone, error = fleet.is_alone, "Redis has lost its memory."
        try:
            await self.reach()
        except BrokerError as lost:
            fleet.lost(self._clock())
            error = str(lost)
        if fleet.is_alone and not was_alone:
            share = f"{fleet.rate_per_s:.6g}/s"
            self._log.warning("shared_rate_lost", error=error, rate=share, workers=fleet.workers)
        elif was_alone and not fleet.is_alone:
            self._log.info("shared_rate_back", rate=f"{fleet.rate_per_s:.6g}/s")
