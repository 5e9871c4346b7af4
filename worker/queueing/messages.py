"""What producers publish: one row or a batch of rows, as JSON. The schema is a contract with other languages."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from worker.intake import find_fault
from worker.tenancy import one_name

MOST_ROWS: Final = 1000
"""Rows that one message may hold."""
MOST_BYTES: Final = 2 * 1024 * 1024
"""Bytes that one message may have."""
_LAST_INDEX: Final = 100_000_000
_LAST_MOMENT: Final = 32_503_680_000.0
"""Epoch seconds, up to the year 3000."""
_BATCH_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,119}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LONGEST_TEXT: Final = 500
_LONGEST_PLACE: Final = 100
_SIGNED_FORM: Final = "bulk-unverify-1"

_Text = Annotated[str, Field(max_length=_LONGEST_TEXT, pattern=r"^[^\x00-\x1f\x7f]*$")]

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def _traceparent(given: object) -> str:
    """Return `given` if it is in the form of W3C Trace Context, section 3.2; nothing is lost by any other."""
    return given if isinstance(given, str) and _TRACEPARENT.fullmatch(given) else ""


class PoisonError(ValueError):
    """A message that nobody can work on; its text says why, and shows no id."""


class Tried(BaseModel):
    """What a worker that gave a row back knew of it; see `worker.model.Effort`.

    Attributes:
        requests: Requests sent for it.
        not_before: Epoch seconds before which it does not go again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    requests: Annotated[int, Field(ge=0, le=_LAST_INDEX)] = 0
    not_before: Annotated[float, Field(ge=0, le=_LAST_MOMENT)] = 0.0
    tries: Annotated[int, Field(ge=0, le=_LAST_INDEX)] = 0
    attempts: Annotated[int, Field(ge=0, le=_LAST_INDEX)] = 0
    charged_s: Annotated[float, Field(ge=0, le=_LAST_MOMENT)] = 0.0
    refusals: Annotated[int, Field(ge=0, le=_LAST_INDEX)] = 0
    doubtful: bool = False
    status: Annotated[int, Field(ge=0, le=999)] | None = None
    error_code: _Text = ""
    error_message: _Text = ""


class MessageRow(BaseModel):
    """One row of a batch.

    Attributes:
        user_id: The user's id.
        identifier_id: The e-mail's id.
        row: The row's number within its batch, or None for its position in the message.
        tried: What is known of it where a worker gave it back; producers leave it out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    user_id: str
    identifier_id: str
    row: Annotated[int, Field(ge=0, le=_LAST_INDEX)] | None = None
    tried: Tried | None = None


class _Envelope(BaseModel):
    """What any message may say.

    Attributes:
        reason: Why it is done.
        tenant: The tenant's domain that the rows are of; workers of another one refuse the message.
        operation: What is to be done to the rows; workers that do something else refuse the message.
        reply_to: Whose results the outcomes go to; empty for the queue's own.
        traceparent: The producer's trace, as the W3C's Trace Context writes it.
        signature: HMAC-SHA256 of the message, in hexadecimal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: _Text = ""
    tenant: _Text = ""
    operation: _Text = ""
    reply_to: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,59})?$")] = ""
    traceparent: Annotated[str, BeforeValidator(_traceparent)] = ""
    signature: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class RowMessage(_Envelope):
    """A message of one row. Its name is the broker's name for the message."""

    user_id: str
    identifier_id: str


class BatchMessage(_Envelope):
    """A message of several rows.

    Attributes:
        rows: The rows.
        batch_id: Names the batch: a row is known by it and by its number, in whichever message it comes.
        batch_rows: Rows of the whole batch, over all its messages: until so many have an outcome it is not complete.
    """

    rows: Annotated[list[MessageRow], Field(min_length=1, max_length=MOST_ROWS)]
    batch_id: Annotated[str, Field(pattern=f"^{_BATCH_ID.pattern}$")] | None = None
    batch_rows: Annotated[int, Field(ge=1, le=_LAST_INDEX)] | None = None


Message = BatchMessage | RowMessage
_MESSAGE: Final[TypeAdapter[Message]] = TypeAdapter(Message)


@dataclasses.dataclass(frozen=True, slots=True)
class Heading:
    """What a message says of its rows as a whole; see `BatchMessage`, and `_Envelope`, for each word."""

    batch_id: str | None = None
    batch_rows: int | None = None
    reason: str = ""
    tenant: str = ""
    operation: str = ""
    reply_to: str = ""


class ParsedRow(msgspec.Struct, frozen=True, gc=False):
    """A row of a message, numbered."""

    index: int
    user_id: str
    identifier_id: str
    tried: Tried | None = None


class Parsed(msgspec.Struct, frozen=True):
    """What a message asks for.

    Attributes:
        heading: What it says of its rows as a whole.
        rows: The rows, each number once.
        traceparent: The producer's trace, or empty.
    """

    heading: Heading
    rows: list[ParsedRow]
    traceparent: str


def parse(body: bytes, *, key: bytes | None = None, tenant: str = "", operation: str = "") -> Parsed:
    """Return what a message asks for.

    Args:
        body: The message.
        key: Only messages that are signed with it count; None takes all.
        tenant: Whose users are called here; a message that names another tenant is refused.
        operation: What is done here; a message that asks for something else is refused.

    Raises:
        PoisonError: Nobody can work on it.
    """
    if len(body) > MOST_BYTES:
        raise PoisonError(f"it has {len(body)} bytes, more than {MOST_BYTES}")
    kind = BatchMessage if b'"rows"' in body else RowMessage
    try:
        message = kind.model_validate_json(body)
    except ValidationError as error:
        raise PoisonError(_why(error)) from None
    if key is not None:
        _check_signature(message, key)
    if one_name(message.tenant) != one_name(tenant):
        _check_place("tenant", message.tenant, tenant)
    _check_place("operation", message.operation, operation)
    rows = _numbered(message)
    for row in rows:
        if fault := find_fault(row.user_id, row.identifier_id):
            raise PoisonError(f"row {row.index}: {fault.message}")
    return Parsed(_heading(message), rows, message.traceparent)


def compose(
    rows: Sequence[ParsedRow], heading: Heading, *, key: bytes | None = None, traceparent: str = ""
) -> bytes:
    """Return the message that asks for `rows`; signed where there is a key."""
    message = BatchMessage(
        rows=[
            MessageRow(user_id=row.user_id, identifier_id=row.identifier_id, row=row.index, tried=row.tried)
            for row in rows
        ],
        traceparent=traceparent,
        **dataclasses.asdict(heading),
    )
    if key is not None:
        message = message.model_copy(update={"signature": sign(message, key)})
    return message.model_dump_json(exclude_defaults=True).encode()


def sign(message: Message, key: bytes) -> str:
    """Return the message's signature: HMAC-SHA256 in hexadecimal, over these lines joined by line feeds.

    `bulk-unverify-1`, then batch id, rows of the batch, reason, tenant, operation and reply_to, each of them or
    nothing, then for each row its number, user id and identifier id, joined by tabs, and where a worker gave it back
    what it knew of it, as JSON. No part can hold a line feed or a tab, so each text has one meaning.
    """
    heading = _heading(message)
    lines = [_SIGNED_FORM, heading.batch_id or "", str(heading.batch_rows or "")]
    lines += [heading.reason, heading.tenant, heading.operation, heading.reply_to]
    lines += [_signed(row) for row in _numbered(message)]
    return hmac.new(key, "\n".join(lines).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _signed(row: ParsedRow) -> str:
    told = "" if row.tried is None else f"\t{row.tried.model_dump_json()}"
    return f"{row.index}\t{row.user_id}\t{row.identifier_id}{told}"


def is_batch_id(text: str) -> bool:
    """Return whether `text` can name a batch."""
    return bool(_BATCH_ID.fullmatch(text))


def fit_reason(reason: str) -> str:
    """Return a text as a message holds it: on one line, not too long, and without what steers a terminal."""
    return _CONTROL.sub(" ", reason)[:_LONGEST_TEXT]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a message."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | _MESSAGE.json_schema()


def _heading(message: Message) -> Heading:
    batch = message if isinstance(message, BatchMessage) else None
    return Heading(
        None if batch is None else batch.batch_id,
        None if batch is None else batch.batch_rows,
        message.reason,
        message.tenant,
        message.operation,
        message.reply_to,
    )


def _check_place(what: str, wanted: str, here: str) -> None:
    if wanted and here and wanted != here:
        raise PoisonError(f"it is for the {what} {wanted}, and this worker's is {here}")


def _check_signature(message: Message, key: bytes) -> None:
    if message.signature is None:
        raise PoisonError("it is not signed, and this queue takes signed messages alone")
    if not hmac.compare_digest(message.signature, sign(message, key)):
        raise PoisonError("its signature is not that of this queue's key")


def _numbered(message: Message) -> list[ParsedRow]:
    if isinstance(message, RowMessage):
        return [_row(0, message)]
    rows = [
        _row(position if each.row is None else each.row, each) for position, each in enumerate(message.rows)
    ]
    if len({row.index for row in rows}) != len(rows):
        raise PoisonError("two of its rows have the same number")
    return rows


def _row(index: int, pair: MessageRow | RowMessage) -> ParsedRow:
    return ParsedRow(index, pair.user_id, pair.identifier_id, getattr(pair, "tried", None))


def _why(error: ValidationError) -> str:
    """Return the first thing that is wrong, by its place; never the value, which may be an id."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))[:_LONGEST_PLACE]
    return fit_reason(f"{place}: {first['msg']}" if place else str(first["msg"]))
