"""The Parquet report: typed columns, row groups streamed. Needs the extra `parquet` (pyarrow).

The input's own columns come first, as text, then ours; a column of the input that is named like one of ours,
or like an earlier one, is numbered (`_row (2)`). What is not known is null. Cells are not escaped.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any, Final

from worker.errors import UsageError
from worker.model import REPORT_COLUMNS, Outcome
from worker.report.columns import fit, readable, unique_names
from worker.report.destination import Destination, open_destination
from worker.report.times import whole_ms
from worker.reportable import ReportRow

ROWS_A_GROUP: Final = 20_000
"""Rows held at a time: about 20 MB of them, and enough for columns to compress well."""


def write_parquet(
    destination: Destination,
    header: Sequence[str],
    rows: Iterable[ReportRow],
    run_id: str,
    only: frozenset[Outcome] | None = None,
) -> int:
    """Write the rows (of the outcomes `only`, if given) as Parquet, in their order, and return how many.

    Raises:
        UsageError: pyarrow is not installed, or the destination cannot be a file.
        ReportError: It could not be written.
    """
    arrow, parquet = _import_arrow()
    schema = _schema(arrow, header)
    kept = (row for row in rows if only is None or row.outcome in only)
    written = 0
    with (
        open_destination(destination) as out,
        parquet.ParquetWriter(out, schema, compression="zstd") as writer,
    ):
        while group := list(islice(kept, ROWS_A_GROUP)):
            columns = _columns(group, len(header), run_id)
            arrays = [
                _array(arrow, column, field.type) for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            written += len(group)
    return written


def _import_arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            "A Parquet report needs pyarrow, which is not installed. "
            "Install it with `pip install 'bulk-unverify[parquet]'`, or ask for csv or jsonl."
        ) from error


def _schema(arrow: Any, header: Sequence[str]) -> Any:
    text, count, flag = arrow.string(), arrow.int64(), arrow.bool_()
    instant = arrow.timestamp("ms", tz="UTC")
    types = {
        "_row": count,
        "_http_status": arrow.int32(),
        "_attempts": count,
        "_started_at": instant,
        "_finished_at": instant,
        "_duration_ms": count,
        "_resent": flag,
        "_verified_contacts_left": count,
        "_lockout_risk": flag,
        "_duplicate_of": count,
    }
    own = [arrow.field(readable(name), text) for name in unique_names(header, taken=REPORT_COLUMNS)]
    ours = [arrow.field(name, types.get(name, text)) for name in REPORT_COLUMNS]
    return arrow.schema(own + ours)


def _columns(group: Sequence[ReportRow], width: int, run_id: str) -> Iterable[Sequence[object]]:
    """Return the group's values column by column, in the schema's order."""
    own: list[tuple[str, ...]] = list(zip(*(fit(row.cells, width) for row in group), strict=True))
    started = [None if row.started_at is None else whole_ms(row.started_at) for row in group]
    finished = [None if row.finished_at is None else whole_ms(row.finished_at) for row in group]
    ours: tuple[Sequence[object], ...] = (
        [row.number for row in group],
        [row.outcome.value for row in group],
        [row.http_status for row in group],
        [row.error_code or None for row in group],
        [row.error_message or None for row in group],
        [row.requests for row in group],
        started,
        finished,
        [
            None if start is None or end is None else max(0, end - start)
            for start, end in zip(started, finished, strict=True)
        ],
        [row.sent for row in group],
        [row.resent for row in group],
        [row.verified_contacts_left for row in group],
        [row.lockout_risk for row in group],
        [row.duplicate_of for row in group],
        [run_id] * len(group),
    )
    return chain(own, ours)


def _array(arrow: Any, column: Sequence[object], kind: Any) -> Any:
    try:
        return arrow.array(column, type=kind)
    except UnicodeEncodeError:  # undecodable bytes of the input
        return arrow.array([readable(cell) if isinstance(cell, str) else cell for cell in column], type=kind)
