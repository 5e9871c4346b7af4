"""A standing worker: takes rows from a queue until it is told to stop, and outlives a wrong key and a lost broker."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from worker import logs
from worker.brokers import QueueAddress, open_queue
from worker.compose.assembly import make_pipeline, make_transport
from worker.compose.options import Steering
from worker.compose.sharing import Sharing, Together, keep_together
from worker.compose.stopping import StopRequest, heed_signals
from worker.compose.watch import ProtectedLists
from worker.connection import ApiKey, Tenant
from worker.errors import BrokerError, BulkUnverifyError, ConfigurationError, InputError
from worker.guard import Halt
from worker.model import Outcome
from worker.pacing import AsyncPacer
from worker.pipeline import Pipeline
from worker.ports import WorkQueue
from worker.queueing import Desk, Terms
from worker.transport import AiohttpTransport, prime_malloc

_LOOK_S: Final = 1.0
_AHEAD_S: Final = 2.0
"""Rows at hand last about this long: what more a worker took, the others would wait for."""
_LEAST_ROWS: Final = 64
_MOST_ROWS: Final = 4096


@dataclasses.dataclass(frozen=True, slots=True)
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


async def work(request: WorkRequest) -> dict[str, object]:
    """Work until stopped by a signal, or until the queue is empty; return what was done.

    Raises:
        ConfigurationError: There is no key at the start.
        BrokerError: The queue cannot be reached at the start.
    """
    prime_malloc()
    key = request.load_key()
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    async with (
        contextlib.aclosing(open_queue(request.address, name, lease_s=request.lease_s)) as queue,
        keep_together(
            request.sharing, request.steering, request.tenant.name, request.address.name, name
        ) as together,
    ):
        await queue.depth()
        worker = _Worker(request, queue, together, name)
        with heed_signals(worker.stopping, request.say):
            await worker.run(key)
        return worker.told()


class _Worker:
    """The parts that outlive a session."""

    def __init__(self, request: WorkRequest, queue: WorkQueue, together: Together, name: str) -> None:
        self._request = request
        self._queue = queue
        self._together = together
        self._name = name
        self._stopped = asyncio.Event()
        self._end_session: Callable[[], None] = lambda: None
        self.stopping = StopRequest(self._stop)
        self._outcomes: collections.Counter[Outcome] = collections.Counter()
        self._buried = self._unrecorded = 0
        exclude = request.steering.exclude
        self._lists = ProtectedLists([exclude] if exclude else [])
        self._list_trouble: str | None = None

    async def run(self, key: ApiKey) -> None:
        """Work in sessions: one ends when the queue is empty, on a signal, or by a halt."""
        halt = await self._session(key, probing=False)
        while halt is not None and not self._stopped.is_set():
            every_s = self._request.probe_every_s
            self._request.say(
                f"Halted: {halt}. Messages are given back; one row is tried in {every_s:.0f} s."
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._stopped.wait()
                    return
            try:
                halt = await self._session(self._request.load_key(), probing=True)
                if halt is None:
                    halt = await self._session(self._request.load_key(), probing=False)
            except (ConfigurationError, InputError) as error:
                halt = str(error).rstrip(".")

    def told(self) -> dict[str, object]:
        """Return what was done, for `--json`."""
        return {
            "queue": str(self._request.address),
            "worker": self._name,
            "outcomes": {outcome: self._outcomes[outcome] for outcome in Outcome},
            "buried": self._buried,
            "not_recorded": self._unrecorded,
            "exit_code": BrokerError.exit_code if self._unrecorded else 0,
        }

    def _stop(self) -> None:
        self._stopped.set()
        self._end_session()

    async def _session(self, key: ApiKey, *, probing: bool) -> str | None:
        """Work until the session ends; return what is wrong with the tenant, the key or the list, or None."""
        steering = self._request.steering
        self._list_trouble = None
        pacer = self._together.pacer
        pacer.reopen()
        async with (
            make_transport(self._request.tenant, key, steering, pacer) as transport,
            self._desk(logs.to_stderr(key=key.reveal()), probing=probing) as desk,
        ):
            pipeline = self._pipeline(desk, pacer, transport)
            self._end_session = lambda: _end(desk, pipeline)
            if self._stopped.is_set():
                return None
            watching = asyncio.create_task(self._watch_lists(desk))
            try:
                await pipeline.run()
            finally:
                self._end_session = lambda: None
                watching.cancel()
            if pipeline.halt is not None:
                desk.take_back(pipeline.halt)  # what calls in flight added to it
        self._buried += desk.buried
        self._unrecorded += desk.unrecorded
        return self._list_trouble if pipeline.halt is None else pipeline.halt.reason

    def _desk(self, log: structlog.typing.FilteringBoundLogger, *, probing: bool) -> Desk:
        steering = self._request.steering
        per_s = steering.rate.share(self._request.sharing.parts).ceiling_per_s
        ahead = _MOST_ROWS if per_s is None else int(per_s * _AHEAD_S)
        terms = Terms(
            worker=self._name,
            until_empty=self._request.until_empty,
            most_rows=min(max(ahead, steering.concurrency * 2, _LEAST_ROWS), _MOST_ROWS),
            most_claims=1 if probing else None,
            key=self._request.signing_key,
        )
        desk = Desk(self._queue, terms, log, protected=self._lists.load(), cap=self._together.cap)
        desk.on_record = self._outcomes.update
        return desk

    def _pipeline(self, desk: Desk, pacer: AsyncPacer, transport: AiohttpTransport) -> Pipeline:
        def on_halt(halt: Halt) -> None:
            desk.close()
            desk.take_back(halt)

        request = self._request
        return make_pipeline(desk, request.operation, transport, pacer, request.steering, on_halt)

    async def _watch_lists(self, desk: Desk) -> None:
        """Read the protected list again whenever it changes; what was protected stays so (promise 11)."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._lists.changed():
                continue
            try:
                desk.protected |= self._lists.load()
            except BulkUnverifyError as error:
                self._list_trouble = str(error)
                self._end_session()


def _end(desk: Desk, pipeline: Pipeline) -> None:
    desk.close()
    pipeline.stop()


def read_signing_key(path: Path | None) -> bytes | None:
    """Return the key that messages are signed with, from a file; None without one.

    Raises:
        ConfigurationError: The file cannot be read, or holds too little to be a key.
    """
    if path is None:
        return None
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"The signing key {path} cannot be read: {error.strerror}.") from None
    if len(key) < 16:  # noqa: PLR2004 - 128 bits, however they are written
        raise ConfigurationError(f"The signing key in {path} has {len(key)} bytes; 16 are the least.")
    return key
