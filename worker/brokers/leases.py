"""Leases of a broker that takes an answer from whoever once had the message: kept by our own clock as well.

A worker that was stopped for longer than its lease may not remove what went to another meanwhile.
"""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from worker.model import Delivery

_SURE: Final = 0.9
"""Part of a lease in which a message is surely ours: the rest may have passed while it was on its way."""

_WAITS: Final = 4
_LONGEST_NAME: Final = 256
_LONGEST_COUNT: Final = 4


def read_marks(own_name: str, name: str, tries: str) -> tuple[str, int]:
    """Return a message's name and tries by what it was marked with when it was given back, if that is of our kind."""
    known = name if 0 < len(name) <= _LONGEST_NAME else own_name
    return known, int(tries) if len(tries) <= _LONGEST_COUNT and tries.isdecimal() else 0


@dataclasses.dataclass(slots=True, eq=False, weakref_slot=True)
class Lease:
    """What we hold of a message. When it is delivered to us once more, all of its deliveries are ours again.

    Attributes:
        name: The message's name.
        receipt: What the broker knows the last delivery by.
        taken_at: Monotonic seconds when it was asked for: the delivery is not older.
        ends_at: Monotonic seconds when it stops to be surely ours.
        kept: What a copy of the message is to have as well, when it is given back.
    """

    name: str
    receipt: str = ""
    taken_at: float = -math.inf
    ends_at: float = -math.inf
    kept: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Leases:
    """The leases of one queue, by its messages' names.

    Args:
        lease_s: How long one lasts.
        clock: Monotonic seconds.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float]) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._by_name: weakref.WeakValueDictionary[str, Lease] = weakref.WeakValueDictionary()

    def now(self) -> float:
        """Return the time."""
        return self._clock()

    def shortened(self, wait_s: float) -> float:
        """Return how long to wait for messages: their leases are counted from when they were asked for."""
        return min(wait_s, self._lease_s / _WAITS)

    def take(self, name: str, receipt: str, asked_at: float, kept: Mapping[str, Any]) -> Lease:
        """Return the lease that the delivery of a message begins."""
        lease = self._by_name.setdefault(name, Lease(name))
        lease.receipt, lease.taken_at, lease.kept = receipt, asked_at, kept
        self.renew([lease], asked_at)
        return lease

    def renew(self, leases: Iterable[Lease], asked_at: float) -> None:
        """Begin leases anew, as the broker has done."""
        for lease in leases:
            lease.ends_at = asked_at + self._lease_s * _SURE

    def let_go(self, leases: Iterable[Lease]) -> None:
        """End leases."""
        for lease in leases:
            lease.ends_at = -math.inf

    def ours(self, deliveries: Sequence[Delivery]) -> list[Lease]:
        """Return the leases of those deliveries that are surely ours still, each once."""
        now = self._clock()
        leases = [delivery.receipt for delivery in deliveries]
        return list(
            dict.fromkeys(lease for lease in leases if isinstance(lease, Lease) and lease.ends_at > now)
        )
