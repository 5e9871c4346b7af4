r"""The CSV report: the input's own columns, then ours. UTF-8 without a byte order mark.

Lines end in CRLF: RFC 4180 says so, and only then does `csv.writer` quote a lone carriage return in a
cell. Text that UTF-8 cannot hold (what undecodable bytes were read as) is written as `\udce9`: the file stays
readable.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from worker.model import BROKEN_ROW, BROKEN_ROWS, REPORT_COLUMNS, Outcome
from worker.report.cells import SUSPECT, escape
from worker.report.destination import Destination, open_destination
from worker.report.times import stamper, whole_ms
from worker.reportable import ReportRow

ROWS_AT_ONCE: Final = 256
"""Rows formatted and encoded together: enough to spread the fixed cost, few enough to stay in the cache."""

Line = list[str | int | None]
"""A report line's cells, escaped; None is an empty cell."""

_LOCKOUT: Final = {True: "yes", False: "no", None: None}


def header_line(header: Sequence[str]) -> Line:
    """Return the report's header: the input's own column names, then ours."""
    return [*map(escape, header), *REPORT_COLUMNS]


def failed_header(header: Sequence[str]) -> Line:
    """Return the header of `failed.csv` and `invalid.csv`: the report's, and a column for rows that were broken."""
    return [*header_line(header), BROKEN_ROW]


def failed_line(row: ReportRow, line: Line) -> Line:
    """Return a row's line of `failed.csv` and `invalid.csv`, given that of the report.

    A row that was broken shows none of its cells in the input's columns: they may stand in the wrong ones, and
    whatever takes our columns off would make ids of them (promise 10).
    """
    if row.outcome is not Outcome.INVALID or row.error_code not in BROKEN_ROWS:
        return [*line, None]
    own = line[len(line) - len(REPORT_COLUMNS) :]
    nothing: Line = [None] * (len(line) - len(own))
    return [*nothing, *own, json.dumps(row.cells, ensure_ascii=False)]


def line_maker(width: int, run_id: str) -> Callable[[ReportRow], Line]:
    """Return the function from a row to its line, of `width` own cells and ours.

    A row with fewer cells is padded, one with more is cut: its `error_message` tells what it held.
    """
    stamp = stamper()
    last_cell = escape(run_id)

    def line(row: ReportRow) -> Line:
        cells: Line = [cell if cell[:1] not in SUSPECT else escape(cell) for cell in row.cells]
        if len(cells) != width:
            cells = [*cells[:width], *[""] * (width - len(cells))]
        started, finished, took = None, None, None
        if row.started_at is not None:
            started_ms = whole_ms(row.started_at)
            started = stamp(started_ms)
            if row.finished_at is not None:
                finished_ms = whole_ms(row.finished_at)
                finished = stamp(finished_ms)
                took = finished_ms - started_ms if finished_ms > started_ms else 0
        cells += (
            row.number,
            row.outcome,
            row.http_status,
            escape(row.error_code),
            escape(row.error_message),
            row.requests,
            started,
            finished,
            took,
            row.sent,
            "yes" if row.resent else None,
            row.verified_contacts_left,
            _LOCKOUT[row.lockout_risk],
            row.duplicate_of,
            last_cell,
        )
        return cells

    return line


def encode(lines: Iterable[Line]) -> bytes:
    """Return `lines` as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue().encode("utf-8", "backslashreplace")


def write_csv(
    destination: Destination,
    header: Sequence[str],
    rows: Iterable[ReportRow],
    run_id: str,
    only: frozenset[Outcome] | None = None,
) -> int:
    """Write the rows (of the outcomes `only`, if given) as CSV, in their order, and return how many.

    Takes `rows` once and holds few of them at a time.

    Raises:
        UsageError: The destination cannot be a file.
        ReportError: It could not be written.
    """
    kept = iter(rows) if only is None else (row for row in rows if row.outcome in only)
    lines = map(line_maker(len(header), run_id), kept)
    written = 0
    with open_destination(destination) as out:
        out.write(encode([header_line(header)]))
        while batch := list(islice(lines, ROWS_AT_ONCE)):
            out.write(encode(batch))
            written += len(batch)
    return written
