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
from worker.compose.assembly import fit_to_files
from worker.compose.choosing import check_tenant
from worker.compose.engine import Engine, Via, calling_by_workers, calling_here
from worker.compose.monitor import Monitor
from worker.compose.options import Steering
from worker.compose.planning import operator
from worker.compose.protected import ProtectedLists
from worker.compose.reporting import report
from worker.compose.stopping import Stop, StopRequest, heed_signals
from worker.compose.watch import Bounds, Watch
from worker.connection import ApiKey, Tenant
from worker.errors import BulkUnverifyError, ConfigurationError, LedgerError, UsageError, cause_of
from worker.guard import Halt, HaltKind
from worker.hints import typed_for
from worker.ledger import (
    NOT_COLLECTED,
    PUBLISHED_TO,
    RunFolder,
    RunLedger,
    facts,
    settle_in,
    snapshot,
    take_commands,
    tenant_lock,
)
from worker.model import Outcome, RunState


@dataclasses.dataclass(frozen=True, slots=True)
class SessionRequest:
    """What a session needs.

    Attributes:
        folder: The planned run.
        tenant: Must be the one that the run was planned for.
        key: The tenant's key; None where others call.
        steering: How to go about it.
        retake: Outcomes that go again first (`retry`); empty to carry on with what is pending.
        present: Shows the monitor until it is cancelled.
        say: Tells the person one line.
        via: The queue whose workers call; None to call from here.
        recall: Whether rows that are with a queue's workers are called by others, too.
    """

    folder: RunFolder
    tenant: Tenant
    key: ApiKey | None
    steering: Steering
    retake: frozenset[Outcome]
    present: Callable[[Monitor], Coroutine[Any, Any, None]]
    say: Callable[[str], None]
    via: Via | None = None
    recall: bool = False


async def run_session(request: SessionRequest) -> dict[str, object]:
    """Work on the run until no row is pending or something ends the session; report; return the summary.

    Raises:
        RunBusyError: Another process owns the run, or calls this tenant.
        ConfigurationError: The host or its certificate is wrong; nothing was sent.
        UsageError: Rows of the run are with the workers of a queue, and others were to call them.
        BrokerError: The queue cannot be reached.
        LedgerError: Outcomes could not be recorded; run again to resume.
    """
    folder = request.folder
    check_tenant(folder, request.tenant)
    began_ns = time.time_ns()
    with folder.lock():
        waiting = take_commands(folder.inbox, before_ns=began_ns)
        for told in waiting.unread:
            request.say(f"The inbox: {told}.")
        for command in waiting.commands:
            request.say(f"Not done: {command}. It was asked of an earlier session, which had ended.")
        await _work(request)
        return report(folder, accept=request.steering.accept)


async def _work(request: SessionRequest) -> None:
    folder, steering = request.folder, request.steering
    protected = ProtectedLists(folder.protected_lists())
    ids = protected.load()  # before anything is taken back: a list that cannot be read changes nothing
    via = "" if request.via is None else str(request.via.address)
    with contextlib.ExitStack() as held:
        if not via:  # else it is not this machine that calls
            share = steering.share_tenant
            held.enter_context(tenant_lock(request.tenant.name, run_id=folder.run_id, share=share))
        key = "" if request.key is None else request.key.reveal()
        log = held.enter_context(logs.configure(folder.log, key=key))
        async with contextlib.aclosing(await RunLedger.open(folder)) as ledger:
            _refuse_twice(folder, len(await ledger.published()), via, recall=request.recall)
            await ledger.protect(ids)
            settings = steering.as_kept(via) | {"exclude": protected.names}
            number = await ledger.begin_session(
                operator(),
                settings,
                retake=request.retake,
                publishes_to=via,
                recall=request.recall,
            )
            settle_in(folder, number)
            monitor = Monitor(folder.run_id, request.tenant.name, facts(folder).outcomes, time.monotonic)
            ledger.on_commit = monitor.committed
            log.info("session_started", run_id=folder.run_id, session=number, **settings)
            if not via:
                request = dataclasses.replace(request, steering=fit_to_files(steering, request.say))
            session = _Session(request, ledger, number, monitor, protected, log)
            try:
                await session.work()
            except BaseException as error:  # noqa: BLE001 - whatever ended it, and it goes on as it was
                cause = cause_of(error)
                await session.end_broken(cause)
                with contextlib.suppress(BulkUnverifyError):  # one that is broken has said so
                    held.enter_context(snapshot(folder))  # read until the end, its log is not taken away
                raise cause from None


def _refuse_twice(folder: RunFolder, published: int, via: str, *, recall: bool) -> None:
    """Refuse that rows are called by others than those who have them already."""
    holder = folder.meta().get(PUBLISHED_TO, "")
    if published and via != holder and not recall:
        raise UsageError(
            f"{published:,} rows of run {folder.run_id} are with the workers of {holder}. Give --via with that queue:"
            " it takes their outcomes and goes on. If those workers are gone for good, add --recall: what they did"
            " and nobody recorded is called a second time."
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Session:
    """The parts of a session that has its locks and its ledger."""

    request: SessionRequest
    ledger: RunLedger
    number: int
    monitor: Monitor
    protected: ProtectedLists
    log: structlog.typing.FilteringBoundLogger

    async def work(self) -> None:
        """Run the engine to its end and record how the session ended."""
        steering = self.request.steering
        async with self._engine() as engine:
            self.monitor.pace = engine.status
            stopping = StopRequest(engine.stop)
            bounds = Bounds(steering.deadline_s, steering.outage_patience_s)
            watch = Watch(
                self.request.folder, self.ledger, engine, stopping, bounds, self.protected, self.log
            )
            with heed_signals(stopping, self.request.say):
                await _beside(engine.run(), watch.run(), self._show())
        if engine.left_behind:
            self.request.say(engine.left_behind)
        await self._end(engine, stopping.stop)

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

    def _engine(self) -> contextlib.AbstractAsyncContextManager[Engine]:
        request, folder, steering = self.request, self.request.folder, self.request.steering
        if request.via is not None:
            return calling_by_workers(
                folder, self.ledger, self.number, request.via, steering, self.log, self._take_back
            )
        assert request.key is not None
        return calling_here(folder, self.ledger, request.tenant, request.key, steering, self._take_back)

    def _take_back(self, halt: Halt) -> None:
        """Put the evidence of a wrong run back to pending (promise 6)."""
        self.ledger.take_back(
            halt.evidence, why=halt.reason, http_status=halt.evidence_status, numbers=halt.rows
        )

    async def _end(self, engine: Engine, stop: Stop | None) -> None:
        halt = engine.halt
        if halt is not None:
            self._take_back(halt)  # what calls in flight added to it
            stop = Stop(RunState.HALTED, halt.reason)
        pending = facts(self.request.folder).outcomes[Outcome.PENDING]
        if pending == 0:
            stop = Stop(RunState.FINISHED, "")
        elif stop is None:
            stop = self._left(pending)
        await self.ledger.end_session(stop.state, stop.reason, engine.cool_down_s)
        self.log.info("session_ended", state=str(stop.state), reason=stop.reason, pending=pending)
        if halt is not None and halt.kind is HaltKind.CONFIGURATION:
            raise ConfigurationError(halt.reason)

    def _left(self, pending: int) -> Stop:
        """Return how a session ended that did all it had to, and left rows pending."""
        folder = self.request.folder
        if self.request.retake:
            before = facts(folder).sessions[:-1]
            cancelled = bool(before) and before[-1].state is RunState.CANCELLED
            reason = f"{pending:,} rows were pending before this retry and stay so: `{typed_for(folder.path, 'run')}`"
            return Stop(RunState.CANCELLED if cancelled else RunState.HALTED, reason)
        # of a run that was collected: nobody here knows these rows
        return Stop(RunState.HALTED, f"{pending:,} of its rows {NOT_COLLECTED}")


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
