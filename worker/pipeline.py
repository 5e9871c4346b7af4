"""The one flow: a row is claimed, waits its turn, is called, judged, and recorded; trouble goes around again.

Source --> Feed --> pacer --> Operation.call --> Transport --> Operation.judge --> Recorder
                      ^                                            |
                      +-------- retry (waits outside a slot) <-----+
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable
from typing import Final

from worker.feed import Feed
from worker.guard import Guard, Halt
from worker.model import (
    ANOTHER_USER,
    BARRED,
    HELD_UP,
    Decision,
    NoAnswer,
    Reply,
    Result,
    Row,
    Unfinished,
    Verdict,
)
from worker.ports import Operation, Pacer, Recorder, Source, Transport
from worker.retry import Effort, RetryLimits, persistently

_FINAL: Final = Decision.FINAL
_RETRYING_PER_WORKER: Final = 4
"""Rows that may wait for a retry, per worker, before no new row is taken up: bounds memory (promise 9)."""


class _StoppedError(Exception):
    """Ends a row's retrying when the run stops; never leaves this module."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ports:
    """What the pipeline works with."""

    source: Source
    operation: Operation
    transport: Transport
    pacer: Pacer
    recorder: Recorder
    retry_after: Callable[[Reply], float]
    """Seconds that a reply asks to wait, clamped; 0 if it asks for nothing."""


class Pipeline:
    """Carries every row of a source to its outcome, or until it is stopped.

    Args:
        ports: What it works with; the pipeline closes none of it but the pacer.
        guard: Says when the run is wrong.
        limits: What bounds a row's attempts.
        concurrency: Workers, which is the most calls in flight.
        on_halt: Told why the run stops, at once: whoever is killed while calls in flight finish has acted on it.
        monotonic: Seconds, for time limits.
        wall: Epoch seconds, for the record.
        sleep: Waits for a retry; the default one is cut short by `stop`.
    """

    def __init__(
        self,
        ports: Ports,
        guard: Guard,
        limits: RetryLimits,
        *,
        concurrency: int,
        on_halt: Callable[[Halt], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._ports = ports
        self._guard = guard
        self._limits = limits
        self._concurrency = concurrency
        self._on_halt = on_halt
        self._monotonic = monotonic
        self._wall = wall
        self._feed = Feed(ports.source, monotonic)
        self._waiting: set[asyncio.Task[None]] = set()
        self._retry_room = asyncio.Semaphore(concurrency * _RETRYING_PER_WORKER)
        self._persist = persistently(
            self._attempt_again, limits, active_clock=self._active_s, sleep=self._wait_for_retry
        )
        self._sleep = sleep or self._sleep_or_stop
        self._stopping = asyncio.Event()
        self.halt: Halt | None = None
        """Why the guard stopped the run, or None."""

    async def run(self) -> None:
        """Work until the source is exhausted or `stop` was called; calls in flight then finish first.

        Everything that was recorded is durable on return.

        Raises:
            ExceptionGroup: Holds a LedgerError: nothing more can be recorded; calls in flight were dropped.
        """
        async with asyncio.TaskGroup() as self._tasks:
            for _ in range(self._concurrency):
                self._tasks.create_task(self._work())
        rest = await self._feed.drain()
        self._ports.recorder.give_back([Unfinished(row, row.earlier_requests) for row in rest])
        await self._ports.recorder.flush()

    def stop(self) -> None:
        """Take up no further row and start no further call; rows without an outcome stay pending."""
        self._stopping.set()
        self._ports.pacer.close()

    async def _work(self) -> None:
        pacer, feed, judge = self._ports.pacer, self._feed, self._ports.operation.judge
        worker = asyncio.current_task()
        assert worker is not None
        await feed.refill()
        while not feed.exhausted:
            self._waiting.add(worker)
            may_go = await pacer.enter()
            self._waiting.discard(worker)
            if not may_go:
                return
            if feed.dry:
                # A turn never waits for the disk: those that had waited together would go together (promise 4).
                pacer.pass_on()
                await feed.refill()
                continue
            row = feed.take()
            if row is None:
                pacer.pass_on()
                break
            if not self._ports.source.allows(row):
                pacer.pass_on()
                self._bar(row)
                continue
            started_at = self._wall()
            reply = await self._ports.transport.send(self._ports.operation.call(row))
            pacer.leave(reply)
            verdict = HELD_UP if reply is None else judge(row, reply)
            if verdict.decision is _FINAL:
                if verdict.error_code == ANOTHER_USER:
                    self._ports.transport.distrust()  # before any await: it may be another call's answer
                sent = _was_sent(reply)
                self._finish(
                    Result(row, verdict, row.earlier_requests + sent, sent, started_at, self._wall()),
                    first=True,
                )
            else:
                # before anything else: a wrong run makes no further call
                self._heed(self._guard.see_answer(row.number, verdict, first=True))
                await self._retry_room.acquire()
                self._tasks.create_task(self._go_on(self._first_effort(row, reply, verdict, started_at)))
            await self._ports.recorder.room()
        self._dismiss_waiting()

    def _dismiss_waiting(self) -> None:
        """Send the workers home that wait for a turn they no longer need: the source is exhausted."""
        for worker in self._waiting:
            worker.cancel()
        self._waiting.clear()

    async def _go_on(self, effort: Effort) -> None:
        """Carry a row on whose first attempt brought no final verdict."""
        try:
            if self.halt is None and await self._is_settled(effort):
                self._finish(
                    Result(
                        effort.row,
                        effort.verdict,
                        effort.requests,
                        effort.sent,
                        effort.started_at,
                        self._wall(),
                    )
                )
            else:
                self._ports.recorder.give_back([Unfinished(effort.row, effort.requests)])
        finally:
            self._retry_room.release()

    async def _is_settled(self, effort: Effort) -> bool:
        """Retry until `effort.verdict` says what became of the row; False if the run stopped first."""
        try:
            verdict = await self._persist(effort)
        except _StoppedError:
            return False
        return verdict.decision is not Decision.HALT

    async def _attempt_again(self, effort: Effort) -> Verdict:
        # Late once, and not again: a server that ends each connection unused would never be called (promise 7).
        late_before = effort.verdict is HELD_UP
        reply = None
        while reply is None:
            await self._ports.recorder.room()
            if not await self._ports.pacer.enter():
                raise _StoppedError
            if self._limits.too_late(effort, self._active_s()):  # since it began to wait for its turn
                self._ports.pacer.leave(None)
                return effort.verdict
            if not self._ports.source.allows(effort.row):
                self._ports.pacer.leave(None)
                effort.verdict = BARRED
                return BARRED
            call = self._ports.operation.call(effort.row)
            reply = await self._ports.transport.send(call, however_late=late_before)
            self._ports.pacer.leave(reply)
            late_before = True
        effort.verdict = self._ports.operation.judge(effort.row, reply)
        if effort.verdict.error_code == ANOTHER_USER:
            self._ports.transport.distrust()
        self._count(effort, reply)
        self._heed(self._guard.see_answer(effort.row.number, effort.verdict, first=False))
        return effort.verdict

    def _first_effort(self, row: Row, reply: Reply | None, verdict: Verdict, started_at: float) -> Effort:
        effort = Effort(row, started_at, self._active_s(), row.earlier_requests, 0, False, verdict, 0.0)
        if reply is not None:
            self._count(effort, reply)
        return effort

    def _count(self, effort: Effort, reply: Reply) -> None:
        sent = _was_sent(reply)
        effort.requests += sent
        effort.sent = effort.sent or sent
        effort.retry_after_s = self._ports.retry_after(reply)
        if effort.verdict.decision is Decision.RETRY and not self._ports.pacer.in_outage:
            effort.spent += 1

    def _bar(self, row: Row) -> None:
        now = self._wall()
        self._finish(Result(row, BARRED, row.earlier_requests, False, now, now))

    def _finish(self, result: Result, *, first: bool = False) -> None:
        self._ports.recorder.record(result)
        number, verdict = result.row.number, result.verdict
        if first:
            self._heed(self._guard.see_answer(number, verdict, first=True))
        others_pending = not self._feed.exhausted
        self._heed(self._guard.see_finished(number, verdict, others_pending=others_pending))

    def _heed(self, halt: Halt | None) -> None:
        if halt is None:
            return
        first, self.halt = self.halt is None, halt  # what calls in flight add to its evidence comes later
        if first:
            self.stop()
            self._on_halt(halt)

    def _active_s(self, ahead_s: float = 0.0) -> float:
        """Return the active clock as it will be `ahead_s` from now; it stands still in an outage."""
        pacer = self._ports.pacer
        return self._monotonic() - pacer.paused_s + (0.0 if pacer.in_outage else ahead_s)

    async def _sleep_or_stop(self, delay_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()

    async def _wait_for_retry(self, delay_s: float) -> None:
        await self._sleep(delay_s)
        if self._stopping.is_set():
            raise _StoppedError


def _was_sent(reply: Reply | None) -> bool:
    return reply.sent if isinstance(reply, NoAnswer) else reply is not None
