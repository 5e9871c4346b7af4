"""An opened input: one table, read once as a stream of numbered and validated rows."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from worker.errors import InputError
from worker.intake.check import Fault, find_fault, has_unseen_edge, is_plain
from worker.intake.columns import find_both, has_own_columns, looks_like_header
from worker.intake.delimited import Record, RecordParser, Sample
from worker.intake.escaped import own_columns_dropped, unescape
from worker.intake.head import Text, open_text, read_header
from worker.intake.objects import ObjectReader, sample_columns
from worker.intake.options import InputOptions
from worker.intake.stored import StoredFile, open_stored
from worker.intake.text import Block
from worker.model import InputRow
from worker.warned import Warnings

_OBJECT_SUFFIXES: Final = frozenset({".jsonl", ".ndjson"})
_PACKED_SUFFIXES: Final = frozenset({".gz", ".zst"})
_SHAPE_FAULTS: Final = frozenset({"wrong_column_count", "broken_quoting", "undecodable", "not_text"})
"""Faults after which a row of a report is not what the input's row was, but may look sound."""
_SHOWN_SURPLUS_CHARS: Final = 200

_Tidy = Callable[[list[str]], list[str]]


class Table:
    """An opened input.

    Args:
        stored: The bytes, for the digest.
        columns: The columns' names; JSON lines append to them while rows are read.
        ids: Indexes of the user's and the identifier's column within a row's cells.
        dialect: What was detected: `format`, `delimiter`, `encoding`, `compression`.
        rows: The rows.
        warnings: What looks wrong in them, complete once they are exhausted.
    """

    def __init__(
        self,
        stored: StoredFile,
        columns: list[str],
        ids: tuple[int, int],
        dialect: Mapping[str, str],
        rows: Iterator[InputRow],
        warnings: Warnings,
    ) -> None:
        self._stored = stored
        self._columns = columns
        self._rows = rows
        self.name = stored.name
        self.warnings = warnings
        self.user_index, self.identifier_index = ids
        self.dialect = MappingProxyType({**dialect, "compression": stored.compression})

    @property
    def header(self) -> tuple[str, ...]:
        """The input's own columns; for JSON lines final only once the rows are exhausted."""
        return tuple(self._columns)

    @property
    def sha256(self) -> str:
        """SHA-256 of the input's bytes as stored (packed ones where it is packed).

        Raises:
            RuntimeError: The rows are not exhausted yet.
        """
        return self._stored.sha256

    def rows(self) -> Iterator[InputRow]:
        """Return the rows in the input's order; one pass, however often it is asked for.

        Raises:
            InputError: While reading: the file breaks off, is broken inside, or has too many rows.
        """
        return self._rows


@contextlib.contextmanager
def open_table(path: Path, options: InputOptions) -> Iterator[Table]:
    """Open `path`, detect its dialect and find its columns.

    Raises:
        InputError: The file as a whole is no batch.
        UsageError: An option can be meant for no file.
    """
    options.check()
    with open_stored(path) as stored:
        text, encoding = open_text(stored, options.codec)
        if _is_objects(path, text.head, options):
            yield _open_objects(stored, text, encoding, options)
        else:
            yield _open_delimited(stored, text, encoding, options)


def _is_objects(path: Path, head: Block, options: InputOptions) -> bool:
    if options.format is not None:
        return options.format == "jsonl"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED_SUFFIXES]
    first = next(line for line in head.lines if not line.isspace())
    return suffixes[-1:] != [".csv"] and (
        bool(_OBJECT_SUFFIXES.intersection(suffixes[-1:])) or first.lstrip().startswith("{")
    )


def _open_delimited(stored: StoredFile, text: Text, encoding: str, options: InputOptions) -> Table:
    sample, before = read_header(text.head, options, stored.name)
    if options.header:
        header, report = sample.cells, has_own_columns(sample.cells, stored.name)
    else:
        header, report = _numbered(sample, options, stored.name), False
    tidy, columns = _tidier(header) if report else (None, list(header))
    ids = find_both(columns, options if options.header else InputOptions(), stored.name)
    parser = RecordParser(sample.delimiter, len(header), line=text.skipped + before)
    first = Block(text.head.lines[before:], text.head.suspect, text.head.cut)
    records = parser.records(itertools.chain([first], text.rest))
    if report and "_error_code" in header:
        records = _still_broken(records, header.index("_error_code"))
    warnings = Warnings()
    rows = _limited(_rows(records, len(header), ids, tidy, warnings), options.max_rows, stored.name)
    dialect = {"format": "csv", "delimiter": sample.delimiter, "encoding": encoding}
    return Table(stored, columns, ids, dialect, rows, warnings)


def _open_objects(stored: StoredFile, text: Text, encoding: str, options: InputOptions) -> Table:
    found = sample_columns([text.head])
    if found is None:
        raise InputError(
            f"{stored.name}: none of the first lines is a JSON object; JSON lines have a whole one on each."
        )
    report = has_own_columns(found, stored.name)
    columns = [found[index] for index in own_columns_dropped(found)] if report else found
    if report and columns == ["input"]:
        raise InputError(
            f"{stored.name} is a JSON lines report, which is not read back: give failed.csv, or what"
            " `report --format csv` writes."
        )
    ids = find_both(columns, options, stored.name)
    reader = ObjectReader(columns, columns[ids[0]], columns[ids[1]], stored.name, report=report)
    records = reader.records(itertools.chain([text.head], text.rest), text.skipped)
    warnings = Warnings()
    rows = _limited(_rows(records, 0, ids, None, warnings), options.max_rows, stored.name)
    return Table(stored, columns, ids, {"format": "jsonl", "encoding": encoding}, rows, warnings)


def _numbered(sample: Sample, options: InputOptions, name: str) -> list[str]:
    """Return names for the columns of a file without a header."""
    if looks_like_header(sample.cells):
        raise InputError(f"{name} has a header after all: leave --no-header out.")
    header = [f"column_{position}" for position in range(1, sample.width + 1)]
    named = (("user_id", options.user_column or "1"), ("identifier_id", options.identifier_column or "2"))
    for column, told in named:
        position = int(told[:9])
        if not 1 <= position <= sample.width or not header[position - 1].startswith("column_"):
            raise InputError(
                f"{name} has no separate column {told} for {column}: its rows have {sample.width}"
                " columns; give --user-column and --identifier-column as positions, or --delimiter."
            )
        header[position - 1] = column
    return header


def _tidier(header: Sequence[str]) -> tuple[_Tidy, list[str]]:
    """Return what makes a report's cells the input's again, and the input's columns."""
    kept = own_columns_dropped(header)

    def tidy(cells: list[str]) -> list[str]:
        return [unescape(cells[index]) for index in kept if index < len(cells)]

    return tidy, tidy(list(header))


def _rows(
    records: Iterator[Record], width: int, ids: tuple[int, int], tidy: _Tidy | None, warnings: Warnings
) -> Iterator[InputRow]:
    """Number, validate and warn of records; `width` 0 takes any number of cells."""
    user_index, identifier_index = ids
    number = 0
    for line, raw_cells, fault in records:
        if fault is None and (not width or len(raw_cells) == width):
            number += 1
            cells = tidy(raw_cells) if tidy else raw_cells
            user_id, identifier_id = cells[user_index], cells[identifier_index]
            if is_plain(user_id) and is_plain(identifier_id):
                yield InputRow(number, line, user_id, identifier_id, cells)
                continue
            wrong = find_fault(user_id, identifier_id)
            if wrong is None and (has_unseen_edge(user_id) or has_unseen_edge(identifier_id)):
                warnings.add("edge_white_space", line)
            yield InputRow(number, line, user_id, identifier_id, cells, *(wrong or Fault("", "")))
        elif fault or len(raw_cells) > 1 or raw_cells[0].strip():
            number += 1
            yield _invalid(number, line, raw_cells, fault or _miscounted(raw_cells, width), (ids, tidy))


def _still_broken(records: Iterator[Record], code_index: int) -> Iterator[Record]:
    """Keep rows of a report invalid whose cells may stand in the wrong columns or are not what they were.

    A report has as many cells in each row as its header: a row that once had more or fewer looks sound in it, and
    calling it could call somebody else.
    """
    for line, cells, fault in records:
        code = cells[code_index] if fault is None and code_index < len(cells) else ""
        if code in _SHAPE_FAULTS:
            message = "the run that wrote this file found it broken; mend the row and empty its _error_code"
            yield line, cells, Fault(code, message)
        else:
            yield line, cells, fault


def _invalid(
    number: int, line: int, raw_cells: list[str], fault: Fault, shape: tuple[tuple[int, int], _Tidy | None]
) -> InputRow:
    (user_index, identifier_index), tidy = shape
    cells = tidy(raw_cells) if tidy and len(raw_cells) > 1 else raw_cells
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


def _limited(rows: Iterator[InputRow], most: int | None, name: str) -> Iterator[InputRow]:
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
