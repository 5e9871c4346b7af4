"""From an input file to messages in a queue. Sends nothing to a tenant, and needs no key."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.brokers import QueueAddress, open_queue
from worker.compose.operations import find_operation
from worker.compose.origins import origins
from worker.compose.planning import make_private, refuse_warnings
from worker.intake import InputOptions, as_parts, load_protected, open_table
from worker.ledger import Binding, ListCount, PlanDraft, RunFolder, facts, pending_rows, remove_stale_drafts
from worker.model import Outcome, Row
from worker.queueing import Heading, Packing, ParsedRow, fit_reason, pack
from worker.warned import Warned

_MESSAGES_AT_ONCE: Final = 64
_DIGEST_LENGTH: Final = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueRequest:
    """What is to be published.

    Attributes:
        input_path: The file, or `-` for standard input.
        input_options: How to read it.
        address: The queue.
        rows_per_message: Rows in one message, at most: fewer where the broker takes no message that large.
        tenant: Whose users they are; None lets any worker take them.
        operation: What is to be done; None leaves it to the workers.
        again: Whether the rows are to be called although they were published before.
        reason: Why it is done.
        signing_key: Signs the messages; None does not.
        exclude: The protected list, or None.
        runs_dir: Where the input is planned meanwhile.
        strict: Whether an input that is warned of is refused.
        further: More files (or folders of part files) of the same input, in order.
    """

    input_path: Path
    input_options: InputOptions
    address: QueueAddress
    rows_per_message: int
    tenant: str | None
    operation: str | None
    again: bool
    reason: str
    signing_key: bytes | None
    exclude: Path | None
    runs_dir: Path
    strict: bool = False
    further: tuple[Path, ...] = ()


@dataclasses.dataclass(slots=True)
class Receipt:
    """What was published.

    Attributes:
        queue: The queue, without its login.
        batch_id: Names the rows: the same input, read in the same way, has the same, so that what is published twice
            is known to be.
        sha256: The input's digest.
        rows: Rows published.
        duplicate: Rows that are not, because their pair stands earlier in the input.
        excluded: Rows that are not, because the protected list has one of their ids.
        invalid: Rows that are not, because they cannot be called.
        first_invalid: The first of them: row number, line, why.
        warnings: What looked wrong in the input.
        protected_lists: What was counted of the protected list.
        messages: Messages published so far, each confirmed by the broker.
    """

    queue: str
    batch_id: str
    sha256: str
    rows: int
    duplicate: int
    excluded: int
    invalid: int
    first_invalid: list[tuple[int, int, str]]
    warnings: tuple[Warned, ...]
    protected_lists: tuple[ListCount, ...]
    messages: int = 0


async def enqueue(request: EnqueueRequest) -> Receipt:
    """Plan the whole input, then publish the rows that are to be called; return the receipt.

    Raises:
        UsageError: There is no such operation, or the plan has no place.
        InputError: The file as a whole is no batch, and nothing was published.
        LedgerError: The plan could not be written (a full disk), and nothing was published.
        WarnedError: The input is warned of, and this is `strict`: nothing was published.
        BrokerError: The broker is lost; publishing again is safe, as the rows keep their names.
    """
    if request.operation is not None:
        find_operation(request.operation)
    with _planned(request) as (plan, sha256):
        receipt = _receipt(request, plan, sha256)
        name = f"enqueue-{secrets.token_hex(4)}"
        async with contextlib.aclosing(open_queue(request.address, name)) as queue:
            messages = _messages(request, receipt, pending_rows(plan), queue.most_bytes)
            while bodies := list(itertools.islice(messages, _MESSAGES_AT_ONCE)):
                await queue.publish(bodies)
                receipt.messages += len(bodies)
    return receipt


@contextlib.contextmanager
def _planned(request: EnqueueRequest) -> Iterator[tuple[RunFolder, str]]:
    """Yield a plan of the input, which is gone when the block ends, and the input's digest.

    A plan leaves out what `run` leaves out as well, in constant memory, and what is published of it is what was read,
    whatever becomes of the file meanwhile.
    """
    make_private(request.runs_dir)
    remove_stale_drafts(request.runs_dir)
    lists = [load_protected(request.exclude)] if request.exclude else []
    unbound = Binding(request.input_path.name, "", request.tenant or "", request.operation or "", {})
    with (
        as_parts((request.input_path, *request.further), request.runs_dir) as parts,
        origins(request.runs_dir) as known,
        open_table(parts, request.input_options, known) as table,
        PlanDraft(
            request.runs_dir, "enqueue", unbound, operator="", reason="", planned_at=time.time()
        ) as draft,
    ):
        draft.add(table.rows())
        draft.finish(header=table.header, lists=lists, warnings=table.warnings)
        if request.strict:
            refuse_warnings(draft.drafted.plan_summary().warnings, "Nothing was published")
        yield draft.drafted, table.sha256


def _receipt(request: EnqueueRequest, plan: RunFolder, sha256: str) -> Receipt:
    outcomes, planned = facts(plan).outcomes, plan.plan_summary()
    again = f"-{secrets.token_hex(4)}" if request.again else ""
    return Receipt(
        queue=str(request.address),
        batch_id=f"{_batch_id(sha256, request.input_options)}{again}",
        sha256=sha256,
        rows=outcomes[Outcome.PENDING],
        duplicate=outcomes[Outcome.DUPLICATE],
        excluded=outcomes[Outcome.EXCLUDED],
        invalid=outcomes[Outcome.INVALID],
        first_invalid=list(planned.first_invalid),
        warnings=planned.warnings,
        protected_lists=planned.lists,
    )


def _batch_id(sha256: str, options: InputOptions) -> str:
    """Return the name of an input's rows: the same whenever they are published, another where they are other rows."""
    read = [options.user_column, options.identifier_column, options.header, options.separator, options.codec]
    return hashlib.sha256(json.dumps([sha256, *read]).encode()).hexdigest()[:_DIGEST_LENGTH]


def _messages(
    request: EnqueueRequest, receipt: Receipt, rows: Iterator[Row], most_bytes: int
) -> Iterator[bytes]:
    heading = Heading(
        receipt.batch_id,
        receipt.rows,
        fit_reason(request.reason),
        request.tenant or "",
        request.operation or "",
    )
    parsed = (
        ParsedRow(index=row.number, user_id=row.user_id, identifier_id=row.identifier_id) for row in rows
    )
    packing = Packing(rows_each=request.rows_per_message, most_bytes=most_bytes, key=request.signing_key)
    return pack(parsed, heading, packing)
