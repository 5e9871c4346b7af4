"""Opens a table of typed values, wherever they come from: its columns, and its records of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from worker.errors import UsageError
from worker.intake.columns import find_both, has_own_columns
from worker.intake.escaped import own_columns_dropped, unescape
from worker.intake.opened import Opened, refuse_other
from worker.intake.options import InputOptions
from worker.intake.restored import Beside, Restorer, restored_text
from worker.intake.rows import Shape
from worker.intake.stored import StoredFile
from worker.intake.typed import typed_records


def open_values(
    stored: StoredFile,
    form: str,
    header: list[str],
    rows: Iterator[tuple[int, Sequence[Any]]],
    options: InputOptions,
    beside: Beside,
    like: Opened | None,
) -> Opened:
    """Find the columns of a table; other arguments as of `open_records`.

    Args:
        stored: The file.
        form: The format's name.
        header: The names of all columns.
        rows: The values of all columns, each row with its line.
        options: What was said of the input.
        beside: The runs whose reports may come back, and where warnings are counted.
        like: The first part of the same input, or None.

    Raises:
        UsageError: An option makes no sense for it.
        InputError: The file as a whole is no batch.
    """
    if not options.header:
        raise UsageError(f"{stored.name} is {form}, whose columns have names: leave --no-header out.")
    if like is not None:
        refuse_other(like, form, header, len(header), stored.name)
    report = has_own_columns(header, stored.name)
    kept = own_columns_dropped(header) if report else list(range(len(header)))
    columns = [unescape(header[index]) if report else header[index] for index in kept]
    ids = find_both(columns, options, stored.name, keys=True)
    records = typed_records(rows, (kept[ids[0]], kept[ids[1]]))
    if report:
        records = restored_text(records, header, Restorer(columns, ids, beside, is_text=False))
    dialect = {"format": form, "encoding": "none"}
    return Opened(stored.name, columns, tuple(header), Shape(len(columns), ids), dialect, records)
