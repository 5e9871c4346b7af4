"""What the workers of a fleet tell each other about their one rate. Values only."""

from __future__ import annotations

from typing import Final

import msgspec

ABSENT_S: Final = 3.0
"""The store keeps the share of a worker free, for it alone, that was not heard of for so long."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """What is known of the server's limit, so that whoever leads next goes on from there.

    Attributes:
        rate_per_s: The rate that it allows, as far as is known.
        climb: How far the search for it is (`worker.pacing.adaptive`); None before the first refusal.
    """

    rate_per_s: float
    climb: int | None = None


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What a worker tells and asks for.

    Attributes:
        worker: Its name.
        ceiling_per_s: The rate that it was told, for the whole fleet; None to find out.
        slots: How many calls it wants to make next.
        accepted: Its calls that were not answered 429, since it last told.
        refused: Its calls that were.
        cool_down_s: Seconds for which nobody may call, because of these; 0 if there were none.
        told_per_s: The limit that the server's headers name; None if they do not.
        willing: Whether it can lead: move the rate for all.
        found: What it knows of the limit.
        expected: How many workers may keep a share each by themselves; 0 if there is no reason to think so.
        answered: Rows that got a final answer from it, since it last told.
    """

    worker: str
    ceiling_per_s: float | None
    slots: int
    accepted: int
    refused: int
    cool_down_s: float
    told_per_s: float | None
    willing: bool
    found: Found
    expected: int
    answered: int = 0


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What it gets, and learns of the others. Moments are seconds on the store's clock.

    Attributes:
        at_s: When this was decided.
        first_s: The first slot's moment.
        interval_s: From each slot to the next.
        slots: How many there are.
        resume_s: Nobody may call before this moment.
        ceiling_per_s: The smallest rate that any worker was told; None if none was told one.
        rate_per_s: The rate in force for the fleet.
        found: What is known of the server's limit.
        told_per_s: The limit that the server's headers name; None if they do not.
        leads: Whether this worker leads.
        accepted: Calls of the whole fleet that were not answered 429, ever.
        refused: Calls of the whole fleet that were.
        workers: How many workers there are.
        present: How many of them were heard of just now.
        answered: Rows of the whole fleet that got a final answer, ever.
    """

    at_s: float
    first_s: float
    interval_s: float
    slots: int
    resume_s: float
    ceiling_per_s: float | None
    rate_per_s: float
    found: Found
    told_per_s: float | None
    leads: bool
    accepted: int
    refused: int
    workers: int
    present: int
    answered: int = 0
