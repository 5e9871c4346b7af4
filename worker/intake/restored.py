"""Makes a report's rows the input's again, and compares them with what they were (promise 10)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from worker.identifiers import canonical
from worker.intake.check import Fault
from worker.intake.delimited import Record
from worker.intake.escaped import own_columns_dropped, own_name, unescape
from worker.intake.objects import ObjectReader
from worker.intake.origins import Origin, Origins, no_origins
from worker.model import BROKEN_ROWS
from worker.reportable import PlannedRow
from worker.warned import Warnings

_NOTHING: Final = frozenset({"NA", "NaN", "nan", "NULL", "null", "None", "\\N"})
"""What programs write for a cell that was empty."""
_AS_TEXT: Final = (
    "A spreadsheet or another program changed it: read the file anew with the id columns imported as text. If the new"
    " id is meant, empty the row's _row cell"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Beside:
    """What is beside an input that is read.

    Attributes:
        warnings: Where what looks wrong is counted.
        origins: The runs whose reports may come back.
    """

    warnings: Warnings
    origins: Origins = no_origins


class Restorer:
    """Takes one row after the other.

    Args:
        columns: The file's columns without ours; JSON lines append to them.
        ids: Indexes in `columns` of the user's and the identifier's.
        beside: The runs that are known, and where what cannot be compared is counted.
        is_text: Whether the file is delimited text, in which reports escape cells; in JSON it is not known.
    """

    def __init__(
        self, columns: Sequence[str], ids: tuple[int, int], beside: Beside, *, is_text: bool
    ) -> None:
        self._columns = columns
        self._ids = ids
        self._origins = beside.origins
        self._warnings = beside.warnings
        self._is_text = is_text
        self._places: tuple[Origin, list[int | None]] | None = None

    def restore(self, line: int, cells: list[str], own: Mapping[str, str]) -> tuple[list[str], Fault | None]:
        """Return the input's cells again, and why the row is none.

        Args:
            line: Where it starts.
            cells: The cells of `columns`.
            own: The cells of our columns, by their names.
        """
        number = own.get("_row", "").strip()
        run = self._origins(unescape(own.get("_run_id", "").strip())) if number else None
        if run is None:
            cells = self._restored_blindly(line, cells)
            if number:
                self._warnings.add("unknown_run", line)
            return cells, _still_broken(own)
        before = run.row(int(number)) if number.isascii() and number.isdecimal() else None
        if before is None:
            message = f"run {own['_run_id']} has no row {number!r}; restore the _row cell, or empty it"
            return self._restored_blindly(line, cells), Fault("changed_id", message)
        cells = self._restored(cells, run, before)
        return cells, _still_broken(own) or self._changed(cells, before)

    def _restored_blindly(self, line: int, cells: list[str]) -> list[str]:
        if self._is_text:
            return [unescape(cell) for cell in cells]
        if any(cells[index] != unescape(cells[index]) for index in self._ids):
            self._warnings.add("escaped_id", line)
        return cells

    def _restored(self, cells: list[str], run: Origin, before: PlannedRow) -> list[str]:
        """Return the cells, each as the run has it if that is what was written of it."""
        restored = []
        for cell, place in zip(cells, self._placed(run), strict=False):
            was = before.cells[place] if place is not None and place < len(before.cells) else None
            if was is not None and (cell in {was, f"'{was}"} or (not was and cell in _NOTHING)):
                restored.append(was)
            else:
                restored.append(unescape(cell) if self._is_text else cell)
        return restored

    def _placed(self, run: Origin) -> list[int | None]:
        """Return where each of the columns stands in the run's rows."""
        if self._places is None or self._places[0] is not run or len(self._places[1]) != len(self._columns):
            header = list(run.header)
            places = [header.index(column) if header.count(column) == 1 else None for column in self._columns]
            if list(self._columns) == header:  # names that stand there twice, too
                places = list(range(len(header)))
            self._places = run, places
        return self._places[1]

    def _changed(self, cells: list[str], before: PlannedRow) -> Fault | None:
        if before.invalid:
            return None
        user, identifier = (cells[index] for index in self._ids)
        for field, was, now in (
            ("user_id", before.user_id, user),
            ("identifier_id", canonical(before.identifier_id), canonical(identifier)),
        ):
            if was != now:
                return Fault("changed_id", f"{field} was {was!r} and is {now!r}. {_AS_TEXT}")
        return None


def restored_text(records: Iterator[Record], header: Sequence[str], restorer: Restorer) -> Iterator[Record]:
    """Yield the records of a report in delimited text as those of the input that it was written of.

    Args:
        records: With the cells of all columns.
        header: All columns.
        restorer: Knows those that are not ours.
    """
    kept = own_columns_dropped(header)
    ours = [(index, name) for index, column in enumerate(header) if (name := own_name(column))]
    for line, cells, fault in records:
        if fault is None and len(cells) == len(header):
            own = {name: cells[index] for index, name in ours}
            yield line, *restorer.restore(line, [cells[index] for index in kept], own)
        elif fault is None and len(cells) > 1:
            message = f"the row has {len(cells)} columns, but the header has {len(header)}"
            yield line, cells, Fault("wrong_column_count", message)
        else:
            yield line, cells, fault


def restored_objects(reader: ObjectReader, records: Iterator[Record], restorer: Restorer) -> Iterator[Record]:
    """Yield the records of a report in JSON as those of the input that it was written of."""
    for line, cells, fault in records:
        if fault is None:
            yield line, *restorer.restore(line, cells, reader.own)
        else:
            yield line, cells, fault


def _still_broken(own: Mapping[str, str]) -> Fault | None:
    """Keep a row invalid whose cells may stand in the wrong columns or are not what they were.

    A report has as many cells in each row as its header: a row that once had more or fewer looks sound in it, and
    calling it could call somebody else.
    """
    code = own.get("_error_code", "")
    if code not in BROKEN_ROWS:
        return None
    return Fault(code, "the run that wrote this file found it broken; mend the row and empty its _error_code")
