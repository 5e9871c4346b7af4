"""The start of an input: its encoding, its first lines, its header."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

from worker.errors import InputError
from worker.intake.binary import refuse_binary
from worker.intake.columns import count_hits
from worker.intake.delimited import DETECTED, Sample, sample_header, sample_rows
from worker.intake.options import InputOptions
from worker.intake.stored import NothingHeldError, StoredFile
from worker.intake.text import Block, blocks, detect_encoding, is_damaged, pieces

_LOOKED_AT_CHARS: Final = 1 << 14
_IDS: Final = 2


class Text:
    """Blocks of an input's lines, of which the first with anything in it can be looked at beforehand.

    Attributes:
        head: The first block that is not blank.
        skipped: Lines before it.
    """

    def __init__(self, source: Iterator[Block], name: str) -> None:
        self.skipped = 0
        for block in source:
            self.head = block
            if any(not line.isspace() for line in block.lines):
                break
            self.skipped += len(block.lines)
        else:
            raise NothingHeldError(
                f"{name} holds nothing but empty lines: give a file with a header and rows."
            )
        self.rest = source


class Pieces(NamedTuple):
    """The text of an input, as it comes.

    Attributes:
        start: The first characters, to be looked at: all of a small input.
        text: All of it, `start` included.
        encoding: The codec's name.
    """

    start: str
    text: Iterator[str]
    encoding: str


def open_pieces(stored: StoredFile, told: str | None) -> Pieces:
    """Return the text of `stored`.

    Raises:
        InputError: It is no text.
        NothingHeldError: It is empty.
    """
    chunks = stored.chunks()
    head = next((chunk for chunk in chunks if chunk), b"")
    if not head:
        raise NothingHeldError(f"{stored.name} unpacks to nothing: give a file with a header and rows.")
    encoding, mark_bytes = detect_encoding(head, told, stored.name)
    refuse_binary(head, encoding, stored.name)
    text = pieces(itertools.chain([head], chunks), encoding, mark_bytes, stored.name)
    start = ""
    for piece in text:
        start += piece
        if len(start) >= _LOOKED_AT_CHARS:
            break
    return Pieces(start, itertools.chain([start], text), encoding)


def open_text(stored: StoredFile, told: str | None) -> tuple[Text, str]:
    """Return the lines of `stored` and its encoding; raises as `open_pieces`."""
    opened = open_pieces(stored, told)
    return Text(blocks(opened.text), stored.name), opened.encoding


def read_header(head: Block, options: InputOptions, name: str) -> tuple[Sample, int]:
    """Return the header of the first block, and how many of the block's lines come before the rows.

    Raises:
        InputError: There is no sound header.
    """
    if head.cut:
        raise InputError(f"{name}: the first line is far too long for a header: give CSV or JSON lines.")
    start = next(index for index, line in enumerate(head.lines) if not line.isspace())
    told = _spreadsheet_separator(head.lines[start])
    if told and start + 1 < len(head.lines):
        start += 1
    lines = head.lines[start:]
    separator = options.separator or told
    delimiters = (separator,) if separator else DETECTED
    if not options.header:
        return sample_rows(lines, delimiters), start
    sample = sample_header(lines, delimiters, lambda cells: count_hits(cells, options))
    if not separator and (sample is None or count_hits(sample.cells, options) < _IDS):
        piped = sample_header(lines, ("|",), lambda cells: count_hits(cells, options))
        sample = piped if piped and count_hits(piped.cells, options) == _IDS else sample
    if sample is None:
        raise InputError(f"{name}: line {start + 1}, the header, has a broken quote: mend it.")
    if head.suspect and any(is_damaged(cell) or "\0" in cell for cell in sample.cells):
        raise InputError(
            f"{name}: the header holds bytes that do not decode: say --encoding, for example latin-1."
        )
    return sample, start + sample.lines


def _spreadsheet_separator(line: str) -> str:
    """Return the delimiter of a line such as `sep=;`, with which Excel is told it, or nothing."""
    text = line.rstrip("\r\n").strip('"')
    return text[4] if len(text) == 5 and text.lower().startswith("sep=") and text[4] != '"' else ""  # noqa: PLR2004 - `sep=` and one more
