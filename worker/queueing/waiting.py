"""Rows of messages that were tried and have to go again: they wait here, with their delivery."""

from __future__ import annotations

import heapq
from collections.abc import Collection

from worker.model import Row

STAYS_S = 60.0
"""A row waits so long with its delivery, from its first failure on; then its message is given back."""


class WaitingRows:
    """Rows by when they may go again."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Row]] = []

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._heap)

    def add(self, row: Row, at: float) -> None:
        """Have `row` go again at a moment, in monotonic seconds."""
        heapq.heappush(self._heap, (at, row.number, row))

    def due(self, now: float, limit: int) -> list[Row]:
        """Take up to `limit` rows that may go now, those first that may for longest."""
        rows: list[Row] = []
        while self._heap and len(rows) < limit and self._heap[0][0] <= now:
            rows.append(heapq.heappop(self._heap)[2])
        return rows

    def next_in(self, now: float) -> float | None:
        """Return in how many seconds the next row may go, or None if none waits."""
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def take(self, numbers: Collection[int] | None = None) -> list[tuple[float, Row]]:
        """Take the rows of these numbers, or all, with when they may go again."""
        taken = [entry for entry in self._heap if numbers is None or entry[1] in numbers]
        self._heap = [entry for entry in self._heap if numbers is not None and entry[1] not in numbers]
        heapq.heapify(self._heap)
        return [(at, row) for at, _, row in taken]

    def numbers(self) -> list[int]:
        """Return the numbers of all rows."""
        return [number for _, number, _ in self._heap]
