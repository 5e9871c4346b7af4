"""A message between the queue and the pipeline: how many of its rows are open, and what was found of the others."""

from __future__ import annotations

from worker.model import Delivery, Finding, Settlement
from worker.queueing.findings import Finder
from worker.queueing.messages import Parsed


class Taken:
    """A message that is being worked on.

    Args:
        delivery: The message.
        parsed: What it asks for.
        fence: By which name the fleet remembers its rows; see `fence_of`.
    """

    def __init__(self, delivery: Delivery, parsed: Parsed, fence: str) -> None:
        self.delivery = delivery
        self.batch = batch_of(delivery, parsed)
        self.fence = fence
        self.parsed = parsed
        self.heading = parsed.heading
        self.fenced = is_fenced(parsed)
        self.open = 0
        """How many of its rows have no outcome yet."""
        self.names: set[tuple[str, int]] = set()
        """Those of its rows that another message may name, too."""
        self.findings: list[Finding] = []
        self.given_back = False
        self.failed_at: float | None = None
        """When the first of its rows failed that has to go again, in monotonic seconds."""

    def settlement(self) -> Settlement:
        """Return what there is to record of it, which is handed over by that."""
        findings, self.findings = self.findings, []
        complete = not self.open and not self.given_back
        return Settlement(self.delivery, findings, complete, self.fenced, self.heading.reply_to)


def batch_of(delivery: Delivery, parsed: Parsed) -> str:
    """Return the first half of the rows' names."""
    return parsed.heading.batch_id or delivery.name


def is_fenced(parsed: Parsed) -> bool:
    """Return whether a part of it may be known already: its batch came before, or another began the message."""
    return parsed.heading.batch_id is not None or len(parsed.rows) > 1


def fence_of(delivery: Delivery, parsed: Parsed, finder: Finder) -> str:
    """Return by which name the fleet remembers rows.

    What one operation did of a batch, another one did not: it may be the one that undoes it.
    """
    batch = parsed.heading.batch_id
    return delivery.name if batch is None else f"{batch} {finder.operation} {finder.tenant}"
