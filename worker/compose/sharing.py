"""What keeps the workers of a fleet together: one rate, and one count of the rows of an hour."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Final

from worker import logs
from worker.brokers import QueueAddress, open_fleet_store
from worker.compose.options import Steering
from worker.errors import BrokerError
from worker.pacing import AsyncPacer, FleetLink, FleetRate
from worker.ports import FleetStore
from worker.queueing import HourlyCap, OwnRowCount

_ALONE: Final = (
    "Each worker of this queue keeps it by itself. If there are others, give --workers N or --shared-rate."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Sharing:
    """How workers share.

    Attributes:
        store: The Redis that they share in, or None: each takes its part.
        workers: How many there are at least, of which each takes a part where nothing is shared; None if nobody said.
        most_rows_per_hour: Rows of the queue in any hour, or None for no bound.
    """

    store: QueueAddress | None
    workers: int | None
    most_rows_per_hour: int | None

    @property
    def parts(self) -> int:
        """Into how many parts the rate goes where nothing is shared."""
        return self.workers or 1


@dataclasses.dataclass(frozen=True, slots=True)
class Together:
    """This worker's parts of what is shared; they outlive its sessions."""

    pacer: AsyncPacer
    cap: HourlyCap | None


@contextlib.asynccontextmanager
async def keep_together(
    sharing: Sharing, steering: Steering, tenant: str, queue: str, worker: str
) -> AsyncIterator[Together]:
    """Share until the block ends, as `worker`, with all who call `tenant`.

    Raises:
        UsageError: The store's library is not installed.
        BrokerError: The store cannot be reached at the start, and nobody said how many workers there are.
    """
    log = logs.to_stderr(key="")
    rows = sharing.most_rows_per_hour
    if sharing.store is None:
        if sharing.workers is None and not steering.rate.is_unlimited:
            log.warning("rate_not_shared", rate=str(steering.rate), advice=_ALONE)
        alone = AsyncPacer(
            steering.rate.share(sharing.parts), concurrency=steering.concurrency, timeout_s=steering.timeout_s
        )
        part = None if rows is None else HourlyCap(max(1, rows // sharing.parts), OwnRowCount(), log)
        yield Together(alone, part)
        return
    async with contextlib.aclosing(open_fleet_store(sharing.store, tenant)) as store:
        cap = None if rows is None else HourlyCap(rows, store.row_count(queue), log)
        if steering.rate.is_unlimited:
            yield Together(
                AsyncPacer(steering.rate, concurrency=steering.concurrency, timeout_s=steering.timeout_s), cap
            )
            return
        fleet = FleetRate(steering.rate, workers=sharing.parts, worker=worker, now=time.monotonic())
        pacer = AsyncPacer(
            steering.rate, concurrency=steering.concurrency, timeout_s=steering.timeout_s, fleet=fleet
        )
        link = FleetLink(store, fleet, pacer, log)
        if sharing.workers is None:
            await _reach(link)
        async with _linked(link, store, worker):
            yield Together(pacer, cap)


async def _reach(link: FleetLink) -> None:
    """Learn how many workers there are: one that never did would take its share for all of the rate."""
    try:
        await link.reach()
    except BrokerError as error:
        raise type(error)(
            f"{error} It is to hold the rate that all workers share (--shared-rate). With --workers N this one would"
            " go on without it, at a part of the rate."
        ) from None


@contextlib.asynccontextmanager
async def _linked(link: FleetLink, store: FleetStore, worker: str) -> AsyncIterator[None]:
    """Run `link` beside the block, which is cancelled if a defect ends the link: nobody would ever have a turn."""
    working = asyncio.current_task()
    assert working is not None
    linking = asyncio.create_task(link.run())
    linking.add_done_callback(
        lambda ended: working.cancel() if not ended.cancelled() and ended.exception() else None
    )
    try:
        yield
    finally:
        link.stop()
        await linking
        with contextlib.suppress(BrokerError):  # its share is free when it is forgotten
            await store.leave(worker)
