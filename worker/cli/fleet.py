"""`enqueue`, `work` and `dead-letters`: the same job from a message queue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import flags, given
from worker.cli.grouped import grouped
from worker.cli.sharing import SHARED_RATE, shared_store
from worker.hints import DEFAULT_OPERATION, DEFAULT_RUNS

if TYPE_CHECKING:
    from worker.brokers import QueueAddress
    from worker.queueing import DeadLetter

_QUEUE = "BULK_UNVERIFY_QUEUE"
_Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        help=f"redis://HOST/0?stream=NAME or amqp://HOST/NAME; otherwise {_QUEUE}, where it may hold a password.",
    ),
]
_SigningKey = Annotated[
    Path | None, typer.Option("--signing-key", help="File of the key that signs messages (HMAC-SHA256).")
]


@grouped
def enqueue(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The input; `-` for standard input.")],
    *,
    queue: _Queue = None,
    reading: flags.Reading,
    rows_per_message: Annotated[
        int, typer.Option("--rows-per-message", min=1, max=1000, help="Rows in one message.")
    ] = 100,
    reason: flags.Reason = "",
    signing_key: _SigningKey = None,
    again: Annotated[
        bool, typer.Option("--again", help="Have the rows called, although they were published before.")
    ] = False,
    runs: flags.Runs = DEFAULT_RUNS,
    as_json: flags.Json = False,
) -> None:
    """Validate a file and publish its rows to a queue; sends nothing to a tenant."""
    import asyncio
    import dataclasses

    from worker.cli import show
    from worker.compose.enqueueing import EnqueueRequest, enqueue
    from worker.compose.standing import read_signing_key

    request = EnqueueRequest(
        Path(file),
        given.input_options(reading),
        _address(queue),
        rows_per_message,
        again,
        reason,
        read_signing_key(signing_key),
        runs,
    )
    receipt = asyncio.run(enqueue(request))
    show.say(f"Published  {receipt.rows:,} rows in {receipt.messages:,} messages to {receipt.queue}")
    show.say(f"Batch      {receipt.batch_id}")
    if receipt.invalid:
        show.say(f"Left out   {receipt.invalid:,} invalid rows")
    show.first_invalid(receipt.first_invalid)
    exit_code = 1 if receipt.invalid else 0
    if as_json:
        show.say_json(dataclasses.asdict(receipt) | {"exit_code": exit_code})
    raise SystemExit(exit_code)


@grouped
def work(
    *,
    queue: _Queue = None,
    tenant: flags.Tenant = None,
    operation: flags.Operation = None,
    steering: flags.Steering,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Workers, a surge included: without a shared rate, each keeps --rate / N.",
        ),
    ] = None,
    shared_rate: Annotated[
        str | None,
        typer.Option(
            "--shared-rate",
            help="redis://HOST/0 in which all workers keep one rate, or none; otherwise"
            f" {SHARED_RATE}, or the queue's own Redis.",
        ),
    ] = None,
    max_rows_per_hour: Annotated[
        int | None,
        typer.Option("--max-rows-per-hour", min=1, help="Take no more of the queue's rows in any hour."),
    ] = None,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when the queue is empty.")] = False,
    lease: Annotated[
        str,
        typer.Option("--lease", help="A worker that is silent for this long loses its messages to others."),
    ] = "30s",
    probe_every: Annotated[
        str, typer.Option("--probe-every", help="After a halt, one row is tried this often.")
    ] = "1m",
    require_signature: Annotated[
        Path | None,
        typer.Option(
            "--require-signature", help="File of the key; messages it did not sign are dead letters."
        ),
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Take rows from a queue, call for each, and publish the outcomes; for ever, or until it is empty."""
    import asyncio

    from worker.cli import show
    from worker.compose.sharing import Sharing
    from worker.compose.standing import WorkRequest, read_signing_key
    from worker.compose.standing import work as stand
    from worker.connection import load_key, load_tenant
    from worker.units import parse_duration_s

    address = _address(queue)
    request = WorkRequest(
        address,
        load_tenant(tenant),
        load_key,
        operation or DEFAULT_OPERATION,
        given.settings(steering),
        Sharing(shared_store(shared_rate, address), workers, max_rows_per_hour),
        until_empty,
        read_signing_key(require_signature),
        show.say,
        parse_duration_s(lease),
        parse_duration_s(probe_every),
    )
    told = asyncio.run(stand(request))
    if told["not_recorded"]:
        show.say(f"Not recorded: {told['not_recorded']} rows, as the broker was lost. They are called again.")
    if as_json:
        show.say_json(told)
    raise SystemExit(told["exit_code"])


def dead_letters(
    *,
    queue: _Queue = None,
    requeue: Annotated[bool, typer.Option("--requeue", help="Put the messages back into the queue.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Letters to take at most.")] = None,
    as_json: flags.Json = False,
) -> None:
    """Show the messages that nobody could work on and why, or send them again."""
    import asyncio

    import msgspec

    from worker.cli import show
    from worker.compose.burials import dead_letters as exhume

    told: list[object] = []

    def tell(letter: DeadLetter) -> None:
        told.append(msgspec.to_builtins(letter))
        if not as_json:
            show.say(f"{letter.message}  delivered {letter.times} times  {letter.reason}")

    back = asyncio.run(exhume(_address(queue), tell, requeue=requeue, limit=limit))
    show.say(f"{len(told):,} dead letters{f', {back:,} put back into the queue' if requeue else ''}.")
    if as_json:
        show.say_json({"dead_letters": told, "requeued": back})


def _address(given: str | None) -> QueueAddress:
    """Return the queue's address; a password in an argument would be visible to everybody.

    Raises:
        UsageError: There is none, or it holds a password.
    """
    from worker.brokers import QueueAddress
    from worker.errors import UsageError

    if given is None:
        given = os.environ.get(_QUEUE, "")
        if not given:
            raise UsageError(f"Which queue? Give --queue or set {_QUEUE}.")
        return QueueAddress.parse(given)
    address = QueueAddress.parse(given)
    if address.has_password:
        raise UsageError(
            f"--queue holds a password, which everybody can see: set {_QUEUE} to that URL instead."
        )
    return address
