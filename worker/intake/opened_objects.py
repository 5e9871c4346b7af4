"""Opens JSON: its columns and its records."""

from __future__ import annotations

import itertools

from worker.errors import InputError
from worker.intake.columns import find_both, has_own_columns
from worker.intake.escaped import own_columns_dropped
from worker.intake.head import Text
from worker.intake.objects import ObjectReader, sample_columns
from worker.intake.opened import Opened, refuse_other
from worker.intake.options import InputOptions
from worker.intake.rows import Shape
from worker.intake.stored import StoredFile


def open_objects(
    stored: StoredFile, text: Text, encoding: str, options: InputOptions, like: Opened | None
) -> Opened:
    """Find the columns of JSON lines; arguments as of `open_records`.

    Raises:
        InputError: The file as a whole is no batch.
    """
    if like is not None:
        refuse_other(like, "jsonl", None, 0, stored.name)
    found = sample_columns([text.head])
    if found is None:
        raise InputError(
            f"{stored.name}: none of the first lines is a JSON object; JSON lines have a whole one on each."
        )
    report = has_own_columns(found, stored.name)
    columns, ids = (
        (like.columns, like.shape.ids) if like else _columns(found, options, stored.name, report=report)
    )
    reader = ObjectReader(columns, columns[ids[0]], columns[ids[1]], stored.name, report=report)
    records = reader.records(itertools.chain([text.head], text.rest), text.skipped)
    return Opened(stored.name, columns, (), Shape(0, ids), {"format": "jsonl", "encoding": encoding}, records)


def _columns(
    found: list[str], options: InputOptions, name: str, *, report: bool
) -> tuple[list[str], tuple[int, int]]:
    """Return the input's own columns, and the indexes of the two with ids."""
    columns = [found[index] for index in own_columns_dropped(found)] if report else found
    if report and columns == ["input"]:
        raise InputError(
            f"{name} is a JSON lines report, which is not read back: give failed.csv, or what"
            " `report --format csv` writes."
        )
    return columns, find_both(columns, options, name)
