"""The protected list: ids that are never called."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.errors import InputError
from worker.intake.columns import find_identifier, find_user
from worker.intake.delimited import DETECTED, sample_header
from worker.intake.escaped import unescape
from worker.intake.head import open_text
from worker.intake.options import InputOptions
from worker.intake.stored import open_stored
from worker.intake.table import open_table
from worker.intake.text import is_damaged

_COMMENT: Final = "#"
_QUOTE: Final = '"'


def load_protected(path: Path) -> frozenset[str]:
    """Return the protected ids (users' and identifiers' alike) of a list, a CSV, a report or JSON lines.

    A list has one id a line; `#` begins a comment. A CSV's columns of users' and identifiers' ids count both,
    and one of them is enough.

    Raises:
        InputError: The file is broken anywhere, or protects nobody: a protected list is never read by halves.
    """
    with open_stored(path) as stored:
        text, _ = open_text(stored, None)
        lines = [""] * text.skipped + text.head.lines
        for block in text.rest:
            lines += block.lines
    for number, line in enumerate(lines, start=1):
        if is_damaged(line) or "\0" in line:
            raise InputError(f"{path}: line {number} is not UTF-8 text: save the protected list as UTF-8.")
    start = next((index for index, line in enumerate(lines) if _said(line)), len(lines))
    if lines[start:] and lines[start].lstrip().startswith("{"):
        found = _object_ids(path)
    else:
        found = _table_ids(lines, start, str(path)) or _listed_ids(lines, str(path))
    ids = frozenset(each for each in found if each.strip())
    if not ids:
        raise InputError(f"{path} protects nobody: put one id on each line, or leave --exclude out.")
    return ids


def _said(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(_COMMENT)


def _object_ids(path: Path) -> list[str]:
    ids: list[str] = []
    with open_table(path, InputOptions(format="jsonl")) as table:
        for row in table.rows():
            if row.error_code and not (row.user_id or row.identifier_id):
                raise InputError(f"{path}: line {row.line} protects nobody ({row.error_message}): mend it.")
            ids += row.user_id, row.identifier_id
    return ids


def _table_ids(lines: list[str], start: int, name: str) -> list[str]:
    """Return the ids of a CSV's columns, or nothing if no column has a usual name."""
    sample = sample_header(lines[start : start + 1000], DETECTED, lambda cells: len(_id_columns(cells, name)))
    if sample is None or not (columns := _id_columns(sample.cells, name)):
        return []
    ids: list[str] = []
    report = "_row" in sample.cells
    body = start + sample.lines
    for line, cells in _records(lines[body:], sample.delimiter, name, body):
        if len(cells) != sample.width:
            raise InputError(
                f"{name}: line {line} has {len(cells)} columns instead of {sample.width}: mend it."
            )
        ids += (unescape(cells[index]) if report else cells[index] for index in columns)
    if not ids:
        raise InputError(f"{name} protects nobody: it has a header and no rows.")
    return ids


def _id_columns(header: list[str], name: str) -> list[int]:
    found = find_user(header, None, name), find_identifier(header, None, name)
    return [index for index in found if index is not None]


def _records(lines: list[str], delimiter: str, name: str, before: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not cells[0].startswith(_COMMENT):
                yield before + reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"{name}: line {before + reader.line_num} is broken ({error}): mend it.") from error


def _listed_ids(lines: list[str], name: str) -> list[str]:
    ids = []
    for number, line in enumerate(lines, start=1):
        if not _said(line):
            continue
        value = line.split(f" {_COMMENT}", 1)[0].strip()
        if len(value) > 1 and value[0] == value[-1] == _QUOTE:
            value = value[1:-1]
        if len(value.split()) != 1 or any(mark in value for mark in (*DETECTED, _QUOTE)):
            raise InputError(
                f"{name}: line {number} is not one id: put one id on each line, or name the columns of a CSV"
                " user_id and identifier_id in its first line."
            )
        ids.append(value)
    return ids
