"""Reads back what a report wrote: takes its own columns out and the spreadsheet escape off (promise 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.model import BROKEN_ROW, REPORT_COLUMNS

_OWN: Final = frozenset(REPORT_COLUMNS) | {BROKEN_ROW}
_RENAMED: Final = "X"
"""R's `read.csv` puts it before a name that begins with `_`, unless it is told `check.names=FALSE`."""


def unescape(cell: str) -> str:
    """Take off the one `'` that a report wrote before a cell which a spreadsheet would run as a formula.

    Exact, because a report also escapes every cell that starts with `'` itself.
    """
    return cell.removeprefix("'")


def own_name(column: str) -> str:
    """Return the name of ours that a column of a report has, also after R renamed it; empty for another's."""
    name = column.removeprefix(_RENAMED) if column.startswith(f"{_RENAMED}_") else column
    return name if name in _OWN else ""


def is_report(header: Sequence[str]) -> bool:
    """Tell whether these are the columns of a report of ours, as it was written or as R renamed them."""
    return "_row" in header or (f"{_RENAMED}_row" in header and f"{_RENAMED}_outcome" in header)


def own_columns_dropped(header: Sequence[str]) -> list[int]:
    """Return the indexes of the columns that were the input's before it became a report."""
    return [index for index, column in enumerate(header) if not own_name(column)]
