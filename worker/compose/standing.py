"""A standing worker: takes rows from a queue until it is told to stop, and outlives a wrong key and a lost broker."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from worker import logs
from worker.brokers import QueueAddress, open_queue
from worker.compose.account import Account
from worker.compose.ahead import SHARERS, rows_ahead
from worker.compose.assembly import fit_to_files, make_pipeline, make_transport
from worker.compose.collecting import CollectedLedgers
from worker.compose.operations import find_operation
from worker.compose.options import Steering
from worker.compose.protected import ProtectedLists
from worker.compose.sharing import Sharing, Together, keep_together
from worker.compose.stopping import StopRequest, heed_signals
from worker.connection import ApiKey, Tenant
from worker.errors import (
    BrokerError,
    BrokerUnfitError,
    BulkUnverifyError,
    ConfigurationError,
    InputError,
    cause_of,
)
from worker.guard import Halt, HaltKind
from worker.model import Outcome
from worker.pacing import AsyncPacer
from worker.pipeline import Pipeline
from worker.ports import Operation, WorkQueue
from worker.queueing import Desk, Finder, HourlyCap, Patience, Terms, is_set_within
from worker.report.summary import ASIDE, EXIT_GOOD, EXIT_HALTED, EXIT_INTERRUPTED, EXIT_ROWS_FAILED
from worker.tracing import Tracing
from worker.transport import AiohttpTransport, prime_malloc
from worker.units import format_duration
from worker.web import ListenAddress, MeteredPacer, MeteredTransport, listening

_LOOK_S: Final = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkRequest:
    """What a standing worker needs.

    Attributes:
        address: The queue.
        tenant: Whose users the rows are.
        load_key: Reads the tenant's key; asked again after every halt.
        operation: What is done to a row.
        steering: How to go about it; its rate is the whole fleet's.
        sharing: What keeps the fleet together.
        until_empty: Whether it ends when the queue is empty.
        signing_key: Only messages signed with it count; None takes all.
        say: Tells the person one line.
        lease_s: Seconds of silence after which this worker's messages go to others.
        probe_every_s: Seconds between two tries after a halt.
        keep_in: The folder of runs whose ledgers keep the outcomes; None for the queue of results.
        listen: Where it is seen from outside, or None.
        tracing: Makes spans of its calls, or None.
        fence: A Redis that remembers rows for a broker that does not; None for none.
    """

    address: QueueAddress
    tenant: Tenant
    load_key: Callable[[], ApiKey]
    operation: str
    steering: Steering
    sharing: Sharing
    until_empty: bool
    signing_key: bytes | None
    say: Callable[[str], None]
    lease_s: float
    probe_every_s: float
    keep_in: Path | None
    listen: ListenAddress | None
    tracing: Tracing | None
    fence: QueueAddress | None


async def work(request: WorkRequest) -> dict[str, object]:
    """Work until stopped by a signal, or until the queue is empty; return what was done.

    Raises:
        UsageError: There is no such operation.
        ConfigurationError: There is no key at the start, or nothing can listen where it is to.
        BrokerError: The queue is to be emptied and cannot be reached, or what is shared cannot be.
        LedgerError: Outcomes are to be kept here and cannot be.
    """
    prime_malloc()
    request = dataclasses.replace(request, steering=fit_to_files(request.steering, request.say))
    key = request.load_key()
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    queue = open_queue(request.address, name, lease_s=request.lease_s, fence=request.fence)
    worker = _Worker(request, queue, name)
    async with contextlib.AsyncExitStack() as opened:
        if request.listen is not None:
            where = await opened.enter_async_context(listening(request.listen, worker.account.moment))
            request.say(f"Listening at http://{where} (/metrics, /healthz, /readyz).")
        if request.tracing is not None:
            opened.push_async_callback(request.tracing.aclose)
        await opened.enter_async_context(contextlib.aclosing(queue))
        opened.enter_context(heed_signals(worker.stopping, request.say))
        await worker.reach()
        together = await opened.enter_async_context(
            keep_together(request.sharing, request.steering, request.tenant.name, request.address.name, name)
        )
        if request.listen is not None:
            await opened.enter_async_context(worker.account.following(queue))
        await worker.run(key, together)
        worker.report()
    return worker.told()


class _Worker:
    """The parts that outlive a session."""

    def __init__(self, request: WorkRequest, queue: WorkQueue, name: str) -> None:
        self._request = request
        self._queue = queue
        self._name = name
        self._stopped = asyncio.Event()
        self._end_session: Callable[[], None] = lambda: None
        self.stopping = StopRequest(self._stop)
        self._operation = find_operation(request.operation)
        self.account = Account()
        exclude = request.steering.exclude
        self._lists = ProtectedLists([exclude] if exclude else [])
        self._holds = False
        self._trouble: Halt | None = None
        """What ended the session that the guard has no part in: a protected list, or a silence."""
        self._halt: Halt | None = None
        """What ended it before the queue was empty, or None."""
        self._ledgers: CollectedLedgers | None = None
        if request.keep_in is not None:
            self._ledgers = CollectedLedgers(
                request.keep_in,
                request.address,
                tenant=request.tenant.name,
                operation=request.operation,
            )
            self._ledgers.check()

    def report(self) -> None:
        """Write the reports of the outcomes that are kept here."""
        if self._ledgers is not None:
            for summary in self._ledgers.report(self._request.say):
                self._request.say(f"Report: {summary['report']}")

    async def reach(self) -> None:
        """Wait until the queue can be used, or until stopped; one that is to be emptied has to be there.

        Raises:
            BrokerError: It is to be emptied, and is not there; or it is there, and cannot be relied on.
        """
        patience = Patience(logs.to_stderr(key=""), time.monotonic)
        while not self._stopped.is_set():
            try:
                await self._queue.depth()
            except BrokerError as error:
                if self._request.until_empty or isinstance(error, BrokerUnfitError):
                    raise
                if not patience.trouble:
                    self._request.say(
                        f"{error} The queue is {self._request.address}. Trying again until it can."
                    )
                self.account.lost = str(error)
                patience.lost(error)
                await patience.back_off(self._stopped)
            else:
                self.account.lost = ""
                patience.back()
                return

    async def run(self, key: ApiKey, together: Together) -> None:
        """Work in sessions: one ends when the queue is empty, on a signal, or by a halt.

        Who is to empty the queue ends with a halt; else one row is tried from time to time.
        """
        halt = await self._session(key, together)
        if halt is not None and self._request.until_empty:
            self._halt, self.account.halted = halt, halt.reason
            self._request.say(f"Halted: {halt.reason}. What was not done is given back to the queue.")
            return
        while halt is not None and not self._stopped.is_set():
            self.account.halted = halt.reason
            every_s = self._request.probe_every_s
            self._request.say(
                f"Halted: {halt.reason}. Messages are given back; one row is tried in {every_s:.0f} s."
            )
            if await is_set_within(self._stopped, every_s):
                return
            try:
                halt = await self._session(self._request.load_key(), together, after=halt)
                if halt is None:
                    self.account.halted = ""
                    halt = await self._session(self._request.load_key(), together)
            except (ConfigurationError, InputError) as error:
                halt = _halted_by(error, halt)

    def told(self) -> dict[str, object]:
        """Return what was done, for `--json`."""
        counts = self.account.counts()
        return {
            "queue": str(self._request.address),
            "worker": self._name,
            "outcomes": {outcome: self.account.outcomes[outcome] for outcome in Outcome},
            "buried": counts["buried"],
            "not_recorded": counts["unrecorded"],
            "halt_reason": self.account.halted or None,
            "exit_code": BrokerError.exit_code if counts["unrecorded"] else self._how_it_ended(),
        }

    def _how_it_ended(self) -> int:
        """Return the exit code: of who is to empty the queue, as that of a run; else 0, as it was told to stop."""
        if not self._request.until_empty:
            return EXIT_GOOD
        if self._halt is not None:
            unsent = self._halt.kind is HaltKind.CONFIGURATION and self._halt is not self._trouble
            return ConfigurationError.exit_code if unsent else EXIT_HALTED
        if self._stopped.is_set():
            return EXIT_INTERRUPTED
        good = ASIDE | self._request.steering.accept
        failed = self.account.counts()["buried"] or any(self.account.outcomes.keys() - good)
        return EXIT_ROWS_FAILED if failed else EXIT_GOOD

    def _stop(self) -> None:
        self.account.stopping = True
        self._stopped.set()
        self._end_session()

    async def _session(self, key: ApiKey, together: Together, after: Halt | None = None) -> Halt | None:
        """Work until the session ends; return what is wrong with the tenant, the key or the list, or None.

        After a halt, one row is tried: what shows the same as had halted is no outcome either (promise 6).
        """
        self._trouble = None
        pacer = together.pacer
        pacer.reopen()
        desk = self._desk(logs.to_stderr(key=key.reveal()), together.cap, probing=after is not None)
        with self.account.session(desk, pacer.status), self._followed() as operation:
            return await self._carry_out(operation, key, pacer, desk, after)

    async def _carry_out(
        self, operation: Operation, key: ApiKey, pacer: AsyncPacer, desk: Desk, after: Halt | None
    ) -> Halt | None:
        request = self._request
        async with make_transport(request.tenant, key, request.steering, pacer) as transport, desk:
            pipeline = self._pipeline(operation, desk, pacer, transport)
            self._end_session = lambda: _end(desk, pipeline)
            if self._stopped.is_set():
                return None
            answered = pacer.answered
            watching = asyncio.create_task(self._watch(desk, pacer, probing=after is not None))
            try:
                await pipeline.run()
            except BaseExceptionGroup as errors:
                raise cause_of(errors) from None
            finally:
                self._end_session = lambda: None
                watching.cancel()
            halt = pipeline.halt or self._trouble
            if pipeline.halt is not None:
                desk.take_back(pipeline.halt)  # what calls in flight added to it
                alone = desk.has_success and pipeline.halt.kind is HaltKind.FAILURES
                if alone:  # what fails alone shows nothing then, and would hold its row for ever
                    halt = dataclasses.replace(pipeline.halt, evidence=frozenset())
            elif after is not None and (desk.take_back(after) or _is_silent_still(after, pacer, answered)):
                halt = halt or after
        return halt

    def _desk(
        self, log: structlog.typing.FilteringBoundLogger, cap: HourlyCap | None, *, probing: bool
    ) -> Desk:
        steering, sharing = self._request.steering, self._request.sharing
        per_s = steering.rate.share(sharing.parts).ceiling_per_s
        sharers = 1 if sharing.store is None or sharing.workers else SHARERS
        ahead = rows_ahead(self._queue, per_s, steering.concurrency, sharers=sharers)
        terms = Terms(
            finder=Finder(self._name, self._request.tenant.name, self._request.operation),
            until_empty=self._request.until_empty,
            most_rows=ahead.at_hand,
            rows_each=ahead.in_a_message,
            most_claims=1 if probing else None,
            key=self._request.signing_key,
            accept=steering.accept,
        )
        return Desk(
            self._queue,
            terms,
            log,
            protected=self._lists.load(),
            on_record=self.account.outcomes.update,
            keeper=self._ledgers,
            cap=cap,
        )

    def _followed(self) -> contextlib.AbstractContextManager[Operation]:
        if self._request.tracing is None:
            return contextlib.nullcontext(self._operation)
        return self._request.tracing.following(self._operation, self._request.tenant.name)

    def _pipeline(
        self, operation: Operation, desk: Desk, pacer: AsyncPacer, transport: AiohttpTransport
    ) -> Pipeline:
        def on_halt(halt: Halt) -> None:
            self.account.halted = halt.reason
            desk.close()
            desk.take_back(halt)

        steering = self._request.steering
        if self._request.listen is None:
            return make_pipeline(desk, operation, transport, pacer, steering, on_halt)
        meter = self.account.meter
        turns = MeteredPacer(pacer, meter)
        calls = MeteredTransport(transport, meter)
        return make_pipeline(desk, operation, calls, turns, steering, on_halt)

    async def _watch(self, desk: Desk, pacer: AsyncPacer, *, probing: bool) -> None:
        """Look at the protected list and for a silence as long as the patience; a probe is allowed its own."""
        patience_s = self._request.steering.outage_patience_s
        try:
            while self._trouble is None:
                await asyncio.sleep(_LOOK_S)
                await self._heed_lists(desk, pacer)
                if not probing and pacer.silent_s >= patience_s:
                    met = f": {pacer.trouble}" if pacer.trouble else ""
                    what = f"the tenant gave no row a final answer for {format_duration(patience_s)}{met}"
                    self._trouble = Halt(HaltKind.SILENCE, what, "--outage-patience says how long is waited")
                    self._end_session()
        finally:
            self._hold(pacer, holds=False)

    async def _heed_lists(self, desk: Desk, pacer: AsyncPacer) -> None:
        """Read the protected list again whenever it changes; what was protected stays so (promise 11)."""
        news = await self._lists.look()
        desk.protected |= news.keys or frozenset()
        self._hold(pacer, holds=news.holds)
        if news.error is not None:
            self._trouble = _halted_by(news.error)
            self._end_session()

    def _hold(self, pacer: AsyncPacer, *, holds: bool) -> None:
        """Let nobody be called while the list is being rewritten."""
        if holds is not self._holds:
            self._holds = holds
            (pacer.pause if holds else pacer.resume)()


def _is_silent_still(after: Halt, pacer: AsyncPacer, answered: int) -> bool:
    """Return whether the row that was tried after a silence got no final answer either."""
    return after.kind is HaltKind.SILENCE and pacer.answered == answered


def _halted_by(error: BulkUnverifyError, before: Halt | None = None) -> Halt:
    """Return that `error` halts the worker; what was evidence of a halt before it still is."""
    what = str(error).rstrip(".")
    if before is None:
        return Halt(HaltKind.CONFIGURATION, what)
    return Halt(
        HaltKind.CONFIGURATION, what, evidence=before.evidence, evidence_status=before.evidence_status
    )


def _end(desk: Desk, pipeline: Pipeline) -> None:
    desk.close()
    pipeline.stop()
