"""The protected list: ids that are never called. Where a line can be read in two ways, both are protected."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.errors import InputError
from worker.identifiers import find_guid, guids_in, key_of, visible
from worker.intake.columns import find_identifier, find_user
from worker.intake.delimited import DETECTED, sample_header
from worker.intake.escaped import unescape
from worker.intake.head import open_text
from worker.intake.options import InputOptions
from worker.intake.spool import is_stream
from worker.intake.stored import open_stored
from worker.intake.table import open_table
from worker.intake.text import is_damaged
from worker.protection import ProtectedList

_COMMENT: Final = "#"
_QUOTE: Final = '"'
_APART: Final = (",", ";", "\t", _QUOTE)
"""What holds no id of a list, but in quotes; `|` stands in ids of tenants that came from elsewhere."""
_BETWEEN: Final = re.compile(r"[\s,;|]+")
_LABEL: Final = re.compile(
    r"(?:mailto|tel|sms|https?|urn|guid|uuid|user|user[ _-]?id|sub|id|identifier|identifier[ _-]?id|e-?mail|uid)[:=]",
    re.IGNORECASE,
)
_OBJECT: Final = re.compile(r'\s*\{\s*(?:"|\}|$)')
_COMMENT_AFTER: Final = re.compile(rf"\s{_COMMENT}")
_OPENS: Final = frozenset({"Ps", "Pe", "Pi", "Pf", "Sk"})
_CLOSES: Final = _OPENS | {"Po"}
"""Unicode's categories of brackets, quotation marks and accents, and of what ends a sentence."""
_BULLETS: Final = frozenset("'\"*\u2022\u00b7<>|")
_UNCLEAR: Final = frozenset({"not_text", "repeated_key", "undecodable"})
"""Faults of an object that leave open which id it means."""


def load_protected(path: Path) -> ProtectedList:
    """Return the protected ids (users' and identifiers' alike) of a list, a CSV, a report or JSON lines.

    A list has one id a line, in double quotes if it holds white space, a delimiter or a quote, or anything else at
    its edges that a person may have put around it; `#` begins a comment. A CSV's columns of users' and identifiers'
    ids count both, and one of them is enough; a line of it that begins with `#` and white space is a comment. What
    may be an id is protected, too: a comment that may be none, and a cell without what stands around the id.

    Raises:
        InputError: The file is broken anywhere, protects nobody, can be understood in two ways, or can be read only
            once: a protected list is never read by halves, and is read again while a run goes on.
    """
    if is_stream(path):
        raise InputError(
            f"{path} is no file but a pipe or a device, which can be read only once, and a protected list is read"
            " again while a run goes on: write it to a file, and give that."
        )
    lines, sha256 = _sound_lines(path)
    start = next((index for index, line in enumerate(lines) if not _is_comment(line)), len(lines))
    if lines[start:] and _OBJECT.match(lines[start]):
        sure, unsure = _object_ids(path, sha256), list[str]()
    elif (table := _table_ids(lines, start, str(path))) is not None:
        sure, unsure = table
    else:
        sure, unsure = _listed_ids(lines, str(path))
    named = _keys(sure)
    if not named:
        raise InputError(
            f"{path} protects nobody: put one id on each line (in quotes if it starts with {_COMMENT}), or leave"
            " --exclude out."
        )
    is_ended = lines[-1].endswith(("\n", "\r"))
    return ProtectedList(path.absolute(), sha256, named, named | _keys(unsure + _readings(sure)), is_ended)


def _sound_lines(path: Path) -> tuple[list[str], str]:
    """Return the lines of a file and its digest."""
    with open_stored(path) as stored:
        text, _ = open_text(stored, None)
        lines = [""] * text.skipped
        for block in (text.head, *text.rest):
            lines += block.lines
            if block.cut:
                raise InputError(f"{path}: line {len(lines)} is far too long: put one id on each line.")
        sha256 = stored.sha256
    for number, line in enumerate(lines, start=1):
        if is_damaged(line) or "\0" in line:
            raise InputError(f"{path}: line {number} is not UTF-8 text: save the protected list as UTF-8.")
    return lines, sha256


def _is_comment(line: str) -> bool:
    """Tell whether a line says nothing, or may be meant to be a comment."""
    return not line.strip() or line.lstrip().startswith(_COMMENT)


def _keys(ids: list[str]) -> frozenset[str]:
    return frozenset(key_of(id_) for id_ in ids if id_.strip())


def _bare(text: str) -> str:
    """Return an entry without what a person may have put around the id: quotes, a label, a full stop, a comment."""
    before = ""
    while text != before and find_guid(text) is None:
        before = text
        text = _LABEL.sub("", visible(text), count=1) if _LABEL.match(visible(text)) else visible(text)
        text = text[:1] + text[1:].split(_COMMENT, 1)[0]
        if text and (text[0] in _BULLETS or unicodedata.category(text[0]) in _OPENS):
            text = text[1:]
        if text and (text[-1] in _BULLETS or unicodedata.category(text[-1]) in _CLOSES):
            text = text[:-1]
    return text


def _readings(written: list[str]) -> list[str]:
    """Return what else entries may mean: each without what stands around the id, its words so, and GUIDs in it."""
    parts = [part for text in written for part in (text, *_BETWEEN.split(text))]
    return [*map(_bare, parts), *(guid for text in written for guid in guids_in(text))]


def _object_ids(path: Path, sha256: str) -> list[str]:
    ids: list[str] = []
    with open_table(path, InputOptions(format="jsonl")) as table:
        for row in table.rows():
            if row.error_code in _UNCLEAR or not (row.user_id or row.identifier_id):
                raise InputError(f"{path}: line {row.line} protects nobody ({row.error_message}): mend it.")
            ids += row.user_id, row.identifier_id
        if table.sha256 != sha256:
            raise InputError(f"{path} changed while it was read: read it again when it is complete.")
    return ids


def _table_ids(lines: list[str], start: int, name: str) -> tuple[list[str], list[str]] | None:
    """Return a CSV's ids, and what may be ids beside them; None if no column has a usual name."""
    sample = sample_header(lines[start : start + 1000], DETECTED, lambda cells: len(_id_columns(cells, name)))
    if sample is None or not (columns := _id_columns(sample.cells, name)):
        return None
    sure: list[str] = []
    unsure = [line.rstrip("\r\n") for line in lines[:start]] + [sample.cells[index] for index in columns]
    body = start + sample.lines
    for line, cells in _records(lines[body:], sample.delimiter, name, body):
        comment = _is_plain_comment(cells[0])
        if len(cells) == sample.width:
            (unsure if comment else sure).extend(cells[index] for index in columns)
        elif not comment:
            raise InputError(
                f"{name}: line {line} has {len(cells)} columns instead of {sample.width}: mend it"
                f" (a comment has white space after the {_COMMENT})."
            )
    if "_row" in sample.cells:
        unsure += sure
        sure = [unescape(id_) for id_ in sure]
    return sure, unsure


def _is_plain_comment(text: str) -> bool:
    """Tell whether `text` begins with `#` and white space, or is a `#` alone."""
    return text.lstrip().startswith(_COMMENT) and text.split(maxsplit=1)[0] == _COMMENT


def _id_columns(header: list[str], name: str) -> list[int]:
    found = find_user(header, None, name), find_identifier(header, None, name)
    return [index for index in found if index is not None]


def _records(lines: list[str], delimiter: str, name: str, before: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the records that hold anything, each with the line where it starts."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    start = before + 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, cells
            start = before + reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{name}: line {start} is broken ({error}): mend it.") from error


def _listed_ids(lines: list[str], name: str) -> tuple[list[str], list[str]]:
    """Return the ids of a list, and what may be ids beside them."""
    sure: list[str] = []
    unsure: list[str] = []
    for number, line in enumerate(lines, start=1):
        written = line.rstrip("\r\n")
        if _is_comment(line):
            unsure.append(written)
            continue
        value = _quoted(visible(written)) or _plain(written, f"{name}: line {number}")
        sure.append(value)
        unsure.append(written)
    return sure, unsure


def _quoted(text: str) -> str | None:
    """Return the id in quotes that `text` is, with or without a comment after it, or None."""
    for said in (text, text.rsplit(f" {_COMMENT}", 1)[0].rstrip()):
        if len(said) > 2 and said[0] == said[-1] == _QUOTE:  # noqa: PLR2004 - two quotes and something in them
            inner = said[1:-1].replace(_QUOTE * 2, "")
            if _QUOTE not in inner:
                return said[1:-1].replace(_QUOTE * 2, _QUOTE)
    return None


def _plain(written: str, where: str) -> str:
    """Return the id that a line without quotes names.

    Raises:
        InputError: It could be anything else.
    """
    value = _word(_COMMENT_AFTER.split(written, maxsplit=1)[0])
    if value is None:
        raise InputError(
            f"{where} is not one id: put one id on each line, in double quotes if it holds white space or one of"
            " , ; or name the columns of a CSV user_id and identifier_id in its first line."
        )
    seen, bare = visible(value), _bare(value)
    if bare != seen:
        before, _, after = seen.partition(bare) if bare else (seen, "", "")
        marks = " and ".join(mark for mark in (before, after[:1]) if mark)
        raise InputError(
            f"{where} can be read in two ways: {marks} may belong to the id or not. Take away what does not (a"
            f" comment begins with white space and {_COMMENT}), or put all of the id in double quotes."
        )
    return value


def _word(text: str) -> str | None:
    """Return the one word that `text` is, or None if it could be anything else."""
    words = text.split()
    return words[0] if len(words) == 1 and not any(mark in words[0] for mark in _APART) else None
