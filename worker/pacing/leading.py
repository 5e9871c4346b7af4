"""Moves the rate for a whole fleet: what one worker at a time does. Pure; the clock is passed in."""

from __future__ import annotations

from worker.pacing.adaptive import AdaptiveRate
from worker.sharing import Found, Grant


class Lead:
    """Feeds the adaptive rate with what all workers met, from a grant on.

    Args:
        grant: The one that gave the lead: a limit that was found before stays found.
        now: Monotonic seconds, as everywhere below.
    """

    def __init__(self, grant: Grant, now: float) -> None:
        self._adaptive = AdaptiveRate(grant.ceiling_per_s, now, grant.found)
        self._accepted, self._refused = grant.accepted, grant.refused
        self._learnt_at = now

    @property
    def found(self) -> Found:
        """What is known of the limit now."""
        return self._adaptive.found

    @property
    def why(self) -> str:
        """Why the rate is what it is."""
        return self._adaptive.why

    def learn(self, grant: Grant, now: float, resume_at: float) -> None:
        """Learn what became of the fleet's calls since the last grant; nothing goes before `resume_at`.

        When each of them was answered is not known: they are taken to be spread evenly, as they were sent.
        """
        self._adaptive.set_ceiling(grant.ceiling_per_s)
        accepted = grant.accepted - self._accepted
        for number in range(1, accepted + 1):
            self._adaptive.accepted(self._learnt_at + (now - self._learnt_at) * number / accepted)
        if grant.told_per_s is not None:
            self._adaptive.told(grant.told_per_s, now)
        if grant.refused > self._refused:
            self._adaptive.throttled(now, max(resume_at, now))
        self._accepted, self._refused = grant.accepted, grant.refused
        self._learnt_at = now
        self._adaptive.advance(now)
