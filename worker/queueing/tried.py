"""What is known of a row that was tried, as it travels with its message from one worker to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from worker.model import Effort, Row
from worker.queueing.messages import ParsedRow, Tried, fit_reason

_LONGEST_WAIT_S: Final = 300.0


def as_parsed(row: Row, index: int, not_before: float) -> ParsedRow:
    """Return a row of a message, with what is known of it; `not_before` is in epoch seconds."""
    effort = row.effort or Effort()
    tried = Tried(
        requests=row.earlier_requests,
        not_before=not_before,
        tries=effort.tries,
        attempts=effort.attempts,
        charged_s=effort.charged_s,
        refusals=effort.refusals,
        doubtful=effort.doubtful,
        status=effort.status,
        error_code=fit_reason(effort.error_code),
        error_message=fit_reason(effort.error_message),
    )
    return ParsedRow(index, row.user_id, row.identifier_id, tried)


def effort_of(tried: Tried, wall: Callable[[], float]) -> Effort:
    """Return what a message says of a row; how long it still waits, whatever the clocks say, is 300 s at most."""
    return Effort(
        tries=tried.tries,
        attempts=tried.attempts,
        charged_s=tried.charged_s,
        refusals=tried.refusals,
        doubtful=tried.doubtful,
        wait_s=min(max(0.0, tried.not_before - wall()), _LONGEST_WAIT_S),
        status=tried.status,
        error_code=tried.error_code,
        error_message=tried.error_message,
    )
