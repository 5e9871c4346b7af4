"""Rows in messages that are small enough: for the broker to take, and for a worker to finish within its lease."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence

from worker.model import Delivery
from worker.queueing.messages import MOST_BYTES, Heading, Parsed, ParsedRow, compose, is_batch_id


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How rows are put into messages.

    Attributes:
        rows_each: Rows in one message, at most.
        most_bytes: Bytes that the broker takes. A message has half of that: its dead letter has to hold it whole.
        key: Signs the messages; None does not.
    """

    rows_each: int
    most_bytes: int
    key: bytes | None


def pack(
    rows: Iterable[ParsedRow], heading: Heading, packing: Packing, traceparent: str = ""
) -> Iterator[bytes]:
    """Yield the messages that ask for `rows`, in their order."""
    rest = iter(rows)
    while block := list(itertools.islice(rest, packing.rows_each)):
        yield from _fitting(block, heading, packing, traceparent)


def _fitting(
    rows: Sequence[ParsedRow], heading: Heading, packing: Packing, traceparent: str
) -> Iterator[bytes]:
    body = compose(rows, heading, key=packing.key, traceparent=traceparent)
    if len(rows) == 1 or len(body) <= min(packing.most_bytes // 2, MOST_BYTES):
        yield body
        return
    half = len(rows) // 2
    yield from _fitting(rows[:half], heading, packing, traceparent)
    yield from _fitting(rows[half:], heading, packing, traceparent)


def split(delivery: Delivery, parsed: Parsed, packing: Packing) -> list[bytes]:
    """Return the messages that ask for the same as one that is too large; rows keep their names."""
    heading = parsed.heading
    if heading.batch_id is None:
        is_id = is_batch_id(delivery.name)
        name = delivery.name if is_id else hashlib.sha256(delivery.name.encode()).hexdigest()
        heading = dataclasses.replace(heading, batch_id=name)
    return list(pack(parsed.rows, heading, packing, parsed.traceparent))
