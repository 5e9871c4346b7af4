"""Values that have types (Parquet, workbooks) to records of text; what stands for an id must be text or whole."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from worker.intake.check import Fault
from worker.intake.delimited import Record, find_damage

_MOST_WHOLE: Final = float(1 << 53)
"""A float beyond this stands for several whole numbers (IEEE 754), and which one was meant is lost."""
_SHOWN_CHARS: Final = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Formula:
    """A cell that a spreadsheet computes, with its last result; the next may be another."""

    result: str

    def __str__(self) -> str:
        """Return the result."""
        return self.result


def typed_records(rows: Iterable[tuple[int, Sequence[Any]]], ids: tuple[int, int]) -> Iterator[Record]:
    """Yield a record for each row of values, given with its line.

    Args:
        rows: The values, those of all columns.
        ids: Indexes of the user's and the identifier's column.
    """
    named = (("user_id", ids[0]), ("identifier_id", ids[1]))
    for line, values in rows:
        cells = [value if type(value) is str else as_text(value) for value in values]
        fault = None
        for field, index in named:
            if type(values[index]) is not str:
                fault = fault or find_type_fault(field, values[index])
        yield line, cells, fault or find_damage(cells)


def as_text(value: Any) -> str:  # noqa: PLR0911 - one for each kind of value
    """Return a value as a cell: whole numbers as digits, moments as ISO 8601 has them, what nests as JSON."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return _float_text(value)
        case decimal.Decimal() if value.is_finite() and value == value.to_integral_value():
            return str(int(value))
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, default=str)
        case _:
            return str(value)


def find_type_fault(field: str, value: Any) -> Fault | None:  # noqa: PLR0911 - the same
    """Return why a value that is no text cannot be the id `field`, or None."""
    match value:
        case None | str() | bytes() | uuid.UUID():
            return None
        case Formula():
            return Fault(
                "formula", f"{field} is a formula (its last result: {value.result!r}): paste it as a value"
            )
        case bool():
            return Fault("not_text", f"{field} is neither text nor a number")
        case int():
            return None if value >= 0 else _not_whole(field, value)
        case float():
            return _find_float_fault(field, value)
        case decimal.Decimal():
            whole = value.is_finite() and value == value.to_integral_value() and value >= 0
            return None if whole else _not_whole(field, value)
        case dt.datetime() | dt.date() | dt.time() | dt.timedelta():
            shown = as_text(value)
            return Fault(
                "not_text", f"{field} is the date or time {shown}: it was changed; write the column as text"
            )
        case _:
            return Fault("not_text", f"{field} is neither text nor a number")


def _find_float_fault(field: str, value: float) -> Fault | None:
    if value != value:  # noqa: PLR0124 - how pandas writes nothing: an empty cell
        return None
    if abs(value) > _MOST_WHOLE:
        return Fault(
            "imprecise_number",
            f"{field} is the number {value!r}, of which the last digits are lost (beyond 2^53): write ids as text",
        )
    return None if value.is_integer() and value >= 0 else _not_whole(field, value)


def _not_whole(field: str, value: Any) -> Fault:
    shown = str(value)[:_SHOWN_CHARS]
    return Fault("not_whole", f"{field} is the number {shown}, not whole digits: write ids as text")


def _float_text(value: float) -> str:
    if value != value:  # noqa: PLR0124 - as above
        return ""
    return str(int(value)) if value.is_integer() and abs(value) <= _MOST_WHOLE else repr(value)
