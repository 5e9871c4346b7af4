"""Opens one stored file: which format it has, which columns, and its records."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from worker.errors import InputError
from worker.intake.columns import find_both, has_own_columns, looks_like_header
from worker.intake.delimited import Record, RecordParser, Sample
from worker.intake.escaped import own_columns_dropped, unescape
from worker.intake.head import Text, open_text, read_header
from worker.intake.objects import ObjectReader, sample_columns
from worker.intake.options import InputOptions
from worker.intake.rows import Shape, Tidy, still_broken
from worker.intake.stored import StoredFile
from worker.intake.text import Block

_OBJECT_SUFFIXES: Final = frozenset({".jsonl", ".ndjson"})
_PACKED_SUFFIXES: Final = frozenset({".gz", ".zst"})


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A file whose format and columns are known.

    Attributes:
        columns: The columns' names; JSON lines append to them while records are read.
        shape: How its records become rows.
        dialect: What was detected: `format`, `delimiter`, `encoding`.
        records: Its records, once.
    """

    columns: list[str]
    shape: Shape
    dialect: Mapping[str, str]
    records: Iterator[Record]


def open_records(stored: StoredFile, path: Path, options: InputOptions) -> Opened:
    """Detect the format of `stored`, which lies at `path`, and find its columns.

    Raises:
        InputError: The file as a whole is no batch.
    """
    text, encoding = open_text(stored, options.codec)
    if _is_objects(path, text.head, options):
        return _open_objects(stored, text, encoding, options)
    return _open_delimited(stored, text, encoding, options)


def _is_objects(path: Path, head: Block, options: InputOptions) -> bool:
    if options.format is not None:
        return options.format == "jsonl"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED_SUFFIXES]
    first = next(line for line in head.lines if not line.isspace())
    return suffixes[-1:] != [".csv"] and (
        bool(_OBJECT_SUFFIXES.intersection(suffixes[-1:])) or first.lstrip().startswith("{")
    )


def _open_delimited(stored: StoredFile, text: Text, encoding: str, options: InputOptions) -> Opened:
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
        records = still_broken(records, header.index("_error_code"))
    dialect = {"format": "csv", "delimiter": sample.delimiter, "encoding": encoding}
    return Opened(columns, Shape(len(header), ids, tidy), dialect, records)


def _open_objects(stored: StoredFile, text: Text, encoding: str, options: InputOptions) -> Opened:
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
    return Opened(columns, Shape(0, ids), {"format": "jsonl", "encoding": encoding}, records)


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


def _tidier(header: Sequence[str]) -> tuple[Tidy, list[str]]:
    """Return what makes a report's cells the input's again, and the input's columns."""
    kept = own_columns_dropped(header)

    def tidy(cells: list[str]) -> list[str]:
        return [unescape(cells[index]) for index in kept if index < len(cells)]

    return tidy, tidy(list(header))
