"""What the workers of a queue are told of a run's rows, and by which name the outcomes come back."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Final

from worker.model import Row
from worker.queueing.messages import Heading, ParsedRow
from worker.queueing.parts import Packing, pack

_ROUND: Final = re.compile("[0-9]{1,6}")


@dataclasses.dataclass(frozen=True, slots=True)
class RowsName:
    """Under which name rows were published, which is their batch: `RUN.SESSION.ROUND`."""

    run_and_session: str
    round: int

    @classmethod
    def parse(cls, batch: str) -> RowsName:
        """Return the name that a batch has."""
        front, _, number = batch.rpartition(".")
        return cls(front, int(number) if _ROUND.fullmatch(number) else 0)

    def first(self) -> RowsName:
        """Return the name of the round before any other."""
        return RowsName(self.run_and_session, 0)

    def next(self) -> RowsName:
        """Return the name to publish again by."""
        return RowsName(self.run_and_session, self.round + 1)

    def __str__(self) -> str:
        return f"{self.run_and_session}.{self.round}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What the workers are told, and how much at a time.

    Attributes:
        name: The run's, fit for a queue: its outcomes go to a results queue of this name.
        session: The session's number: what it publishes has a name of its own, so that a row which goes again after
            it had an outcome is not taken for the one before.
        tenant: Whose users the rows are.
        operation: What is done to them.
        reason: Why.
        key: Signs the messages; None does not.
        rows_per_message: Rows in one message.
        most_rows: Rows that are with the workers at once, at most: what a stop leaves to them.
        grace_s: Seconds that a stop waits for outcomes of what is with the workers.
    """

    name: str
    session: int
    tenant: str
    operation: str
    reason: str
    key: bytes | None
    rows_per_message: int
    most_rows: int = 10_000
    grace_s: float = 5.0

    @property
    def first_name(self) -> RowsName:
        """The name of what the session publishes for the first time."""
        return RowsName(f"{self.name}.{self.session}", 0)

    def messages(self, rows: Sequence[Row], name: RowsName, most_bytes: int) -> list[bytes]:
        """Return the messages that ask for `rows`, for a broker that takes so many bytes in each."""
        heading = Heading(
            batch_id=str(name),
            reason=self.reason,
            tenant=self.tenant,
            operation=self.operation,
            reply_to=self.name,
        )
        parsed = [ParsedRow(row.number, row.user_id, row.identifier_id) for row in rows]
        packing = Packing(rows_each=self.rows_per_message, most_bytes=most_bytes, key=self.key)
        return list(pack(parsed, heading, packing))
