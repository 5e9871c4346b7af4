"""From flags to what the composition takes: each is checked here, where somebody reads the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli import flags

if TYPE_CHECKING:
    from worker.compose.options import Steering
    from worker.intake import InputOptions


def input_options(reading: flags.Reading) -> InputOptions:
    """Return how to read an input, as the flags say."""
    from worker.intake import InputOptions

    return InputOptions(
        reading.user_column,
        reading.identifier_column,
        not reading.no_header,
        reading.delimiter,
        reading.encoding,
        max_rows=reading.max_rows,
    )


def settings(given: flags.Steering) -> Steering:
    """Return the settings that the flags give.

    Raises:
        UsageError: One of them is out of its range, or cannot be read.
    """
    from worker.compose.options import parse_outcomes, steering
    from worker.connection import default_timeout_s
    from worker.model import FAILURES
    from worker.pacing import parse_rate
    from worker.units import parse_duration_s, parse_share

    if given.ca_bundle is not None:
        from worker.transport import trusted_by

        trusted_by(given.ca_bundle)  # read here, so that a wrong one is said before anything else is done
    return steering(
        rate=parse_rate(given.rate),
        concurrency=given.concurrency,
        attempts=given.attempts,
        row_time_limit_s=parse_duration_s(given.row_time_limit),
        timeout_s=default_timeout_s() if given.timeout is None else parse_duration_s(given.timeout),
        max_failures=parse_share(given.max_failures),
        accept=parse_outcomes(given.accept, allowed=FAILURES, flag="--accept")
        if given.accept
        else frozenset(),
        outage_patience_s=parse_duration_s(given.outage_patience),
        deadline_s=None if given.deadline is None else parse_duration_s(given.deadline),
        ca_bundle=given.ca_bundle,
        exclude=given.exclude,
        share_tenant=given.share_tenant,
        reason=given.reason,
    )
