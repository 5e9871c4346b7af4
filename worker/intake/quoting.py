"""What a broken quote leaves in doubt: which of the lines after it may be the inside of a quoted cell."""

from __future__ import annotations

import csv
import itertools
from typing import Final

from worker.intake.dialects import Dialect

MOST_CHARS: Final = 1 << 20
"""A quoted record that goes on beyond this is taken for a quote that somebody forgot to close."""

_CLEAR_LINES: Final = 100
"""So many lines in a row that read as whole records are records, whatever a quote before them meant."""


def lines_in_doubt(lines: list[str], first: int, dialect: Dialect, width: int, *, final: bool) -> int | None:
    """Return how many of `lines` from index `first` on, which follow a broken quote, may be inside of its cell.

    If the quote was stray or forgotten, the lines after it read as whole records. If they are the rest of its
    cell, the line where the cell ends reads as none: it has a quote in a wrong place, or too few cells. So
    everything up to a line that does not read well is in doubt, and nothing is in doubt where `_CLEAR_LINES`
    lines, or all up to the end, read well.

    Args:
        lines: Some lines with their ends.
        first: Index of the first line that is to be judged.
        dialect: How cells are marked.
        width: Cells of a sound record; 0 if unknown.
        final: Whether the input ends with `lines`.

    Returns:
        None if it takes further lines to tell. The last line in doubt leaves those after it in doubt as well:
        ask again for them.
    """
    rest = len(lines) - first
    reader = dialect.reader(lines[index] for index in range(first, len(lines)))
    start = chars = 0
    try:
        for cells in reader:
            text = "".join(lines[first + start : first + reader.line_num])
            start = reader.line_num
            chars += len(text)
            if not reads_well(text, cells, dialect, width):
                return start
            if start >= _CLEAR_LINES or chars >= MOST_CHARS:
                return 0
    except csv.Error:
        unfinished = reader.line_num == rest and not final and not is_runaway(lines[first + start :])
        return None if unfinished else start + 1
    return 0 if final else None


def is_runaway(lines: list[str]) -> bool:
    """Tell whether an unfinished record is too long to go on."""
    return sum(map(len, lines)) > max(MOST_CHARS, len(lines[0]))


def whole_cells(line: str, dialect: Dialect, width: int) -> list[str] | None:
    """Return the cells of a line that is by itself one whole record, or None if it is not."""
    if not dialect.record.fullmatch(line):
        return None
    try:
        cells = next(dialect.reader([line]))
    except csv.Error:  # too long a cell
        return None
    return cells if len(cells) == width else None


def sound_length(lines: list[str], dialect: Dialect) -> int:
    """Return how many of `lines` one record with sound quotes takes, 0 if the first line begins none.

    Unlike `csv.reader` it does not mind how long a cell is.
    """
    record = dialect.record.match("".join(lines))
    if record is None:
        return 0
    ends = itertools.accumulate(map(len, lines))
    return next(count for count, end in enumerate(ends, start=1) if end >= record.end())


def is_open(lines: list[str], dialect: Dialect) -> bool:
    """Tell whether a record with sound quotes may begin with `lines` and go on after them."""
    return dialect.open_record.fullmatch("".join(lines)) is not None


def reads_well(text: str, cells: list[str], dialect: Dialect, width: int) -> bool:
    """Tell whether a record that a reader took has all its cells, and no quote inside of an unquoted one."""
    if text.isspace():
        return True
    return len(cells) == (width or len(cells)) and (
        '"' not in text or dialect.record.fullmatch(text) is not None
    )
