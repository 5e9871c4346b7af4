"""CSV text to records at the speed of `csv.reader`; a broken quote damages its own line only."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, NamedTuple

from worker.intake.check import Fault
from worker.intake.text import LONGEST_LINE_CHARS, Block, is_damaged, show_damage

DETECTED: Final = (",", ";", "\t")
"""Never `|`: ids contain it."""

_MOST_LINES: Final = 1000
_MOST_CHARS: Final = 1 << 18
"""A quoted record that goes on beyond these is taken for a quote that somebody forgot to close."""

_SAMPLE_LINES: Final = 200
_SHOWN_CHARS: Final = 4096

Record = tuple[int, list[str], Fault | None]
"""Line where it starts (from 1), its cells, and why it is none; a broken record's line is its only cell."""


class Sample(NamedTuple):
    """What the first lines say about a table.

    Attributes:
        delimiter: The one that fits best.
        cells: The first record.
        lines: How many lines the first record takes.
        width: Its number of cells, or without a header the number that most records have.
    """

    delimiter: str
    cells: list[str]
    lines: int
    width: int


def sample_header(
    lines: list[str], delimiters: Iterable[str], hits: Callable[[list[str]], int]
) -> Sample | None:
    """Read a header with the delimiter that finds the most of what `hits` counts, then the most columns.

    Args:
        lines: The first physical lines.
        delimiters: Those to try, the likeliest first.
        hits: How many of the wanted columns a header holds.

    Returns:
        None if no delimiter makes a sound record of the first lines.
    """
    tried = [_first_record(lines, each) for each in delimiters]
    samples = [sample for sample in tried if sample]
    best = max(samples, key=lambda sample: (hits(sample.cells), sample.width), default=None)
    # A header that is broken for its own delimiter is one sound cell for all others.
    return None if best and best.width == 1 and len(samples) < len(tried) else best


def sample_rows(lines: list[str], delimiters: Iterable[str]) -> Sample:
    """Read rows without a header with the delimiter that splits most of them into equally many cells."""
    scored = []
    for delimiter in delimiters:
        parser = RecordParser(delimiter, width=0)
        block = Block(lines[:_SAMPLE_LINES], suspect=False)
        sound = [cells for _, cells, fault in parser.records(iter([block])) if fault is None]
        widths = Counter(len(cells) for cells in sound)
        width, votes = widths.most_common(1)[0] if widths else (1, 0)
        usual = next((cells for cells in sound if len(cells) == width), [""])
        scored.append((votes if width > 1 else 0, Sample(delimiter, usual, 0, width)))
    return max(scored, key=lambda each: each[0])[1]


def _first_record(lines: list[str], delimiter: str) -> Sample | None:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        cells = next(reader)
    except (csv.Error, StopIteration):
        return None
    return Sample(delimiter, cells, reader.line_num, len(cells))


class RecordParser:
    """Cuts blocks of lines into records.

    `csv.reader` reads whole blocks. Where it fails, or where a record swallows more lines than it should, the
    line where that record starts is a broken record of its own, and reading goes on at the line after it.

    Args:
        delimiter: One character.
        width: Cells of a sound record; 0 if unknown.
        line: Lines of the input before the first block.
    """

    def __init__(self, delimiter: str, width: int, line: int = 0) -> None:
        self._delimiter = delimiter
        self._width = width
        self._line = line

    def records(self, blocks: Iterator[Block]) -> Iterator[Record]:
        """Yield the records of `blocks` in order; empty lines are none, but are counted as lines."""
        rest: list[str] = []
        suspect = False
        for block in blocks:
            if block.cut:
                yield from self._cut(rest, block.lines[0])
                rest, suspect = [], False
                continue
            suspect = block.suspect or (suspect and bool(rest))
            rest = yield from self._inspected(rest + block.lines, suspect, final=False)
        yield from self._inspected(rest, suspect, final=True)

    def _cut(self, rest: list[str], line: str) -> Iterator[Record]:
        yield from self._inspected(rest, suspect=True, final=True)
        self._line += 1
        fault = Fault("too_long", f"the line has more than {LONGEST_LINE_CHARS} characters")
        yield self._line, [show_damage(line[:_SHOWN_CHARS])], fault

    def _inspected(
        self, lines: list[str], suspect: bool, *, final: bool
    ) -> Generator[Record, None, list[str]]:
        if not suspect:
            return (yield from self._split(lines, final=final))
        records = self._split(lines, final=final)
        while True:
            try:
                record = next(records)
            except StopIteration as end:
                return list(end.value)
            yield inspect(record)

    def _split(self, lines: list[str], *, final: bool) -> Generator[Record, None, list[str]]:
        """Yield records, and return the lines of a last one that may go on in the next block."""
        while lines:
            sound, seen = yield from self._sound(lines)
            self._line += sound
            lines = lines[sound:]
            at_end = seen == sound + len(lines)
            if not lines or (at_end and not final and not _is_runaway(lines)):
                break
            self._line += 1
            yield self._line, [_line_text(lines[0])], _broken(lines[0])
            lines = lines[1:]
        return lines

    def _sound(self, lines: list[str]) -> Generator[Record, None, tuple[int, int]]:
        """Yield the records before the first broken one; return how many lines they take, and were read."""
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        start = 0
        first = self._line + 1
        try:
            for cells in reader:
                end = reader.line_num
                if end - start > 1 and (
                    (self._width and len(cells) != self._width) or _is_runaway(lines[start:end])
                ):
                    break
                if cells:
                    yield first + start, cells, None
                start = end
        except csv.Error:
            pass  # The caller finds the line by the count.
        return start, reader.line_num


def inspect(record: Record) -> Record:
    """Return `record` with bytes that did not decode shown, and a fault if there are such or a NUL."""
    line, cells, fault = record
    fault = fault or find_damage(cells)
    return line, [show_damage(cell) for cell in cells], fault


def find_damage(cells: list[str]) -> Fault | None:
    r"""Return why the text of `cells` cannot be trusted: bytes that did not decode, or a NUL."""
    for position, cell in enumerate(cells, start=1):
        if is_damaged(cell):
            return Fault(
                "undecodable",
                f"cell {position} holds bytes that do not decode (shown as \\xNN); if the whole file has"
                " another encoding, say --encoding",
            )
        if "\0" in cell:
            return Fault("control_character", f"cell {position} holds a NUL byte")
    return None


def _is_runaway(lines: list[str]) -> bool:
    return len(lines) > _MOST_LINES or sum(map(len, lines)) > max(_MOST_CHARS, len(lines[0]))


def _line_text(line: str) -> str:
    return line.rstrip("\r\n")[:_SHOWN_CHARS]


def _broken(line: str) -> Fault:
    limit = csv.field_size_limit()
    if len(line) > limit:
        return Fault("too_long", f"a cell of the line has more than {limit} characters")
    return Fault(
        "broken_quoting",
        "a quote is not closed, or text follows a closing quote; the line is kept as its first cell",
    )
