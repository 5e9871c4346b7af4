"""Reads back what a report wrote: takes its own columns out and the spreadsheet escape off (promise 10)."""

from __future__ import annotations

from collections.abc import Sequence

from worker.model import REPORT_COLUMNS


def unescape(cell: str) -> str:
    """Take off the one `'` that a report wrote before a cell which a spreadsheet would run as a formula.

    Exact, because a report also escapes every cell that starts with `'` itself.
    """
    return cell.removeprefix("'")


def own_columns_dropped(header: Sequence[str]) -> list[int]:
    """Return the indexes of the columns that were the input's before it became a report."""
    return [index for index, column in enumerate(header) if column not in REPORT_COLUMNS]
