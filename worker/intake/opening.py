"""Opens one stored file: which format it has; and of delimited text its columns and its records."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Final

from worker.errors import InputError
from worker.intake.columns import find_both, has_own_columns, looks_like_header
from worker.intake.delimited import RecordParser, Sample
from worker.intake.dialects import Quoting
from worker.intake.escaped import own_columns_dropped, unescape
from worker.intake.examined import Form, examine
from worker.intake.head import Text, open_pieces, read_header
from worker.intake.opened import Opened, refuse_other
from worker.intake.opened_json import open_json
from worker.intake.opened_parquet import MAGIC as PARQUET
from worker.intake.opened_parquet import open_parquet
from worker.intake.opened_workbook import is_workbook, open_workbook
from worker.intake.options import InputOptions
from worker.intake.restored import Beside, Restorer, restored_text
from worker.intake.rows import Shape
from worker.intake.stored import StoredFile
from worker.intake.structure import Structure
from worker.intake.text import blocks
from worker.intake.watch import Watch

_JSON_SUFFIXES: Final = frozenset({".jsonl", ".ndjson", ".json"})
_JSON_START: Final = re.compile(r'\s*(?:\{|\[\s*[\[\]{"])')
"""A header may begin with a bracket too, as where SQL Server quotes names: `[user_id],[identifier_id]`."""
_PACKED_SUFFIXES: Final = frozenset({".gz", ".zst"})


def open_records(
    stored: StoredFile, path: Path, options: InputOptions, beside: Beside, like: Opened | None = None
) -> Opened:
    """Detect the format of `stored`, which lies at `path`, and find its columns.

    Args:
        stored: The file.
        path: Where it lies.
        options: What was said of the input.
        beside: The runs whose reports may come back, and where warnings are counted.
        like: The first part of the same input, whose columns this one is to have; None if this is the first.

    Raises:
        InputError: The file as a whole is no batch.
    """
    if stored.head.startswith(PARQUET):
        return open_parquet(stored, path, options, beside, like)
    if is_workbook(stored, path):
        return open_workbook(stored, path, options, beside, like)
    pieces = open_pieces(stored, options.codec)
    if _is_json(path, pieces.start, options):
        return open_json(stored, pieces, options, beside, like)
    text = Text(blocks(pieces.text), stored.name)
    return _open_delimited(stored, (text, pieces.encoding), options, beside, like)


def _is_json(path: Path, start: str, options: InputOptions) -> bool:
    if options.format is not None:
        return options.format == "jsonl"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED_SUFFIXES]
    if suffixes[-1:] == [".csv"]:
        return False
    return bool(_JSON_SUFFIXES.intersection(suffixes[-1:])) or _JSON_START.match(start) is not None


def _open_delimited(
    stored: StoredFile,
    content: tuple[Text, str],
    options: InputOptions,
    beside: Beside,
    like: Opened | None,
) -> Opened:
    text, encoding = content
    sample, before = read_header(text.head, options, stored.name)
    if like is not None:
        refuse_other(like, "csv", sample.cells if options.header else None, sample.width, stored.name)
    if options.header:
        header, report = sample.cells, has_own_columns(sample.cells, stored.name)
    else:
        header, report = _numbered(sample, options, stored.name), False
    columns = [unescape(header[index]) for index in own_columns_dropped(header)] if report else list(header)
    ids = find_both(columns, options if options.header else InputOptions(), stored.name)
    kept = own_columns_dropped(header) if report else range(len(header))
    raw_ids = kept[ids[0]], kept[ids[1]]
    told = options.quoting or (Quoting.RFC4180.value if report else None)
    first = dataclasses.replace(text.head, lines=text.head.lines[before:])
    read = examine(itertools.chain([first], text.rest), Form(sample.delimiter, header, raw_ids), told)
    parser = RecordParser(read.dialect, len(header), text.skipped + before, read.is_row)
    records = parser.records(read.blocks)
    if report:
        records = restored_text(records, header, Restorer(columns, ids, beside, is_text=True))
    dialect = {"format": "csv", "delimiter": sample.delimiter, "quoting": read.dialect.quoting.word}
    structure = Structure(columns, ids, named=options.header)
    watch = Watch(
        structure,
        read.usual,
        read.unclear,
        pads=read.pads,
        tears=read.dialect.quoting is Quoting.NONE,
        unended=lambda: parser.unended,
    )
    shape = Shape(len(columns), ids, watch)
    return Opened(stored.name, columns, tuple(header), shape, {**dialect, "encoding": encoding}, records)


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
