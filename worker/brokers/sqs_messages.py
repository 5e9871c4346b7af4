"""What is sent to SQS, and where to: text, batches and names of bounded size. Values only, no I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from worker.brokers.leases import Lease, read_marks
from worker.errors import UsageError
from worker.model import Delivery

AT_ONCE: Final = 10
"""Messages in one request."""
_BATCH_BYTES: Final = 256 * 1024
"""Bytes of one message and of one batch, attributes included; newer queues take 1 MiB, but not all of them."""
_MARKS_BYTES: Final = 1024
"""What a message needs beside its body to be given back."""
MOST_BYTES: Final = _BATCH_BYTES - _MARKS_BYTES
_MOST_ATTRIBUTES: Final = 10
_NAME: Final = "bulk-unverify-name"
"""Attribute: the name of a message that was given back."""
_TRIES: Final = "bulk-unverify-tries"
"""Attribute: how often it had been delivered in vain by then."""
_LONGEST_NAME: Final = 80
_NO_TEXT: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What SQS refuses. In JSON it can only stand in a string, where it has an escaped form."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A message as it is sent, with its size in bytes."""

    sent: Mapping[str, Any]
    size: int


def entry(body: bytes, attributes: Mapping[str, Any]) -> Entry:
    """Return the message.

    Raises:
        UsageError: It is too large, or no text.
    """
    try:
        text = _NO_TEXT.sub(lambda match: f"\\u{ord(match[0]):04x}", body.decode())
    except UnicodeDecodeError:
        raise UsageError("A message cannot be sent: SQS takes text in UTF-8 alone.") from None
    size = len(text.encode()) + _bytes_of(attributes)
    if size > _BATCH_BYTES:
        raise UsageError(
            f"A message of {size:,} bytes cannot be sent: SQS takes {_BATCH_BYTES:,}. Put fewer rows into each."
        )
    named = {"MessageAttributes": attributes} if attributes else {}
    return Entry({"MessageBody": text, **named}, size)


def batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Yield the messages in order, at most 10 at once and no more bytes than SQS takes in one request."""
    batch: list[Entry] = []
    size = 0
    for each in entries:
        if len(batch) == AT_ONCE or size + each.size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each.size
    if batch:
        yield batch


def tries_of(message_id: str, attributes: Mapping[str, Any]) -> tuple[str, int, dict[str, Any]]:
    """Return a message's name, how often it had been tried before it was given back, and its other attributes."""
    marks = (attributes.get(mark, {}).get("StringValue", "") for mark in (_NAME, _TRIES))
    kept = {word: value for word, value in attributes.items() if word not in (_NAME, _TRIES)}
    return *read_marks(message_id, *marks), kept


def again(delivery: Delivery) -> Entry | None:
    """Return a copy that has the name, and the tries but for this one; None if it cannot be sent once more."""
    lease = delivery.receipt
    assert isinstance(lease, Lease)
    marks = {
        _NAME: {"DataType": "String", "StringValue": delivery.name},
        _TRIES: {"DataType": "Number", "StringValue": str(delivery.times - 1)},
    }
    attributes = {**lease.kept, **marks}
    if len(attributes) > _MOST_ATTRIBUTES:
        return None
    if len(delivery.body) + _bytes_of(attributes) > _BATCH_BYTES:
        return None
    return entry(delivery.body, attributes)


def results_suffix(name: str, reply_to: str) -> str:
    """Return what the name of the results' queue ends with; a long one has the digest of whom it is for."""
    suffix = f"-results-{reply_to}" if reply_to else "-results"
    if len(name) + len(suffix) <= _LONGEST_NAME:
        return suffix
    return f"-results-{hashlib.sha256(reply_to.encode()).hexdigest()[:24]}"


def _bytes_of(attributes: Mapping[str, Any]) -> int:
    return sum(
        len(word.encode())
        + len(value["DataType"])
        + len(value.get("StringValue", "").encode())
        + len(value.get("BinaryValue", b""))
        for word, value in attributes.items()
    )
