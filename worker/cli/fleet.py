"""`enqueue`, `work`, `collect` and `dead-letters`: the same job from a message queue."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import flags, given
from worker.cli.edge import INTERRUPTED
from worker.cli.grouped import grouped
from worker.hints import DEFAULT_OPERATION, DEFAULT_RUNS

if TYPE_CHECKING:
    from worker.queueing import DeadLetter

_Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        help="redis://HOST/0?stream=NAME, amqp://HOST/NAME, nats://HOST/NAME or sqs://REGION/NAME; otherwise"
        f" {given.QUEUE}, which may hold a password.",
    ),
]


class Results(enum.StrEnum):
    """Where outcomes go."""

    QUEUE = "queue"
    LEDGER = "ledger"


@grouped
def enqueue(
    file: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="The input; `-` for standard input. Several files, or a folder of part files, are one.",
        ),
    ],
    *,
    queue: _Queue = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", help="The tenant's domain: workers of another one refuse the rows."),
    ] = None,
    operation: Annotated[
        str | None, typer.Option("--operation", help="Workers that do something else refuse the rows.")
    ] = None,
    reading: flags.Reading,
    rows_per_message: flags.RowsPerMessage = 100,
    exclude: flags.Exclude = None,
    reason: flags.Reason = "",
    signing_key: flags.SigningKey = None,
    again: Annotated[
        bool, typer.Option("--again", help="Have the rows called, although they were published before.")
    ] = False,
    strict: flags.Strict = False,
    runs: flags.Runs = DEFAULT_RUNS,
    as_json: flags.Json = False,
) -> None:
    """Validate a file and publish its rows to a queue; sends nothing to a tenant."""
    import asyncio
    import dataclasses

    from worker.cli import show
    from worker.compose.enqueueing import EnqueueRequest, enqueue
    from worker.compose.signing import read_signing_key
    from worker.connection import load_tenant

    request = EnqueueRequest(
        input_path=file[0],
        input_options=given.input_options(reading),
        address=given.address(queue),
        rows_per_message=rows_per_message,
        tenant=None if tenant is None else load_tenant(tenant).name,
        operation=operation,
        again=again,
        reason=reason,
        signing_key=read_signing_key(signing_key),
        exclude=exclude,
        runs_dir=runs,
        strict=strict,
        further=tuple(file[1:]),
    )
    with given.naming(request.address):
        receipt = asyncio.run(enqueue(request))
    show.say(f"Published  {receipt.rows:,} rows in {receipt.messages:,} messages to {receipt.queue}")
    show.say(
        f"Batch      {receipt.batch_id}: what is known to be done of it is not called again without --again"
    )
    show.say(
        f"Left out   {receipt.duplicate:,} duplicate, {receipt.invalid:,} invalid, {receipt.excluded:,} excluded"
    )
    show.first_invalid(receipt.first_invalid)
    show.protected(receipt.protected_lists)
    show.warned(receipt.warnings)
    exit_code = 1 if receipt.invalid else 0
    if as_json:
        told = {
            "first_invalid": show.invalid_objects(receipt.first_invalid),
            "protected_lists": show.list_objects(receipt.protected_lists),
            "warnings": [each.as_object() for each in receipt.warnings],
            "exit_code": exit_code,
        }
        show.say_json(dataclasses.asdict(receipt) | told)
    raise SystemExit(exit_code)


@grouped
def work(
    *,
    queue: _Queue = None,
    tenant: flags.Tenant = None,
    operation: flags.Operation = None,
    calling: flags.Calling,
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
            f" {given.SHARED_RATE}, or the queue's own Redis.",
        ),
    ] = None,
    max_rows_per_hour: Annotated[
        int | None,
        typer.Option("--max-rows-per-hour", min=1, help="Take no more of the queue's rows in any hour."),
    ] = None,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when the queue is empty.")] = False,
    lease: flags.Lease = "30s",
    probe_every: Annotated[
        str, typer.Option("--probe-every", help="After a halt, one row is tried this often.")
    ] = "1m",
    require_signature: Annotated[
        Path | None,
        typer.Option(
            "--require-signature", help="File of the key; messages it did not sign are dead letters."
        ),
    ] = None,
    fence: Annotated[
        str | None,
        typer.Option(
            "--fence",
            help="A Redis that remembers rows where the queue's broker does not: redis://HOST/0; otherwise"
            f" {given.FENCE}, which may hold a password.",
        ),
    ] = None,
    results: Annotated[
        Results,
        typer.Option(
            "--results", help="Where outcomes go: to the queue of results, or into ledgers in --runs."
        ),
    ] = Results.QUEUE,
    runs: flags.Runs = DEFAULT_RUNS,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", help="Serve /metrics, /healthz and /readyz here, for example 127.0.0.1:9464."
        ),
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Take rows from a queue, call for each, and publish the outcomes; for ever, or until it is empty."""
    import asyncio

    from worker.cli import show
    from worker.compose.sharing import Sharing
    from worker.compose.signing import read_signing_key
    from worker.compose.standing import WorkRequest
    from worker.compose.standing import work as stand
    from worker.connection import load_key, load_tenant
    from worker.tracing import open_tracing
    from worker.units import parse_duration_s
    from worker.web import ListenAddress

    address = given.address(queue)
    request = WorkRequest(
        address=address,
        tenant=load_tenant(tenant),
        load_key=load_key,
        operation=operation or DEFAULT_OPERATION,
        steering=given.settings(calling),
        sharing=Sharing(given.shared_store(shared_rate, address), workers, max_rows_per_hour),
        until_empty=until_empty,
        signing_key=read_signing_key(require_signature),
        say=show.say,
        lease_s=parse_duration_s(lease),
        probe_every_s=parse_duration_s(probe_every),
        keep_in=runs if results is Results.LEDGER else None,
        listen=None if listen is None else ListenAddress.parse(listen),
        tracing=open_tracing(show.say),
        fence=given.fence(fence),
    )
    with given.naming(address):
        told = asyncio.run(stand(request))
    show.worked(told)
    if told["not_recorded"]:
        show.say(f"Not recorded: {told['not_recorded']} rows, as the broker was lost. They are called again.")
    if as_json:
        show.say_json(told)
    raise SystemExit(told["exit_code"])


def collect(
    *,
    queue: _Queue = None,
    runs: flags.Runs = DEFAULT_RUNS,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on when there is none, until stopped.")
    ] = False,
    lease: flags.Lease = "30s",
    as_json: flags.Json = False,
) -> None:
    """Take outcomes from a queue's results into ledgers, one for each batch, and write their reports."""
    import asyncio

    from worker.cli import show
    from worker.compose.collecting import CollectRequest
    from worker.compose.collecting import collect as take
    from worker.ledger import RunFolder, facts
    from worker.units import parse_duration_s

    request = CollectRequest(given.address(queue), runs, follow, parse_duration_s(lease), show.say)
    with given.naming(request.address):
        added, summaries, stopped = asyncio.run(take(request))
    for summary in summaries:
        folder = RunFolder(Path(str(summary["run_dir"])))
        show.say(f"{show.status_line(folder, facts(folder))}  {summary['report']}")
    show.say(f"{added:,} outcomes collected.")
    exit_code = max((int(str(summary["exit_code"])) for summary in summaries), default=0)
    if stopped and not follow:
        show.say("Stopped before the queue of results was empty: run the same command again to go on.")
        exit_code = INTERRUPTED
    if as_json:
        show.say_json({"collected": added, "runs": summaries, "exit_code": exit_code})
    raise SystemExit(exit_code)


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
    from worker.queueing import fit_reason

    told: list[object] = []

    def tell(letter: DeadLetter) -> None:
        told.append(msgspec.to_builtins(letter))
        if not as_json:
            show.say(fit_reason(f"{letter.message}  delivered {letter.times} times  {letter.reason}"))

    address = given.address(queue)
    with given.naming(address):
        back = asyncio.run(exhume(address, tell, requeue=requeue, limit=limit))
    show.say(f"{len(told):,} dead letters{f', {back:,} put back into the queue' if requeue else ''}.")
    if as_json:
        show.say_json({"dead_letters": told, "requeued": back})
