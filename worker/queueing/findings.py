"""What workers publish: a row's outcome to the results queue, and a dead letter with the reason."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated, Final

import msgspec

from worker.model import FAILURES, Decision, Delivery, Outcome, Result, Row, Verdict
from worker.queueing.messages import MOST_BYTES, Heading, fit_reason, is_batch_id

FINDABLE: Final = FAILURES | {Outcome.SUCCEEDED, Outcome.EXCLUDED}
"""What can become of a row that is with a worker."""


_NOT_OURS: Final = "it is no letter of bulk-unverify: the broker, or somebody, put it here"
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Instant = Annotated[float, msgspec.Meta(ge=0, le=32_503_680_000)]
"""Epoch seconds, up to the year 3000."""
_Text = Annotated[str, msgspec.Meta(max_length=65_536)]


class UnreadableError(ValueError):
    """A message of the results queue that tells no outcome; its text says why, and shows no id."""


class FoundRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A row's outcome as it travels: what a ledger records of it, and the name of the row.

    Attributes:
        batch: The batch, or the broker's name for the message.
        index: The row's number within it.
        worker: Who found it.
        tenant: Whose user it is.
        operation: What was done to it.
        sent: Whether a request of this delivery may have reached the server.
        of_message: Whether `batch` is the broker's name for the message, which belongs to no batch.
        batch_rows: Rows of the whole batch, if its messages say so.
        maybe_sent: Whether an earlier delivery may have sent one already.
        unsettled: Whether no answer settled it: its attempts or its time were spent.
    """

    batch: _Text
    index: _Count
    user_id: _Text
    identifier_id: _Text
    outcome: Outcome
    requests: _Count
    sent: bool
    started_at: _Instant
    finished_at: _Instant
    worker: _Text
    tenant: _Text
    operation: _Text
    of_message: bool = False
    batch_rows: _Count | None = None
    maybe_sent: bool = False
    status: _Count | None = None
    error_code: _Text = ""
    error_message: _Text = ""
    verified_contacts_left: _Count | None = None
    lockout_risk: bool | None = None
    unsettled: bool = False


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A message that nobody can work on.

    Attributes:
        reason: Why.
        message: Its name at the broker.
        body: What the producer sent, as text.
        whole: Whether that is all of it; else it was too large, or no UTF-8, and cannot be sent again.
        times: How often it was delivered.
        buried_at: Epoch seconds, or None if nobody said.
    """

    reason: str
    message: str
    body: str
    times: int
    buried_at: float | None
    whole: bool = True


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(FoundRow).decode
decode_letter: Final = msgspec.json.Decoder(DeadLetter).decode


def decode_findings(body: bytes) -> list[FoundRow]:
    """Return the outcomes that a message of the results queue tells, one on each line.

    Raises:
        UnreadableError: It tells none, or one that no worker may have found.
    """
    return [_decode_found(line) for line in body.split(b"\n")]


def _decode_found(line: bytes) -> FoundRow:
    try:
        found = _decode(line)
    except msgspec.MsgspecError as error:
        raise UnreadableError(fit_reason(str(error))) from None
    if found.outcome not in FINDABLE:
        raise UnreadableError(f"no worker finds {found.outcome}")
    if not found.of_message and not is_batch_id(found.batch):
        raise UnreadableError("its batch is no name of a batch")
    return found


def letter_of(delivery: Delivery) -> DeadLetter:
    """Return the letter; what somebody else put among them is told of as it is, and may be a message."""
    try:
        return decode_letter(delivery.body)
    except msgspec.MsgspecError:
        body = delivery.body.decode("utf-8", "replace")
        whole = body.encode() == delivery.body
        return DeadLetter(_NOT_OURS, delivery.name, body, delivery.times, None, whole)


@dataclasses.dataclass(frozen=True, slots=True)
class Finder:
    """Who finds outcomes, and what of.

    Attributes:
        worker: The worker's name.
        tenant: Whose users it calls.
        operation: What it does to rows.
    """

    worker: str
    tenant: str
    operation: str


def encode_finding(result: Result, batch: str, index: int, heading: Heading, finder: Finder) -> bytes:
    """Return the line that tells of `result`."""
    row, verdict = result.row, result.verdict
    return _encode(
        FoundRow(
            batch,
            index,
            row.user_id,
            row.identifier_id,
            verdict.outcome,
            result.requests,
            result.sent,
            result.started_at,
            result.finished_at,
            finder.worker,
            finder.tenant,
            finder.operation,
            heading.batch_id is None,
            heading.batch_rows,
            row.maybe_sent,
            verdict.status,
            verdict.error_code,
            verdict.error_message,
            verdict.verified_contacts_left,
            verdict.lockout_risk,
            verdict.decision is not Decision.FINAL,
        )
    )


def result_of(found: FoundRow, row: Row) -> Result:
    """Return an outcome that travelled as that of `row`, of which the receiver may know more than the finder did."""
    verdict = Verdict(
        Decision.RETRY if found.unsettled else Decision.FINAL,
        found.outcome,
        found.status,
        found.error_code,
        found.error_message,
        found.verified_contacts_left,
        found.lockout_risk,
    )
    known = msgspec.structs.replace(row, maybe_sent=row.maybe_sent or found.maybe_sent)
    requests = row.earlier_requests + found.requests
    return Result(known, verdict, requests, found.sent, found.started_at, found.finished_at)


def dead_letter(delivery: Delivery, reason: str, most_bytes: int) -> bytes:
    """Return the letter that tells of a message that nobody can work on, as much as `most_bytes` hold."""
    told, name = fit_reason(reason), fit_reason(delivery.name)
    kept = min(len(delivery.body), MOST_BYTES)
    while True:
        body = delivery.body[:kept].decode("utf-8", "replace")
        whole = body.encode() == delivery.body
        letter = _encode(DeadLetter(told, name, body, delivery.times, time.time(), whole))
        if len(letter) <= most_bytes or not kept:
            return letter
        kept //= 2
