"""Opens an Excel workbook: its one sheet with ids, and its records. Needs the extra `excel` (python-calamine).

The library holds the whole sheet in memory; Excel's own limit of 1,048,576 rows bounds that.
"""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from worker.errors import InputError, UsageError
from worker.intake.columns import count_hits, find_both
from worker.intake.formulas import find_formulas
from worker.intake.opened import Opened
from worker.intake.opened_table import open_values
from worker.intake.options import InputOptions
from worker.intake.restored import Beside
from worker.intake.stored import StoredFile
from worker.intake.typed import Formula, as_text

_ZIP: Final = b"PK\x03\x04"
_BOOK: Final = "xl/workbook.xml"
_IDS: Final = 2


class _Sheet(NamedTuple):
    name: str
    position: int
    rows: Iterator[tuple[int, list[Any]]]
    header: list[str]
    first_column: int


def is_workbook(stored: StoredFile, path: Path) -> bool:
    """Tell whether a file is an Excel workbook (.xlsx), by what is in it."""
    if not stored.head.startswith(_ZIP):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return _BOOK in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def open_workbook(
    stored: StoredFile, path: Path, options: InputOptions, beside: Beside, like: Opened | None
) -> Opened:
    """Find the columns of a workbook; arguments as of `open_records`. A row's line is its number in the sheet.

    Raises:
        UsageError: python-calamine is not installed.
        InputError: The file as a whole is no batch.
    """
    try:
        calamine = importlib.import_module("python_calamine")
    except ImportError as error:
        raise UsageError(
            f"{stored.name} is an Excel workbook, which needs python-calamine: install `bulk-unverify[excel]`, or"
            " save it as CSV."
        ) from error
    try:
        sheet = _chosen(_sheets(calamine, calamine.load_workbook(str(path))), options, stored.name)
        formulas = find_formulas(path, sheet.position, _id_columns(sheet, options, stored.name))
    except (calamine.CalamineError, zipfile.BadZipFile, KeyError, OSError) as error:
        said = " ".join(str(error).split())
        raise InputError(
            f"{stored.name} is an Excel workbook that cannot be read ({said}): save it anew, without a password."
        ) from error
    if formulas is None:
        raise InputError(f"{stored.name} holds formulas whose cells have no names: save it as CSV.")
    rows = _rows(sheet, formulas, stored)
    return open_values(stored, "xlsx", sheet.header, rows, options, beside, like)


def _sheets(calamine: Any, book: Any) -> Iterator[_Sheet]:
    """Yield the visible sheets that hold anything, each with its header: its first row that is not empty."""
    for position, about in enumerate(book.sheets_metadata):
        is_sheet = about.typ == calamine.SheetTypeEnum.WorkSheet
        if not is_sheet or about.visible != calamine.SheetVisibleEnum.Visible:
            continue
        sheet = book.get_sheet_by_index(position)
        if sheet.start is None:
            continue
        rows = enumerate(sheet.iter_rows(), start=1)
        header = next((list(map(as_text, values)) for _, values in rows if any(values)), None)
        if header is not None:
            yield _Sheet(about.name, position, rows, header, sheet.start[1])


def _chosen(sheets: Iterator[_Sheet], options: InputOptions, name: str) -> _Sheet:
    found = list(sheets)
    if not found:
        raise InputError(f"{name} holds no visible sheet with a header and rows.")
    with_ids = [sheet for sheet in found if count_hits(sheet.header, options) == _IDS]
    if len(with_ids) > 1:
        names = " and ".join(repr(sheet.name) for sheet in with_ids)
        raise InputError(
            f"{name}: the sheets {names} both have the columns of ids: save the one meant as CSV."
        )
    return with_ids[0] if with_ids else found[0]


def _id_columns(sheet: _Sheet, options: InputOptions, name: str) -> frozenset[int]:
    ids = find_both(sheet.header, options, name, keys=True)
    return frozenset(index + sheet.first_column for index in ids)


def _rows(
    sheet: _Sheet, formulas: frozenset[tuple[int, int]], stored: StoredFile
) -> Iterator[tuple[int, Sequence[Any]]]:
    formula_rows = {row for row, _ in formulas}
    for line, values in sheet.rows:
        if not any(value != "" for value in values):
            continue
        if line - 1 in formula_rows:
            for index, value in enumerate(values):
                if (line - 1, index + sheet.first_column) in formulas:
                    values[index] = Formula(as_text(value))
        yield line, values
    stored.pass_over()
