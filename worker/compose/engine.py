"""Who calls a session's rows: this process, or the workers of a queue. Both are steered and watched alike."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import structlog

from worker.brokers import QueueAddress, open_queue
from worker.compose.assembly import make_pipeline, make_transport
from worker.compose.monitor import Pace
from worker.compose.operations import find_operation
from worker.compose.options import Steering
from worker.connection import ApiKey, Tenant
from worker.guard import Guard, Halt
from worker.ledger import RunFolder, RunLedger
from worker.pacing import AsyncPacer, RatePlan
from worker.pipeline import Pipeline
from worker.queueing import Assignment, Dispatcher, fit_reason
from worker.transport import prime_malloc

_QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,59}")


@dataclasses.dataclass(frozen=True, slots=True)
class Via:
    """The queue whose workers call the rows.

    Attributes:
        address: The queue.
        signing_key: Signs the messages; None does not.
        rows_per_message: Rows in one message.
        lease_s: Seconds of silence after which a worker's messages go to others.
    """

    address: QueueAddress
    signing_key: bytes | None
    rows_per_message: int
    lease_s: float


class Engine(Protocol):
    """Brings the rows of a ledger to their outcomes."""

    @property
    def halt(self) -> Halt | None:
        """Why the guard stopped it, or None."""

    async def run(self) -> None:
        """Work until no row is pending, or until `stop`; everything that was recorded is durable then."""

    def stop(self) -> None:
        """Take up no further row."""

    def pause(self) -> None:
        """Begin nothing until `resume`."""

    def resume(self) -> None:
        """End a pause."""

    @property
    def keeps_rate(self) -> bool:
        """Whether it is this process that keeps a rate."""

    def set_rate(self, rate_plan: RatePlan) -> None:
        """Keep another rate from now on, if it keeps one."""

    def status(self) -> Pace:
        """Return how fast it goes."""

    @property
    def silence(self) -> tuple[float, str]:
        """For how many seconds that count nobody has answered, and who that is, as a sentence with `{time}`."""

    @property
    def outage(self) -> str:
        """What attempts met of a tenant that is taken to be out, with counts; empty while it is not."""

    @property
    def cool_down_s(self) -> float:
        """Seconds that the tenant still wants to be left alone."""

    @property
    def left_behind(self) -> str:
        """What goes on without this session once that has ended, as a sentence; empty if nothing does."""


class LocalEngine:
    """Calls by itself. Implements `Engine`."""

    keeps_rate = True
    left_behind = ""

    def __init__(self, pacer: AsyncPacer, pipeline: Pipeline) -> None:
        self._pacer = pacer
        self._pipeline = pipeline
        self.run, self.stop = pipeline.run, pipeline.stop
        self.pause, self.resume = pacer.pause, pacer.resume
        self.status, self.set_rate = pacer.status, pacer.set_rate

    @property
    def halt(self) -> Halt | None:
        """Why the guard stopped it, or None."""
        return self._pipeline.halt

    @property
    def silence(self) -> tuple[float, str]:
        """For how long no row got a final answer."""
        met = f": {self._pacer.trouble}" if self._pacer.trouble else ""
        return self._pacer.silent_s, (
            f"the tenant gave no row a final answer for {{time}}{_braced(met)}. Go on once it does; --outage-patience"
            " says how long a run waits"
        )

    @property
    def outage(self) -> str:
        """What attempts met while the tenant is taken to be out."""
        return self._pacer.trouble if self._pacer.in_outage else ""

    @property
    def cool_down_s(self) -> float:
        """Seconds that the tenant still wants to be left alone."""
        return self._pacer.cool_down_s


class FleetEngine:
    """Has the workers of a queue call. Implements `Engine`; the rate, and the tenant's answers, are theirs."""

    keeps_rate = False
    cool_down_s = 0.0
    outage = ""

    def __init__(self, dispatcher: Dispatcher, address: QueueAddress) -> None:
        self._dispatcher = dispatcher
        self._address = address
        self.run, self.stop = dispatcher.run, dispatcher.stop
        self.pause, self.resume = dispatcher.pause, dispatcher.resume
        self.status = dispatcher.status

    @property
    def halt(self) -> Halt | None:
        """Why the guard stopped it, or None."""
        return self._dispatcher.halt

    def set_rate(self, rate_plan: RatePlan) -> None:
        """Do nothing: the workers keep their own."""

    @property
    def silence(self) -> tuple[float, str]:
        """For how long the queue is lost, or no worker answers."""
        return self._dispatcher.trouble_s, (
            "no outcome came from the queue's workers for {time}. Look at the workers, then go on; --outage-patience"
            " says how long a run waits"
        )

    @property
    def left_behind(self) -> str:
        """How many rows the workers have still."""
        left = self._dispatcher.left
        if not left:
            return ""
        return (
            f"{left:,} rows are with the workers of {self._address}, who go on with them. To take their outcomes, and"
            " to go on with the rest, run the same command again."
        )


@contextlib.asynccontextmanager
async def calling_here(
    folder: RunFolder,
    ledger: RunLedger,
    tenant: Tenant,
    key: ApiKey,
    steering: Steering,
    on_halt: Callable[[Halt], None],
) -> AsyncIterator[Engine]:
    """Yield the engine that calls from this process."""
    prime_malloc()
    pacer = AsyncPacer(steering.rate, concurrency=steering.concurrency, timeout_s=steering.timeout_s)
    pacer.hold(folder.cool_down_until() - time.time())
    async with make_transport(tenant, key, steering, pacer) as transport:
        operation = find_operation(folder.binding().operation)
        yield LocalEngine(pacer, make_pipeline(ledger, operation, transport, pacer, steering, on_halt))


@contextlib.asynccontextmanager
async def calling_by_workers(
    folder: RunFolder,
    ledger: RunLedger,
    session: int,
    via: Via,
    steering: Steering,
    log: structlog.typing.FilteringBoundLogger,
    on_halt: Callable[[Halt], None],
) -> AsyncIterator[Engine]:
    """Yield the engine that publishes to a queue."""
    binding = folder.binding()
    assignment = Assignment(
        name=_name_of(folder.meta()["run_id"]),
        session=session,
        tenant=binding.tenant,
        operation=binding.operation,
        reason=fit_reason(folder.meta()["reason"]),
        key=via.signing_key,
        rows_per_message=via.rows_per_message,
    )
    guard = Guard(max_failures=steering.max_failures, accept=steering.accept, can_ask=False)
    name = f"run-{secrets.token_hex(4)}"
    async with contextlib.aclosing(open_queue(via.address, name, lease_s=via.lease_s)) as queue:
        await queue.depth()  # a queue that cannot be reached is said before anything is published
        dispatcher = Dispatcher(ledger, queue, assignment, guard, log, on_halt=on_halt)
        yield FleetEngine(dispatcher, via.address)


def _braced(text: str) -> str:
    """Return `text` as `str.format` takes it for itself."""
    return text.replace("{", "{{").replace("}", "}}")


def _name_of(run_id: str) -> str:
    """Return a run's name as that of a queue, which has fewer letters, and not so many."""
    if _QUEUE_NAME.fullmatch(run_id):
        return run_id
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{re.sub('[^A-Za-z0-9]+', '-', run_id)[:40].strip('-')}-{digest}"
