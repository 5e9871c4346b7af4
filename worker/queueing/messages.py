"""What producers publish: one row or a batch of rows, as JSON. The schema is a contract with other languages."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from worker.intake import find_fault

MOST_ROWS: Final = 1000
"""Rows that one message may hold."""
MOST_BYTES: Final = 2 * 1024 * 1024
"""Bytes that one message may have."""
_LAST_INDEX: Final = 100_000_000
_SIGNED_FORM: Final = "bulk-unverify-1"

_Text = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class PoisonError(ValueError):
    """A message that nobody can work on; its text says why, and shows no id."""


class MessageRow(BaseModel):
    """One row of a batch.

    Attributes:
        user_id: The user's id.
        identifier_id: The e-mail's id.
        row: The row's number within its batch, or None for its position in the message.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    user_id: str
    identifier_id: str
    row: Annotated[int, Field(ge=0, le=_LAST_INDEX)] | None = None


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: _Text = ""
    traceparent: _Text = ""
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
    """

    rows: Annotated[list[MessageRow], Field(min_length=1, max_length=MOST_ROWS)]
    batch_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,119}$")] | None = None


Message = BatchMessage | RowMessage
_MESSAGE: Final[TypeAdapter[Message]] = TypeAdapter(Message)


class ParsedRow(BaseModel):
    """A row of a message, numbered."""

    model_config = ConfigDict(frozen=True)

    index: int
    user_id: str
    identifier_id: str


class Parsed(BaseModel):
    """What a message asks for.

    Attributes:
        batch_id: Its batch, or None.
        rows: The rows, each number once.
        reason: Why, or empty.
    """

    model_config = ConfigDict(frozen=True)

    batch_id: str | None
    rows: list[ParsedRow]
    reason: str


def parse(body: bytes, *, key: bytes | None = None) -> Parsed:
    """Return what a message asks for.

    Args:
        body: The message.
        key: Only messages that are signed with it count; None takes all.

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
    rows = _numbered(message)
    for row in rows:
        if fault := find_fault(row.user_id, row.identifier_id):
            raise PoisonError(f"row {row.index}: {fault.message}")
    batch_id = message.batch_id if isinstance(message, BatchMessage) else None
    return Parsed.model_construct(batch_id=batch_id, rows=rows, reason=message.reason)


def compose(
    rows: Sequence[ParsedRow], *, batch_id: str | None = None, reason: str = "", key: bytes | None = None
) -> bytes:
    """Return the message that asks for `rows`; signed where there is a key."""
    message = BatchMessage(
        rows=[
            MessageRow(user_id=row.user_id, identifier_id=row.identifier_id, row=row.index) for row in rows
        ],
        batch_id=batch_id,
        reason=reason,
    )
    if key is not None:
        message = message.model_copy(update={"signature": sign(message, key)})
    return message.model_dump_json(exclude_defaults=True).encode()


def sign(message: Message, key: bytes) -> str:
    """Return the message's signature: HMAC-SHA256 in hexadecimal, over these lines joined by line feeds.

    `bulk-unverify-1`, the batch id or nothing, the reason or nothing, then for each row its number, user id and
    identifier id, joined by tabs. No part can hold a line feed or a tab, so each text has one meaning.
    """
    batch_id = message.batch_id if isinstance(message, BatchMessage) else None
    lines = [_SIGNED_FORM, batch_id or "", message.reason]
    lines += [f"{row.index}\t{row.user_id}\t{row.identifier_id}" for row in _numbered(message)]
    return hmac.new(key, "\n".join(lines).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a message."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | _MESSAGE.json_schema()


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
    return ParsedRow.model_construct(index=index, user_id=pair.user_id, identifier_id=pair.identifier_id)


def _why(error: ValidationError) -> str:
    """Return the first thing that is wrong, by its place; never the value, which may be an id."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])
