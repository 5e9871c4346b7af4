"""The JSON lines report: one object a row.

    {"input": {"user_id": "u1", "identifier_id": "e1", ...}, "_row": 1, "_outcome": "succeeded", ...}

`input` holds the input's own columns, under their names; a name that comes twice is numbered (`mail (2)`).
Beside it stand our columns, typed: numbers are numbers, `_resent` and `_lockout_risk` are true or false,
times are RFC 3339 text, what is not known is null. So no column of the input can clash with ours. Cells are
not escaped: nothing that reads JSON runs formulas.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from worker.model import Outcome
from worker.report.columns import fit, unique_names
from worker.report.destination import Destination, open_destination
from worker.report.times import stamper, whole_ms
from worker.reportable import ReportRow


def object_maker(header: Sequence[str], run_id: str) -> Callable[[ReportRow], dict[str, Any]]:
    """Return the function from a row to the object that stands for it."""
    names = unique_names(header)
    stamp = stamper()

    def as_object(row: ReportRow) -> dict[str, Any]:
        started_ms = None if row.started_at is None else whole_ms(row.started_at)
        finished_ms = None if row.finished_at is None else whole_ms(row.finished_at)
        took = None if started_ms is None or finished_ms is None else max(0, finished_ms - started_ms)
        return {
            "input": dict(zip(names, fit(row.cells, len(names)), strict=True)),
            "_row": row.number,
            "_outcome": row.outcome.value,
            "_http_status": row.http_status,
            "_error_code": row.error_code or None,
            "_error_message": row.error_message or None,
            "_attempts": row.requests,
            "_started_at": None if started_ms is None else stamp(started_ms),
            "_finished_at": None if finished_ms is None else stamp(finished_ms),
            "_duration_ms": took,
            "_sent": row.sent,
            "_resent": row.resent,
            "_verified_contacts_left": row.verified_contacts_left,
            "_lockout_risk": row.lockout_risk,
            "_duplicate_of": row.duplicate_of,
            "_run_id": run_id,
        }

    return as_object


def write_jsonl(
    destination: Destination,
    header: Sequence[str],
    rows: Iterable[ReportRow],
    run_id: str,
    only: frozenset[Outcome] | None = None,
) -> int:
    """Write the rows (of the outcomes `only`, if given) as JSON lines, in their order, and return how many.

    Raises:
        UsageError: The destination cannot be a file.
        ReportError: It could not be written.
    """
    as_object = object_maker(header, run_id)
    encoder = msgspec.json.Encoder()
    written = 0
    with open_destination(destination) as out:
        for row in rows:
            if only is None or row.outcome in only:
                out.write(_encode(encoder, as_object(row)))
                out.write(b"\n")
                written += 1
    return written


def _encode(encoder: msgspec.json.Encoder, value: dict[str, Any]) -> bytes:
    try:
        return encoder.encode(value)
    except (
        UnicodeEncodeError
    ):  # undecodable bytes of the input: JSON can hold them, as \udce9, but only escaped
        return json.dumps(value, separators=(",", ":")).encode()
