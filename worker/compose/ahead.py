"""How much of a queue a worker takes: enough to be busy, and no more than it finishes while it is its own."""

from __future__ import annotations

import dataclasses
from typing import Final

from worker.ports import Queue

_AHEAD_S: Final = 2.0
"""Rows at hand last about this long: what more a worker took, the others would wait for."""
_LEAST_ROWS: Final = 64
_MOST_ROWS: Final = 4096
_PART_OF_LEASE: Final = 0.5
_SLOWEST_PER_S: Final = 1.0
"""What a rate that is not told is taken for, where leases cannot be extended."""
SHARERS: Final = 10
"""Workers that share a rate, where nobody said how many: three times as many still finish within a lease."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ahead:
    """What a worker takes.

    Attributes:
        at_hand: Rows in the calls and before them, at most.
        in_a_message: Rows of one message that can be finished in time; None for any.
    """

    at_hand: int
    in_a_message: int | None


def rows_ahead(queue: Queue, per_s: float | None, concurrency: int, *, sharers: int = 1) -> Ahead:
    """Return what to take from `queue` at a rate.

    Where leases cannot be extended, that is what is finished in half of one, row by row.

    Args:
        queue: Where it is taken from.
        per_s: The rate that this worker may have, or None if nobody knows.
        concurrency: Calls in flight.
        sharers: How many may want that rate at once.
    """
    paced = _MOST_ROWS if per_s is None else int(per_s * _AHEAD_S)
    at_hand = min(max(paced, concurrency * 2, _LEAST_ROWS), _MOST_ROWS)
    if queue.extends:
        return Ahead(at_hand, None)
    slowest_per_s = _SLOWEST_PER_S if per_s is None else per_s / sharers
    in_time = max(1, int(slowest_per_s * queue.lease_s * _PART_OF_LEASE))
    return Ahead(min(at_hand, in_time), None if per_s is None else in_time)
