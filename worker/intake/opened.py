"""What is known of a file once it is open, and whether it is a part of the same input as another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from worker.errors import InputError
from worker.intake.delimited import Record
from worker.intake.rows import Shape

_SHOWN_COLUMNS: Final = 8
_SHOWN_CHARS: Final = 40


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A file whose format and columns are known.

    Attributes:
        name: What messages call it.
        columns: The columns' names; JSON lines append to them while records are read.
        header: The names as they stand in the file, those of a report too; empty where each row has its own.
        shape: How its records become rows.
        dialect: What was detected: `format`, `delimiter`, `encoding`.
        records: Its records, once.
    """

    name: str
    columns: list[str]
    header: tuple[str, ...]
    shape: Shape
    dialect: Mapping[str, str]
    records: Iterator[Record]


def refuse_other(like: Opened, form: str, header: Sequence[str] | None, width: int, name: str) -> None:
    """Refuse a part that is not like the first one, in its format, its header or the number of its columns.

    Raises:
        InputError: Naming both.
    """
    wanted = like.dialect["format"]
    if form != wanted:
        raise InputError(f"{name} is {form}, but {like.name} is {wanted}: plan them as inputs of their own.")
    if header is not None and tuple(header) != like.header:
        raise InputError(
            f"{name} does not begin with the columns of {like.name} ({_listed(like.header)}), but with"
            f" {_listed(header)}. If only the first part has a header, join them with cat; else give all the"
            " same columns in the same order."
        )
    if header is None and width != like.shape.width:
        raise InputError(
            f"{name} has {width} columns, but {like.name} has {like.shape.width}: give all the same."
        )


def _listed(header: Sequence[str]) -> str:
    more = f" and {len(header) - _SHOWN_COLUMNS} more" if len(header) > _SHOWN_COLUMNS else ""
    return ", ".join(repr(cell[:_SHOWN_CHARS]) for cell in header[:_SHOWN_COLUMNS]) + more
