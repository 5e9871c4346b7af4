"""Records to rows: numbered, validated and warned of."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from typing import Final

import msgspec

from worker.errors import InputError
from worker.intake.check import Fault
from worker.intake.delimited import Record
from worker.intake.signs import unwrapped
from worker.intake.watch import Watch
from worker.model import InputRow
from worker.warned import Warnings

_SHOWN_SURPLUS_CHARS: Final = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """How a record's cells become a row's.

    Attributes:
        width: Cells of a sound record; 0 takes any number.
        ids: Indexes of the user's and the identifier's column within a row's cells.
        watch: Judges the records that do not look like most.
    """

    width: int
    ids: tuple[int, int]
    watch: Watch = dataclasses.field(default_factory=Watch)


def number_rows(
    records: Iterator[Record], shape: Shape, warnings: Warnings, number: int = 0, part: str = ""
) -> Generator[InputRow, None, int]:
    """Number, validate and warn of records; return the last row's number.

    Args:
        records: The records, in order.
        shape: How they become rows.
        warnings: Where what looks wrong is counted.
        number: Rows before them.
        part: Name of the part that they are of, for messages; empty where it is the whole input.
    """
    width, watch, is_usual = shape.width, shape.watch, shape.watch.is_usual
    user_index, identifier_index = shape.ids
    row: InputRow | None = None
    doubt = watch.doubt
    for line, cells, fault in records:
        if fault is None and doubt is None and (not width or len(cells) == width):
            user_id, identifier_id = cells[user_index], cells[identifier_index]
            if is_usual(f"{user_id}\n{identifier_id}"):
                number += 1
                row = InputRow(number, line, user_id, identifier_id, cells)
                yield row
                continue
        elif len(cells) == 1 and not fault and not cells[0].strip():
            continue
        number += 1
        before, row = row, _judged(number, (line, cells, fault), shape, warnings)
        doubt = watch.doubt
        if watch.is_torn(len(cells), width) and before is not None and not before.error_code:
            warnings.add("torn_row", before.line)
        yield _placed(row, part) if part and row.error_code else row
    if row is not None and not row.error_code and watch.may_be_cut(cells):
        warnings.add("cut_off_id", row.line)
    return number


def _placed(row: InputRow, part: str) -> InputRow:
    """Return an invalid row with the name of its part."""
    return msgspec.structs.replace(row, error_message=f"{part}: {row.error_message}")


def _judged(number: int, record: Record, shape: Shape, warnings: Warnings) -> InputRow:
    """Return the row of a record that is looked at closely."""
    line, cells, fault = record
    watch, width = shape.watch, shape.width
    if fault is None and width and len(cells) != width:
        cells, fault = _filled(cells, shape)
    if fault is not None:
        return _invalid(number, line, cells, fault, shape)
    user_id, identifier_id = (unwrapped(cells[index]) for index in shape.ids)
    wrong = watch.find_fault(cells, user_id, identifier_id)
    if wrong is None:
        watch.warn(user_id, identifier_id, line, warnings)
    return InputRow(number, line, user_id, identifier_id, cells, *(wrong or ("", "")))


def _filled(cells: list[str], shape: Shape) -> tuple[list[str], Fault | None]:
    """Return a record with the empty cells that its writer left out at the end, or why it is no row."""
    if structure := shape.watch.find_structure(cells):
        return cells, structure
    if len(cells) > shape.width or not shape.watch.may_lack_cells(cells):
        return cells, shape.watch.doubt or _miscounted(cells, shape.width)
    return cells + [""] * (shape.width - len(cells)), None


def _invalid(number: int, line: int, cells: list[str], fault: Fault, shape: Shape) -> InputRow:
    user_index, identifier_index = shape.ids
    whole = len(cells) > 1
    user_id = cells[user_index] if whole and user_index < len(cells) else ""
    identifier_id = cells[identifier_index] if whole and identifier_index < len(cells) else ""
    return InputRow(number, line, user_id, identifier_id, cells, *fault)


def _miscounted(cells: list[str], width: int) -> Fault:
    message = f"the row has {len(cells)} columns, but the header has {width}"
    if any("\n" in cell or "\r" in cell for cell in cells):
        message += "; a quoted cell of it goes over several lines: mend the quote if one is missing"
    if surplus := cells[width:]:
        message += f"; beyond them: {', '.join(surplus)[:_SHOWN_SURPLUS_CHARS]!r}"
    return Fault("wrong_column_count", message)


def limited(rows: Iterator[InputRow], most: int | None, name: str) -> Iterator[InputRow]:
    """Return `rows`; one more than `most` raises an `InputError`."""
    if most is None:
        return rows
    return _counted(rows, most, name)


def _counted(rows: Iterator[InputRow], most: int, name: str) -> Iterator[InputRow]:
    for row in rows:
        if row.number > most:
            raise InputError(
                f"{name} has more than {most} rows (--max-rows), the next one at line {row.line}:"
                " nothing was planned; split the file or raise the limit."
            )
        yield row
