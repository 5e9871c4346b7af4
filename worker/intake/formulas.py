"""Finds the cells of a workbook's sheet that are formulas: what reads its values tells only their last results."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 1 << 18
_LONGEST_MARK_BYTES: Final = 1 << 10
_FORMULA: Final = re.compile(rb"<(?:\w+:)?c\b([^>]*)>\s*<(?:\w+:)?f[\s/>]")
_PLACE: Final = re.compile(rb'\br="([A-Z]{1,3})(\d{1,7})"')
_SHEET: Final = re.compile(rb"<(?:\w+:)?sheet\b([^>]*)>")
_RELATION: Final = re.compile(rb"<(?:\w+:)?Relationship\b([^>]*)>")
_SHEET_RELATION: Final = re.compile(rb'\b\w+:id="([^"]*)"')
_ID: Final = re.compile(rb'\bId="([^"]*)"')
_TARGET: Final = re.compile(rb'\bTarget="([^"]*)"')

Places = frozenset[tuple[int, int]]
"""Rows and columns, from 0."""


def find_formulas(path: Path, position: int, columns: frozenset[int]) -> Places | None:
    """Return where the formulas in some columns of a sheet are, or None if that is not told.

    Args:
        path: The workbook (ECMA-376).
        position: The sheet's, from 0, among all of them.
        columns: Those to look at, from 0.

    Raises:
        KeyError: It has no such sheet.
        zipfile.BadZipFile: It is broken.
    """
    found = set()
    with zipfile.ZipFile(path) as archive, archive.open(_sheet_name(archive, position)) as sheet:
        rest = b""
        while chunk := sheet.read(_CHUNK_BYTES):
            text = rest + chunk
            done = 0
            for mark in _FORMULA.finditer(text):
                place = _PLACE.search(mark[1])
                if place is None:
                    return None
                column = _column(place[1])
                if column in columns:
                    found.add((int(place[2]) - 1, column))
                done = mark.end()
            rest = text[max(done, len(text) - _LONGEST_MARK_BYTES) :]
    return frozenset(found)


def _sheet_name(archive: zipfile.ZipFile, position: int) -> str:
    sheets = _SHEET.findall(archive.read("xl/workbook.xml"))
    relations = _RELATION.findall(archive.read("xl/_rels/workbook.xml.rels"))
    wanted = _SHEET_RELATION.search(sheets[position]) if position < len(sheets) else None
    for relation in relations:
        name, target = _ID.search(relation), _TARGET.search(relation)
        if wanted and name and target and name[1] == wanted[1]:
            path = target[1].decode()
            return path[1:] if path.startswith("/") else f"xl/{path}"
    raise KeyError(position)


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number - 1
