"""Opens JSON: lines, or a document of arrays or of objects over several lines; its columns and its records."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from typing import Final

from worker.errors import InputError
from worker.intake.columns import count_hits, find_both, has_own_columns
from worker.intake.delimited import Record
from worker.intake.documents import TooLongError, values
from worker.intake.escaped import own_columns_dropped
from worker.intake.head import Pieces, Text
from worker.intake.nested import filter_of
from worker.intake.objects import ObjectReader, parse, sample_columns
from worker.intake.opened import Opened, refuse_other
from worker.intake.options import InputOptions
from worker.intake.restored import Beside, Restorer, restored_objects
from worker.intake.rows import Shape
from worker.intake.stored import NothingHeldError, StoredFile
from worker.intake.text import blocks

_SAMPLE_VALUES: Final = 200
_SAMPLE_CHARS: Final = 1 << 17
_ARRAY: Final = re.compile(r"\s*\[")
_NO_LINES: Final = re.compile(r"\s*\{\s*(?:[\r\n]|\Z)|\s*\{[^\r\n]*[,{\[]\s*[\r\n]")
"""An object of which the first line is not the whole."""


def open_json(
    stored: StoredFile, pieces: Pieces, options: InputOptions, beside: Beside, like: Opened | None
) -> Opened:
    """Find the columns of JSON; arguments as of `open_records`.

    Raises:
        InputError: The file as a whole is no batch.
    """
    if like is not None:
        refuse_other(like, "jsonl", None, 0, stored.name)
    if _is_document(pieces.start):
        return _open_document(stored, pieces, options, beside, like)
    text = Text(blocks(pieces.text), stored.name)
    reader, columns, ids = _reader(stored, text.head.lines, options, like)
    records = reader.records(itertools.chain([text.head], text.rest), text.skipped)
    return _opened(stored, pieces.encoding, (reader, columns, ids), records, beside)


def _is_document(start: str) -> bool:
    """Tell whether the first line does not hold the first object and nothing else."""
    if _ARRAY.match(start):
        return True
    first, *_ = start.lstrip().splitlines() or [""]
    return parse(first) is None and _NO_LINES.match(start) is not None


def _open_document(
    stored: StoredFile, pieces: Pieces, options: InputOptions, beside: Beside, like: Opened | None
) -> Opened:
    found = values(pieces.text, stored.name)
    sample: list[tuple[int, str]] = []
    chars = 0
    try:
        for each in itertools.islice(found, _SAMPLE_VALUES):
            sample.append(each)
            if (chars := chars + len(each[1])) > _SAMPLE_CHARS:
                break
    except TooLongError:
        _refuse_nested(stored, pieces.start, options)  # it may be all rows in one
        raise
    if not sample:
        raise NothingHeldError(f"{stored.name} holds an empty array: give a file with rows.")
    reader, columns, ids = _reader(stored, [text for _, text in sample], options, like, document=pieces.start)
    records = reader.values(itertools.chain(sample, found))
    return _opened(stored, pieces.encoding, (reader, columns, ids), records, beside)


def _reader(
    stored: StoredFile,
    sample: list[str],
    options: InputOptions,
    like: Opened | None,
    document: str = "",
) -> tuple[ObjectReader, list[str], tuple[int, int]]:
    """Return what reads the objects, the input's columns, and the indexes of the two with ids."""
    found = sample_columns(sample)
    if found is None:
        _refuse_nested(stored, document or "".join(sample), options)
        raise InputError(
            f"{stored.name}: none of the first {'values' if document else 'lines'} is a JSON object: give rows as"
            ' objects, one a line or in one array, such as {"user_id": "...", "identifier_id": "..."}.'
        )
    report = has_own_columns(found, stored.name)
    columns = [found[index] for index in own_columns_dropped(found)] if report else found
    if like is not None:
        columns, ids = like.columns, like.shape.ids
    else:
        _refuse_report(columns, stored.name, report=report)
        if count_hits(columns, options) < 2:  # noqa: PLR2004 - the two ids
            _refuse_nested(stored, document or "".join(sample), options)
        ids = find_both(columns, options, stored.name, keys=True)
        _refuse_oriented(sample, (columns[ids[0]], columns[ids[1]]), stored.name)
    user, identifier = columns[ids[0]], columns[ids[1]]
    return ObjectReader(columns, user, identifier, stored.name, report=report), columns, ids


def _opened(
    stored: StoredFile,
    encoding: str,
    found: tuple[ObjectReader, list[str], tuple[int, int]],
    records: Iterator[Record],
    beside: Beside,
) -> Opened:
    reader, columns, ids = found
    if reader.report:
        records = restored_objects(reader, records, Restorer(columns, ids, beside, is_text=False))
    return Opened(stored.name, columns, (), Shape(0, ids), {"format": "jsonl", "encoding": encoding}, records)


def _refuse_report(columns: list[str], name: str, *, report: bool) -> None:
    if report and columns == ["input"]:
        raise InputError(
            f"{name} is a JSON lines report, which is not read back: give failed.csv, or what"
            " `report --format csv` writes."
        )


def _refuse_oriented(sample: list[str], ids: tuple[str, str], name: str) -> None:
    """Refuse a table that was written column by column, as pandas does unless it is told otherwise."""
    first = next(parsed for parsed in map(parse, sample) if parsed is not None)
    if all(bytes(first.get(each, b"")).lstrip()[:1] in {b"{", b"["} for each in ids):
        raise InputError(
            f"{name} is written column by column: the ids of its first object are lists or objects. Write it row by"
            ' row; in pandas that is to_json(..., orient="records", lines=True).'
        )


def _refuse_nested(stored: StoredFile, text: str, options: InputOptions) -> None:
    """Refuse ids that stand deeper in each value than a row has them, with the command that takes them out."""
    where = filter_of(text, lambda keys: count_hits(keys, options) == 2)  # noqa: PLR2004 - the two ids
    on_top = ".[]" if _ARRAY.match(text) else "."
    if where is None or where == on_top:
        return
    file = stored.name if stored.compression == "none" else "unpacked.json"
    unpack = "" if stored.compression == "none" else f"unpack it to {file}, "
    raise InputError(
        f"{stored.name} holds the ids nested, at {where}: {unpack}write the rows as JSON lines with"
        f" `jq -c {shlex.quote(where)} {shlex.quote(file)} > rows.jsonl`, and give rows.jsonl."
    )
