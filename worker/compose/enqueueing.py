"""From an input file to messages in a queue. Sends nothing to a tenant, and needs no key."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.brokers import QueueAddress, open_queue
from worker.compose.operations import find_operation
from worker.errors import InputError
from worker.intake import InputOptions, as_file, open_table
from worker.model import InputRow
from worker.queueing import Heading, Packing, ParsedRow, fit_reason, pack

_MESSAGES_AT_ONCE: Final = 64
_FIRST_INVALID: Final = 5
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
        spool: Where standard input is kept meanwhile.
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
    spool: Path


@dataclasses.dataclass(slots=True)
class Receipt:
    """What was published.

    Attributes:
        queue: The queue, without its login.
        batch_id: Names the rows: the same input, read in the same way, has the same, so that what is published twice
            is known to be.
        sha256: The input's digest.
        rows: Rows published.
        messages: Messages published, each confirmed by the broker.
        invalid: Rows that are not published because they cannot be called.
        first_invalid: The first of them: row number, line, why.
    """

    queue: str
    batch_id: str = ""
    sha256: str = ""
    rows: int = 0
    messages: int = 0
    invalid: int = 0
    first_invalid: list[tuple[int, int, str]] = dataclasses.field(default_factory=list)


async def enqueue(request: EnqueueRequest) -> Receipt:
    """Validate the whole input, then publish its good rows; return the receipt.

    Raises:
        UsageError: There is no such operation.
        InputError: The file as a whole is no batch, and nothing was published; or it changed meanwhile.
        BrokerError: The broker is lost; publishing again is safe, as the rows keep their names.
    """
    if request.operation is not None:
        find_operation(request.operation)
    with as_file(request.input_path, request.spool) as path:
        receipt = Receipt(str(request.address))
        with open_table(path, request.input_options) as table:
            for row in table.rows():
                _count(receipt, row)
        receipt.sha256 = table.sha256
        again = f"-{secrets.token_hex(4)}" if request.again else ""
        receipt.batch_id = f"{_batch_id(receipt.sha256, request.input_options)}{again}"
        name = f"enqueue-{secrets.token_hex(4)}"
        async with contextlib.aclosing(open_queue(request.address, name)) as queue:
            with open_table(path, request.input_options) as table:
                messages = _messages(request, receipt, table.rows(), queue.most_bytes)
                while bodies := list(itertools.islice(messages, _MESSAGES_AT_ONCE)):
                    await queue.publish(bodies)
                    receipt.messages += len(bodies)
            if table.sha256 != receipt.sha256:
                raise InputError(
                    f"{request.input_path} changed while it was published: the {receipt.messages:,} messages in the"
                    " queue hold what it was by then. Enqueue it again once it is complete; what is in both is then"
                    " called twice."
                )
    return receipt


def _batch_id(sha256: str, options: InputOptions) -> str:
    """Return the name of an input's rows: the same whenever they are published, another where they are other rows."""
    read = [options.user_column, options.identifier_column, options.header, options.separator, options.codec]
    return hashlib.sha256(json.dumps([sha256, *read]).encode()).hexdigest()[:_DIGEST_LENGTH]


def _count(receipt: Receipt, row: InputRow) -> None:
    if not row.error_code:
        receipt.rows += 1
        return
    receipt.invalid += 1
    if len(receipt.first_invalid) < _FIRST_INVALID:
        receipt.first_invalid.append((row.number, row.line, row.error_message))


def _messages(
    request: EnqueueRequest, receipt: Receipt, rows: Iterator[InputRow], most_bytes: int
) -> Iterator[bytes]:
    heading = Heading(
        receipt.batch_id,
        receipt.rows,
        fit_reason(request.reason),
        request.tenant or "",
        request.operation or "",
    )
    good = (
        ParsedRow(index=row.number, user_id=row.user_id, identifier_id=row.identifier_id)
        for row in rows
        if not row.error_code
    )
    packing = Packing(rows_each=request.rows_per_message, most_bytes=most_bytes, key=request.signing_key)
    return pack(good, heading, packing)
