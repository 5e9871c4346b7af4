"""One session of a run: takes its locks, works through the pending rows, and says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from worker import logs
from worker.compose.assembly import make_pipeline, make_transport
from worker.compose.monitor import Monitor
from worker.compose.options import Steering
from worker.compose.planning import check_tenant, operator
from worker.compose.reporting import report
from worker.compose.stopping import Stop, StopRequest, heed_signals
from worker.compose.watch import Bounds, ProtectedLists, Watch
from worker.connection import ApiKey, Tenant
from worker.errors import BulkUnverifyError, ConfigurationError, LedgerError
from worker.guard import Halt, HaltKind
from worker.ledger import RunFolder, RunLedger, facts, take_commands, tenant_lock
from worker.model import Outcome, RunState
from worker.pacing import AsyncPacer
from worker.pipeline import Pipeline
from worker.transport import AiohttpTransport, prime_malloc


@dataclasses.dataclass(frozen=True, slots=True)
class SessionRequest:
    """What a session needs.

    Attributes:
        folder: The planned run.
        tenant: Must be the one that the run was planned for.
        key: The tenant's key.
        steering: How to go about it.
        retake: Outcomes that go again first (`retry`); empty to carry on with what is pending.
        present: Shows the monitor until it is cancelled.
        say: Tells the person one line.
    """

    folder: RunFolder
    tenant: Tenant
    key: ApiKey
    steering: Steering
    retake: frozenset[Outcome]
    present: Callable[[Monitor], Coroutine[Any, Any, None]]
    say: Callable[[str], None]


async def run_session(request: SessionRequest) -> dict[str, object]:
    """Work on the run until no row is pending or something ends the session; report; return the summary.

    Raises:
        RunBusyError: Another process owns the run, or calls this tenant.
        ConfigurationError: The host or its certificate is wrong; nothing was sent.
        LedgerError: Outcomes could not be recorded; run again to resume.
    """
    folder = request.folder
    check_tenant(folder, request.tenant)
    prime_malloc()
    began_ns = time.time_ns()
    with folder.lock():
        for command in take_commands(folder.inbox, before_ns=began_ns):
            request.say(f"Not done: {command}. It was asked of an earlier session, which had ended.")
        await _work(request)
        return report(folder, accept=request.steering.accept)


async def _work(request: SessionRequest) -> None:
    folder, steering = request.folder, request.steering
    protected = ProtectedLists(folder.protected_lists())
    ids = protected.load()  # before anything is taken back: a list that cannot be read changes nothing
    with (
        tenant_lock(request.tenant.name, run_id=folder.run_id, share=steering.share_tenant),
        logs.configure(folder.log, key=request.key.reveal()) as log,
    ):
        async with contextlib.aclosing(await RunLedger.open(folder)) as ledger:
            await ledger.protect(ids)
            settings = steering.as_text() | {"exclude": protected.names}
            number = await ledger.begin_session(operator(), settings, retake=request.retake)
            monitor = Monitor(folder.run_id, request.tenant.name, facts(folder).outcomes, time.monotonic)
            ledger.on_commit = monitor.committed
            log.info("session_started", run_id=folder.run_id, session=number, **settings)
            session = _Session(request, ledger, monitor, protected, log)
            try:
                await session.work()
            except BaseException as error:  # noqa: BLE001 - whatever ended it, and it goes on as it was
                cause = _cause(error)
                await session.end_broken(cause)
                raise cause from None


def _cause(error: BaseException) -> BaseException:
    """Return what is to be told of an error: of several at once, one that has a sentence for people."""
    if isinstance(error, BaseExceptionGroup):
        error = error.subgroup(BulkUnverifyError) or error
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclasses.dataclass(frozen=True, slots=True)
class _Session:
    """The parts of a session that has its locks and its ledger."""

    request: SessionRequest
    ledger: RunLedger
    monitor: Monitor
    protected: ProtectedLists
    log: structlog.typing.FilteringBoundLogger

    async def work(self) -> None:
        """Run the pipeline to its end and record how the session ended."""
        steering = self.request.steering
        pacer = AsyncPacer(steering.rate, concurrency=steering.concurrency)
        pacer.hold(self.request.folder.cool_down_until() - time.time())
        self.monitor.pace = pacer.status
        async with make_transport(self.request.tenant, self.request.key, steering, pacer) as transport:
            pipeline = self._pipeline(pacer, transport)
            stopping = StopRequest(pipeline.stop)
            bounds = Bounds(steering.deadline_s, steering.outage_patience_s)
            watch = Watch(self.request.folder, self.ledger, pacer, stopping, bounds, self.protected, self.log)
            with heed_signals(stopping, self.request.say):
                await _beside(pipeline.run(), watch.run(), self._show())
        await self._end(pipeline, stopping.stop, pacer.cool_down_s)

    async def end_broken(self, error: BaseException) -> None:
        """Record that the session ended by an error, as far as the ledger still can.

        One that takes nothing any more has an open session; `status` then says that the process was killed.
        """
        stop = _stop_for(error)
        self.log.warning("session_broke", state=str(stop.state), reason=stop.reason)
        with contextlib.suppress(LedgerError):
            await self.ledger.end_session(stop.state, stop.reason)

    async def _show(self) -> None:
        """Show the session until it ends; what goes wrong in showing it ends only that."""
        try:
            await self.request.present(self.monitor)
        except Exception:
            self.log.exception("not_shown_any_more")

    def _pipeline(self, pacer: AsyncPacer, transport: AiohttpTransport) -> Pipeline:
        request = self.request
        operation = request.folder.binding().operation
        return make_pipeline(self.ledger, operation, transport, pacer, request.steering, self._take_back)

    def _take_back(self, halt: Halt) -> None:
        """Put the evidence of a wrong run back to pending (promise 6)."""
        self.ledger.take_back(halt.evidence, why=halt.reason, http_status=halt.evidence_status)

    async def _end(self, pipeline: Pipeline, stop: Stop | None, cool_down_s: float) -> None:
        halt = pipeline.halt
        if halt is not None:
            self._take_back(halt)  # what calls in flight added to it
            stop = Stop(RunState.HALTED, halt.reason)
        pending = facts(self.request.folder).outcomes[Outcome.PENDING]
        if stop is None or pending == 0:
            stop = Stop(RunState.FINISHED, "")
        await self.ledger.end_session(stop.state, stop.reason, cool_down_s)
        self.log.info("session_ended", state=str(stop.state), reason=stop.reason, pending=pending)
        if halt is not None and halt.kind is HaltKind.CONFIGURATION:
            raise ConfigurationError(halt.reason)


def _stop_for(error: BaseException) -> Stop:
    if isinstance(error, BulkUnverifyError):
        return Stop(RunState.HALTED, str(error))
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return Stop(RunState.INTERRUPTED, "interrupted")
    return Stop(RunState.HALTED, f"a defect of bulk-unverify ({type(error).__name__})")


async def _beside(main: Coroutine[Any, Any, None], *others: Coroutine[Any, Any, None]) -> None:
    """Await `main` while `others` run; they are cancelled when it ends, and it is when one of them fails."""
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(other) for other in others]
        await main
        for task in beside:
            task.cancel()
