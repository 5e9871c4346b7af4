"""From a queue's results to ledgers and reports: by whoever collects them, or by the worker that found them."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from worker import logs
from worker.brokers import QueueAddress, open_queue
from worker.compose.planning import make_private, operator
from worker.compose.reporting import last_report
from worker.compose.stopping import StopRequest, heed_signals
from worker.errors import BrokerError, LedgerError, RunBusyError, UsageError
from worker.ledger import (
    CollectedRow,
    Collection,
    RunFolder,
    add_collected,
    known_of,
    open_collected,
    try_collected,
)
from worker.model import Delivery, Row
from worker.ports import Queue, WorkQueue
from worker.queueing import FoundRow, Patience, UnreadableError, dead_letter, decode_findings, result_of
from worker.reportable import COLLECTED

_AT_ONCE: Final = 300
"""Messages, of 100 outcomes at most."""
_WAIT_S: Final = 0.5
_REPORT_TRIES: Final = 50
_REPORT_AGAIN_S: Final = 0.2


class CollectedLedgers:
    """The ledgers of what is collected from one queue: one for each batch, one for all that belongs to none.

    Several processes may keep outcomes in the same folder at once. Implements `worker.queueing.Keeper`.

    Args:
        runs_dir: The folder of runs.
        address: The queue.
        tenant: Whose users the outcomes are that `known` is asked for.
        operation: What was done to them.

    Raises:
        UsageError: The folder cannot be made.
    """

    def __init__(
        self,
        runs_dir: Path,
        address: QueueAddress,
        *,
        tenant: str = "",
        operation: str = "",
    ) -> None:
        make_private(runs_dir)
        self._runs_dir = runs_dir
        self._address = address
        self._source = f"queue {address}"
        self._tenant, self._operation = tenant, operation
        self.added: collections.Counter[RunFolder] = collections.Counter()
        """How many outcomes were added to which run."""
        self.repeated = 0
        """How many were of rows that had one already."""

    def check(self) -> None:
        """Find out whether outcomes can be kept at all, before a call is made for one.

        Raises:
            LedgerError: They cannot be: a full disk, a ledger that is broken.
        """
        loose = Collection(self._address.name, True, self._tenant, self._operation).folder(self._runs_dir)
        if loose.exists:
            loose.binding()
        try_collected(self._runs_dir, now=time.time())

    async def keep(self, bodies: Sequence[bytes]) -> None:
        """Make outcomes durable, each once by the name of its row.

        Raises:
            LedgerError: They are not recorded.
        """
        await self.add([found for body in bodies for found in decode_findings(body)])

    async def add(self, found_rows: Sequence[FoundRow]) -> None:
        """Make outcomes durable that were read already, each once by the name of its row.

        Raises:
            LedgerError: They are not recorded.
        """
        await asyncio.to_thread(self._add, found_rows)

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which of `rows` (indexes by batch) have an outcome here already."""
        return await asyncio.to_thread(self._known, {batch: list(each) for batch, each in rows.items()})

    def report(self, say: Callable[[str], None]) -> list[dict[str, object]]:
        """Write the reports of what was collected from this queue, where they are missing or old.

        Returns the summaries of the runs that something was added to, and of those that are not complete. A run that
        cannot be read is told of, and hides no other.

        Raises:
            LedgerError: What was collected in a run is not known, as its ledger cannot be read.
            ReportError: A file could not be written.
        """
        summaries, unknown = [], ""
        for folder in RunFolder.all(self._runs_dir):
            try:
                if not self._is_ours(folder):
                    continue
                summary = _reported(folder)
            except RunBusyError as error:
                say(f"Its report is not written: {error}")
            except (LedgerError, UsageError) as error:
                say(f"Run {folder.run_id} is passed over: {error}")
                unknown = unknown or (folder.run_id if folder.run_id.startswith(COLLECTED) else "")
            else:
                if self.added[folder] or not summary["complete"]:
                    summaries.append(summary)
        if unknown:
            raise LedgerError(
                f"What was collected in run {unknown} is not known, as its ledger cannot be read. The reports of the"
                f" others are written. Mend that one, or move it out of {self._runs_dir}; then collect again."
            )
        return summaries

    def _is_ours(self, folder: RunFolder) -> bool:
        """Return whether a run was collected from this queue, or something was added to it."""
        binding = folder.binding()
        of_this_queue = COLLECTED in binding.selection and binding.input_name == self._source
        return of_this_queue or folder in self.added

    def _add(self, found_rows: Sequence[FoundRow]) -> None:
        groups: dict[Collection, list[FoundRow]] = collections.defaultdict(list)
        for found in found_rows:
            name = self._address.name if found.of_message else found.batch
            groups[Collection(name, found.of_message, found.tenant, found.operation)].append(found)
        for collection, group in groups.items():
            folder = open_collected(
                self._runs_dir, collection, source=self._source, operator=operator(), now=time.time()
            )
            rows = [_collected(found) for found in group]
            new = add_collected(folder, rows, max((found.batch_rows or 0 for found in group), default=0))
            self.added[folder] += new
            self.repeated += len(rows) - new

    def _known(self, rows: Mapping[str, Iterable[int]]) -> dict[str, frozenset[int]]:
        known: dict[str, frozenset[int]] = {}
        for batch, numbers in rows.items():
            for name, of_messages in ((batch, False), (self._address.name, True)):
                collection = Collection(name, of_messages, self._tenant, self._operation)
                folder = collection.folder(self._runs_dir)
                here = known_of(folder, batch, numbers) if folder.exists else frozenset[int]()
                known[batch] = known.get(batch, frozenset()) | here
        return known


def _reported(folder: RunFolder) -> dict[str, object]:
    """Return the summary; waits for another collector's report, which may be of an earlier moment, to be written.

    Raises:
        RunBusyError: Somebody works on the run for longer than that takes, as a retry does.
    """
    for _ in range(_REPORT_TRIES):
        with contextlib.suppress(RunBusyError):
            return last_report(folder, accept=frozenset())
        time.sleep(_REPORT_AGAIN_S)
    return last_report(folder, accept=frozenset())


def _collected(found: FoundRow) -> CollectedRow:
    row = Row(0, found.user_id, found.identifier_id)
    return CollectedRow(found.batch, found.index, found.worker, result_of(found, row))


@dataclasses.dataclass(frozen=True, slots=True)
class CollectRequest:
    """What is to be collected.

    Attributes:
        address: The queue.
        runs_dir: Where the ledgers are.
        follow: Whether to go on when there is no result for the moment.
        lease_s: Seconds after which what a killed collector has taken comes to another.
        say: Tells the person one line.
    """

    address: QueueAddress
    runs_dir: Path
    follow: bool
    lease_s: float
    say: Callable[[str], None]


async def collect(request: CollectRequest) -> tuple[int, list[dict[str, object]], bool]:
    """Take results until there are none, or until a signal, and report.

    A result is acknowledged once it is in a ledger: one whose acknowledgement is lost comes again, and is known.
    Returns how many outcomes were new, the summaries of their runs and of those that are not complete, and whether a
    signal ended it before the queue was empty.

    Raises:
        BrokerError: The queue cannot be reached; run again to go on.
        LedgerError: Nothing can be recorded.
        ReportError: A report could not be written.
    """
    ledgers = CollectedLedgers(request.runs_dir, request.address)
    name = f"collect-{secrets.token_hex(4)}"
    try:
        async with contextlib.aclosing(open_queue(request.address, name, lease_s=request.lease_s)) as queue:
            stopped = await _drain(queue, ledgers, request)
    finally:
        if ledgers.repeated:
            request.say(
                f"{ledgers.repeated:,} outcomes were of rows that have one already: the first one counts. What is to"
                " be done once more goes as a batch of its own (`enqueue --again`)."
            )
        summaries = ledgers.report(request.say)
    return ledgers.added.total(), summaries, stopped


async def _drain(queue: WorkQueue, ledgers: CollectedLedgers, request: CollectRequest) -> bool:
    """Keep outcomes until there are none; return whether a signal came first."""
    stopped = asyncio.Event()
    log = logs.to_stderr(key="")
    patience, results = Patience(log, time.monotonic), queue.results()
    with heed_signals(StopRequest(stopped.set), request.say):
        while not stopped.is_set():
            try:
                deliveries = await results.receive(_AT_ONCE, _WAIT_S)
                if not deliveries and not request.follow and await _is_empty(results):
                    return False
                await ledgers.add(await _read(queue, deliveries, log))
                await results.acknowledge(deliveries)
            except BrokerError as error:
                if not request.follow:
                    raise
                patience.lost(error)
                await patience.back_off(stopped)
            else:
                patience.back()
    return True


async def _is_empty(results: Queue) -> bool:
    """Return whether nothing is left, not even with a collector that was killed: that comes after its lease."""
    depth = await results.depth()
    return not depth.waiting and not depth.taken


async def _read(
    queue: WorkQueue, deliveries: Sequence[Delivery], log: structlog.typing.FilteringBoundLogger
) -> list[FoundRow]:
    """Return the outcomes that messages tell; what tells none goes to the dead letters, for somebody to look at."""
    found_rows = []
    for delivery in deliveries:
        try:
            found_rows += decode_findings(delivery.body)
        except UnreadableError as error:
            log.warning("unreadable_result", message=delivery.name, error=str(error))
            await queue.dead.publish(
                [dead_letter(delivery, f"a result that tells no outcome: {error}", queue.most_bytes)]
            )
    return found_rows
