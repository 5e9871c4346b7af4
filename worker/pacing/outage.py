"""When the server is taken to be out, and when it is asked again (promise 7). Pure; the clock is passed in."""

from __future__ import annotations

import collections
import math
from typing import Final

SILENT_S: Final = 2.0
"""So long no row may have got a final answer before the server counts as out."""
LEAST_ATTEMPTS: Final = 20
LEAST_ROWS: Final = 20
"""So many different rows must have met trouble, or all that are pending."""
FOREIGN_STREAK: Final = 20
"""So many answers in a row, to different rows, that are not the API's own: something stands in front of it."""
WINDOW_S: Final = 10.0
_BUCKET_S: Final = 0.5
_FIRST_PROBE_S: Final = 1.0
_LONGEST_PROBE_S: Final = 15.0
_MOST_CAUSES: Final = 20


class Outage:
    """Listens for final answers; a silence in which many different rows met trouble is an outage.

    While it is open one probe goes at a time. Only a row's final answer closes it.
    """

    def __init__(self, now: float) -> None:
        self.since: float | None = None
        """When the silence began that is an outage, or None."""
        self.probe_at = 0.0
        """When the next probe may go, while it is open; infinite while one is out."""
        self.answered = 0
        """How many rows have got a final answer."""
        self.silences: set[int] = set()
        """The outages so far, each by how many rows had been answered before it."""
        self.attempts = 0
        """Attempts that met trouble since the last final answer."""
        self._answered_at = now
        self._rows: set[int] = set()
        self._foreign: set[int] = set()
        self._causes: collections.Counter[str] = collections.Counter()
        self._probe_wait_s = _FIRST_PROBE_S
        self._recent: collections.deque[tuple[int, list[int]]] = collections.deque()

    @property
    def causes(self) -> str:
        """What attempts met since the last final answer, the commonest first; empty if nothing."""
        return ", ".join(f"{count:,} × {cause}" for cause, count in self._causes.most_common(3))

    def hear(self, now: float, *, rows: int = 1) -> bool:
        """Count final answers that rows got; returns whether that closed an outage."""
        self._count(now, troubled=False)
        self.answered += rows
        self._answered_at = now
        if not self.attempts and self.since is None:
            return False
        was_out = self.since is not None
        if was_out:
            self._recent.clear()
        self.since = None
        self.attempts = 0
        for seen in (self._rows, self._foreign, self._causes):
            seen.clear()
        return was_out

    def see_trouble(
        self, now: float, row: int, cause: str, *, pending: int, foreign: bool = False, alone: bool = False
    ) -> bool:
        """Count an attempt that met trouble; returns whether that opened an outage.

        Args:
            now: Monotonic seconds.
            row: Whose attempt it was.
            cause: What it met, in few words.
            pending: How many rows have no outcome.
            foreign: Whether it was answered by something else than the API.
            alone: Whether no other call is in flight: only then is a failure the probe's for certain.
        """
        self._count(now, troubled=True)
        self.attempts += 1
        if cause in self._causes or len(self._causes) < _MOST_CAUSES:
            self._causes[cause] += 1
        if self.since is not None:
            self._see_probe(now, alone=alone)
            return False
        if len(self._rows) < LEAST_ROWS:
            self._rows.add(row)
        if not foreign:
            self._foreign.clear()
        else:
            self._foreign.add(row)
        if not self._is_out(now, pending):
            return False
        self.since = self._answered_at
        self.silences.add(self.answered)
        self._probe_wait_s = _FIRST_PROBE_S
        self.probe_at = now + self._probe_wait_s
        return True

    def probing(self) -> None:
        """Say that a probe goes: the next one waits for what becomes of it."""
        self.probe_at = math.inf

    def lost(self, now: float) -> None:
        """Say that nothing is in flight any more and that the last call ended without a reply.

        A probe that was given up must not leave the outage waiting for its answer.
        """
        if self.probe_at == math.inf:
            self.probe_at = now

    def share(self, now: float) -> float:
        """Return the share of the last ten seconds' attempts that met trouble; 0 of fewer than 20."""
        self._forget(now)
        attempts = sum(count for _, (count, _) in self._recent)
        troubled = sum(count for _, (_, count) in self._recent)
        return troubled / attempts if attempts >= LEAST_ATTEMPTS else 0.0

    def _is_out(self, now: float, pending: int) -> bool:
        if len(self._foreign) >= FOREIGN_STREAK:
            return True
        return (
            now - self._answered_at >= SILENT_S
            and self.attempts >= LEAST_ATTEMPTS
            and len(self._rows) >= min(LEAST_ROWS, pending)
        )

    def _see_probe(self, now: float, *, alone: bool) -> None:
        if alone and self.probe_at == math.inf:
            self._probe_wait_s = min(self._probe_wait_s * 2, _LONGEST_PROBE_S)
            self.probe_at = now + self._probe_wait_s

    def _count(self, now: float, *, troubled: bool) -> None:
        bucket = int(now / _BUCKET_S)
        if not self._recent or self._recent[-1][0] != bucket:
            self._forget(now)
            self._recent.append((bucket, [0, 0]))
        counts = self._recent[-1][1]
        counts[0] += 1
        counts[1] += troubled

    def _forget(self, now: float) -> None:
        oldest = (now - WINDOW_S) / _BUCKET_S
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()


class SilenceClock:
    """For how long no row has got a final answer, in time that counts.

    An operator's pause does not count, nor does a wait that the server named. It begins with the first trouble after
    the last answer: where nobody calls, nobody is silent.
    """

    def __init__(self, now: float) -> None:
        self._seen_at = now
        self._counted_s = 0.0
        self._named_until = -math.inf
        self._paused = False
        self._began_s: float | None = None

    def heard(self) -> None:
        """Say that a row got a final answer."""
        self._began_s = None

    def troubled(self, now: float) -> None:
        """Say that an attempt got none."""
        if self._began_s is None:
            self._advance(now)
            self._began_s = self._counted_s

    def named(self, now: float, until: float) -> None:
        """Say that the server asked to be left alone until then."""
        self._advance(now)
        self._named_until = max(self._named_until, until)

    def pause(self, now: float, *, paused: bool) -> None:
        """Begin or end an operator's pause."""
        self._advance(now)
        self._paused = paused

    def silent_s(self, now: float) -> float:
        """Return for how long nobody was answered; 0 while somebody is."""
        self._advance(now)
        return 0.0 if self._began_s is None else self._counted_s - self._began_s

    def _advance(self, now: float) -> None:
        if not self._paused:
            self._counted_s += max(0.0, now - max(self._seen_at, self._named_until))
        self._seen_at = now
