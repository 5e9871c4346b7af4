"""The one flow: a row is claimed, waits its turn, is called, judged, and recorded; trouble goes back to the source.

Source --> Feed --> pacer --> Operation.call --> Transport --> Operation.judge --> Recorder
  ^                                                                  |
  +----------- waits where it holds no worker, and no memory <-------+
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Final

import msgspec

from worker.feed import Feed
from worker.guard import Guard, Halt
from worker.model import (
    ANOTHER_USER,
    BARRED,
    HELD_UP,
    Attempt,
    Decision,
    Effort,
    NoAnswer,
    Reply,
    Result,
    Row,
    Unfinished,
    Verdict,
)
from worker.ports import Operation, Pacer, Recorder, Source, Transport
from worker.probe import PROBE, describe, is_answered
from worker.retry import LAST_WAIT_S, BackOff, Failure, RetryLimits, charged, final_verdict, is_sick

_FINAL: Final = Decision.FINAL
_FEW: Final = 20
"""Where fewer rows are pending and all have failed, the API's answer to a probe stands for that to another row."""
_ELSEWHERE_EVERY: Final = 10
"""Attempts that meet trouble, with no final answer between, after which a row from elsewhere is tried: rows that
always fail may stand together."""


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
        ports: What it works with; the pipeline closes the pacer and the source, and nothing else of it.
        guard: Says when the run is wrong.
        limits: What bounds a row's attempts.
        concurrency: Workers, which is the most calls in flight.
        on_halt: Told why the run stops, at once: whoever is killed while calls in flight finish has acted on it.
        monotonic: Seconds, for how long an attempt takes.
        wall: Epoch seconds, for the record.
        jitter: Share of the longest back-off that a row waits, 0 to 1; random if None.
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
        jitter: Callable[[], float] | None = None,
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
        self._back_off = BackOff(limits, jitter)
        self._is_asking = False
        self.halt: Halt | None = None
        """Why the guard stopped the run, or None."""

    async def run(self) -> None:
        """Work until the source is exhausted or `stop` was called; calls in flight then finish first.

        Everything that was recorded is durable on return.

        Raises:
            ExceptionGroup: Holds a LedgerError: nothing more can be recorded; calls in flight were dropped.
        """
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._concurrency):
                    workers.create_task(self._work())
        finally:
            self._ports.source.close()  # or the claim that is made ahead would wait for rows
        rest = await self._feed.drain()
        self._ports.recorder.give_back([Unfinished(row, row.earlier_requests, row.effort) for row in rest])
        await self._ports.recorder.flush()

    def stop(self) -> None:
        """Take up no further row and start no further call; rows without an outcome stay pending."""
        self._ports.source.close()
        self._ports.pacer.close()

    async def _work(self) -> None:
        pacer, feed = self._ports.pacer, self._feed
        await feed.refill()
        while not feed.exhausted:
            if not await self._enter():
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
                self._finish_tried(row, BARRED)
            elif row.effort is None or (row := await self._weighed(row)) is not None:
                await self._call(row)
            await self._ports.recorder.room()
        self._dismiss_waiting()

    async def _enter(self) -> bool:
        """Wait for a turn as one that may be sent home when no row is left; False if it was closed."""
        worker = asyncio.current_task()
        assert worker is not None
        self._waiting.add(worker)
        may_go = await self._ports.pacer.enter()
        self._waiting.discard(worker)
        return may_go

    def _dismiss_waiting(self) -> None:
        """Send the workers home that wait for a turn they no longer need: the source is exhausted."""
        for worker in self._waiting:
            worker.cancel()
        self._waiting.clear()

    async def _call(self, row: Row) -> None:
        """Make one attempt on `row`, at the turn that the caller has."""
        ports, effort = self._ports, row.effort
        if effort is not None and effort.free:
            ports.transport.distrust()  # a kept connection may be closed as this one was: take a new one
        began_at, began = self._wall(), self._monotonic()
        reply = await ports.transport.send(
            ports.operation.call(row), however_late=effort is not None and effort.free
        )
        verdict = HELD_UP if reply is None else ports.operation.judge(row, reply)
        took_s = self._monotonic() - began
        attempt = Attempt(row.number, verdict, took_s, is_sick(effort), ports.source.pending)
        refused = ports.pacer.leave(reply, attempt)
        sent = _was_sent(reply)
        if verdict.decision is _FINAL:
            if verdict.error_code == ANOTHER_USER:
                ports.transport.distrust()  # before any await: it may be another call's answer
            started_at = began_at if effort is None or effort.answered < 0 else effort.started_at
            result = Result(row, verdict, row.earlier_requests + sent, sent, started_at, self._wall())
            ports.recorder.record(result)
            await self._heed_answer(row.number, verdict)
            self._heed_finished(row.number, verdict)
            return
        await self._heed_answer(
            row.number, verdict
        )  # before anything else: a wrong run makes no further call
        failure = Failure(
            reply=reply,
            verdict=verdict,
            refused=refused,
            asked_s=0.0 if reply is None else ports.retry_after(reply),
            took_s=took_s,
            began_at=began_at,
            answered=ports.pacer.answered,
        )
        later = self._back_off.after(effort, failure)
        ports.recorder.give_back([Unfinished(row, row.earlier_requests + sent, later)])
        self._look_elsewhere()

    def _look_elsewhere(self) -> None:
        """Have a row from another place tried next where only trouble was met for a while."""
        pacer = self._ports.pacer
        if pacer.in_outage or (pacer.troubled and pacer.troubled % _ELSEWHERE_EVERY == 0):
            self._feed.look_elsewhere()

    async def _weighed(self, row: Row) -> Row | None:
        """Charge a row that failed for its last attempt; None if it is not to be called at this turn."""
        effort, pacer = row.effort, self._ports.pacer
        assert effort is not None
        if not effort.owed or self._is_shown(effort.answered):
            effort = charged(effort)
        elif self._only_few_failed():
            return await self._weighed_by_probe(row, effort)
        elif not pacer.in_outage:
            self._feed.look_elsewhere()
            if self._limits.are_spent(charged(effort)) and self._others_are_pending():
                # It is not called again, it waits for evidence alone.
                pacer.pass_on()
                self._give_back(row, msgspec.structs.replace(effort, wait_s=LAST_WAIT_S))
                return None
        if self._limits.are_spent(effort):
            pacer.pass_on()
            self._finish_tried(row, final_verdict(effort))
            return None
        return msgspec.structs.replace(row, effort=effort)

    async def _weighed_by_probe(self, row: Row, effort: Effort) -> Row | None:
        """Ask the API at this turn whether it answers, which stands for its answer to another row; then as above."""
        probe = await self._ports.transport.send(PROBE, however_late=True)
        self._ports.pacer.leave(probe)
        if is_answered(probe):
            effort = charged(effort)
        if self._limits.are_spent(effort):
            self._finish_tried(row, final_verdict(effort))
            return None
        if not await self._ports.pacer.enter():
            self._give_back(row, effort)
            return None
        return msgspec.structs.replace(row, effort=effort)

    def _give_back(self, row: Row, effort: Effort | None) -> None:
        self._ports.recorder.give_back([Unfinished(row, row.earlier_requests, effort)])

    def _is_shown(self, answered: int) -> bool:
        """Return whether another row got a final answer since so many had, and the silence then was no outage."""
        pacer = self._ports.pacer
        return 0 <= answered < pacer.answered and not pacer.was_out(answered)

    def _others_are_pending(self) -> bool:
        """Return whether rows are left that have not failed."""
        return self._ports.source.pending > self._ports.source.failed

    def _only_few_failed(self) -> bool:
        return self._ports.source.pending < _FEW and not self._others_are_pending()

    def _finish_tried(self, row: Row, verdict: Verdict) -> None:
        """Record a verdict that no call of this moment brought."""
        now, effort = self._wall(), row.effort
        is_tried = effort is not None and effort.answered >= 0 and effort.tries > 0
        started_at = effort.started_at if is_tried and effort is not None else now
        self._ports.recorder.record(Result(row, verdict, row.earlier_requests, is_tried, started_at, now))
        self._heed_finished(row.number, verdict)

    def _heed_finished(self, row: int, verdict: Verdict) -> None:
        self._heed(self._guard.see_finished(row, verdict, others_pending=self._others_are_pending()))

    async def _heed_answer(self, row: int, verdict: Verdict) -> None:
        halt = self._guard.see_answer(row, verdict, first=True)
        if halt is not None and halt.unless_answering:
            halt = await self._asked(halt)
        self._heed(halt)

    async def _asked(self, halt: Halt) -> Halt | None:
        """Ask the tenant whether it answers at all, where a halt only stands if it does not."""
        if self._is_asking or not await self._ports.pacer.enter():
            return None
        self._is_asking = True
        try:
            reply = await self._ports.transport.send(PROBE, however_late=True)
            self._ports.pacer.leave(reply)
        finally:
            self._is_asking = False
        if is_answered(reply):
            self._guard.believe()
            return None
        return halt.unanswered(describe(reply))

    def _heed(self, halt: Halt | None) -> None:
        if halt is None:
            return
        first, self.halt = self.halt is None, halt  # what calls in flight add to its evidence comes later
        if first:
            self.stop()
            self._on_halt(halt)


def _was_sent(reply: Reply | None) -> bool:
    return reply.sent if isinstance(reply, NoAnswer) else reply is not None
