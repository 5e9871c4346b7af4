"""What every session is put together from, wherever its rows come from: a ledger or a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from worker.compose.options import Steering
from worker.connection import ApiKey, Tenant
from worker.guard import Guard, Halt
from worker.pacing import AsyncPacer, retry_after_s
from worker.pipeline import Pipeline, Ports
from worker.ports import Operation, Pacer, Recorder, Source, Transport
from worker.process import room_for
from worker.retry import RetryLimits
from worker.transport import AiohttpTransport


class Work(Source, Recorder, Protocol):
    """Where rows come from, and where their outcomes go."""


def fit_to_files(steering: Steering, say: Callable[[str], None]) -> Steering:
    """Return `steering` with no more calls in flight than files may be open, and say what was changed."""
    allowed, told = room_for(steering.concurrency)
    if told:
        say(told)
    return steering if not told else steering.model_copy(update={"concurrency": allowed})


def make_transport(tenant: Tenant, key: ApiKey, steering: Steering, pacer: AsyncPacer) -> AiohttpTransport:
    """Return the transport of a session that keeps `pacer`'s rate; opened by `async with`."""
    return AiohttpTransport(
        tenant,
        key,
        timeout_s=steering.timeout_s,
        concurrency=steering.concurrency,
        ca_bundle=steering.ca_bundle,
        slack_s=pacer.slack_s,
    )


def make_pipeline(
    work: Work,
    operation: Operation,
    transport: Transport,
    pacer: Pacer,
    steering: Steering,
    on_halt: Callable[[Halt], None],
) -> Pipeline:
    """Return the pipeline of a session that does `operation` to the rows of `work`."""
    ports = Ports(
        source=work,
        operation=operation,
        transport=transport,
        pacer=pacer,
        recorder=work,
        retry_after=retry_after_s,
    )
    guard = Guard(max_failures=steering.max_failures, accept=steering.accept)
    limits = RetryLimits(steering.attempts, steering.row_time_limit_s)
    return Pipeline(ports, guard, limits, concurrency=steering.concurrency, on_halt=on_halt)
