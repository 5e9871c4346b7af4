"""CSV text to records at the speed of `csv.reader`; what a broken quote may have swallowed is never a row."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, NamedTuple

from worker.intake.check import Fault
from worker.intake.dialects import Dialect, Quoting
from worker.intake.quoting import is_open, is_runaway, lines_in_doubt, sound_length, whole_cells
from worker.intake.text import LONE_RETURN, LONGEST_LINE_CHARS, Block, is_damaged, show_damage

DETECTED: Final = (",", ";", "\t")
"""`|` only where it alone finds both columns in the header: ids contain it."""

csv.field_size_limit(LONGEST_LINE_CHARS)
"""As long as a cell of JSON lines may be: a report of those is read back as CSV. The default is 131,072."""

_SAMPLE_LINES: Final = 200
_SHOWN_CHARS: Final = 4096
_BROKEN: Final = "a quote is not closed, or text follows a closing quote; the line is kept as its first cell"
_NEVER_QUOTED: Final = ("\t", "|")
"""Delimiters that are often used without any quotes."""

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
        parser = RecordParser(Dialect(delimiter), width=0)
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

    The dialect's reader reads whole blocks. A record whose quotes are sound is one record, however many lines it
    takes and whether or not it has the right number of cells: nothing inside of it is ever read as a record. Where
    `is_row` finds rows among its lines, it may be several rows or one: then each of its lines is in doubt.

    Where the reader fails, the line where that record starts is a broken record of its own. Whether the lines
    after it are records or the rest of its quoted cell is judged by themselves (`lines_in_doubt`): each one in
    doubt is a broken record of its own too, and reading goes on after the last of them.

    Args:
        dialect: How cells are marked.
        width: Cells of a sound record; 0 if unknown.
        line: Lines of the input before the first block.
        is_row: Tells whether a line that stands inside of a record reads as a row by itself; None trusts all
            sound quotes. It is given the line and the cells of its record.
    """

    def __init__(
        self,
        dialect: Dialect,
        width: int,
        line: int = 0,
        is_row: Callable[[str, list[str]], bool] | None = None,
    ) -> None:
        self._dialect = dialect
        self._width = width
        self._line = line
        self._is_row = is_row
        self._opened_at = 0  # the line of the quote that puts the next lines in doubt
        self.unended = False
        """Whether the input's last line was reached, and lacks its end."""

    def records(self, blocks: Iterator[Block]) -> Iterator[Record]:
        """Yield the records of `blocks` in order; empty lines are none, but are counted as lines."""
        rest: list[str] = []
        suspect = False
        for block in blocks:
            self.unended = block.unended
            if block.cut:
                yield from map(inspect, self._cut(rest, block.lines[0]))
                rest, suspect = [], False
                continue
            suspect = block.suspect or (suspect and bool(rest))
            read = self._inspected if suspect else self._split
            rest = yield from read(rest + block.lines, final=False)
        yield from (self._inspected if suspect else self._split)(rest, final=True)

    def _cut(self, rest: list[str], line: str) -> Iterator[Record]:
        """Yield what could not be told before a line that was cut, and that line: it may close or open a quote."""
        if rest and not self._opened_at:
            yield self._broken(rest.pop(0))
        yield from self._doubtful(rest)
        self._line += 1
        self._opened_at = self._opened_at or self._line
        fault = Fault("too_long", f"the line has more than {LONGEST_LINE_CHARS} characters")
        yield self._line, [line[:_SHOWN_CHARS]], fault

    def _inspected(self, lines: list[str], *, final: bool) -> Generator[Record, None, list[str]]:
        """Do as `_split`, for lines that may hold damage."""
        records = self._split(lines, final=final)
        while True:
            try:
                record = next(records)
            except StopIteration as end:
                return list(end.value)
            yield inspect(record)

    def _split(self, lines: list[str], *, final: bool) -> Generator[Record, None, list[str]]:
        """Yield records, and return the last lines where they can only be told together with the next block's."""
        while lines:
            if self._opened_at:
                done, told = yield from self._settle(lines, final=final)
            else:
                done, told = yield from self._sound(lines, final=final)
            lines = lines[done:]
            if not told:
                break
        return lines

    def _settle(self, lines: list[str], *, final: bool) -> Generator[Record, None, tuple[int, bool]]:
        """Yield the lines that a quote before them leaves in doubt; return how many, and whether that is all."""
        done = 0
        while done < len(lines):
            doubt = lines_in_doubt(lines, done, self._dialect, self._width, final=final)
            if doubt is None:
                return done, False
            if doubt == 0:
                self._opened_at = 0
                break
            yield from self._doubtful(lines[done : done + doubt])
            done += doubt
        return done, True

    def _sound(self, lines: list[str], *, final: bool) -> Generator[Record, None, tuple[int, bool]]:
        """Yield records up to the first that is none; return how many lines they take, and whether to go on."""
        reader = self._dialect.reader(lines)
        before, start = self._line, 0
        try:
            if self._dialect.is_flat(lines):
                for start, cells in enumerate(reader, start=1):
                    if cells:
                        yield before + start, cells, None
            for cells in reader:
                end = reader.line_num
                if end - start > 1 and self._holds_rows(lines, start, end, cells):
                    self._line += start
                    yield from self._in_doubt(lines[start:end])
                    return end, True
                if cells:
                    yield before + start + 1, cells, None
                start = end
        except csv.Error:
            self._line += start
            at_end = reader.line_num == len(lines)
            length, told = yield from self._unsound(lines[start:], at_end=at_end, final=final)
            return start + length, told
        self._line += start
        return start, True

    def _unsound(
        self, lines: list[str], *, at_end: bool, final: bool
    ) -> Generator[Record, None, tuple[int, bool]]:
        """Yield the record that the reader did not take, and that `lines` begin with; return as `_sound` does."""
        if (at_end or is_open(lines, self._dialect)) and not final and not is_runaway(lines):
            return 0, False
        length = sound_length(lines, self._dialect)
        yield self._oversized(lines, length) if length else self._broken(lines[0])
        return length or 1, True

    def _oversized(self, lines: list[str], length: int) -> Record:
        first = self._line + 1
        self._line += length
        fault = Fault("too_long", f"a cell has more than {LONGEST_LINE_CHARS} characters")
        return first, [_line_text(lines[0])], fault

    def _holds_rows(self, lines: list[str], start: int, end: int, cells: list[str]) -> bool:
        """Tell whether lines after the first of a sound record read as rows by themselves."""
        is_row = self._is_row
        return is_row is not None and any(is_row(lines[index], cells) for index in range(start + 1, end))

    def _in_doubt(self, lines: list[str]) -> Iterator[Record]:
        """Yield each line of a sound record that may be several rows or one; those after it are judged anew."""
        first, last = self._line + 1, self._line + len(lines)
        message = (
            f"lines {first} to {last} are one row by their quotes, but read as several by themselves;"
            f" {_way_out(self._dialect, ''.join(lines), sound=True)}"
        )
        self._opened_at = first
        for line in lines:
            self._line += 1
            if not line.isspace() or self._dialect.delimiter in line:
                yield self._line, [_line_text(line)], Fault("broken_quoting", message)

    def _broken(self, line: str) -> Record:
        self._line += 1
        self._opened_at = self._line
        way_out = _way_out(self._dialect, line)
        return self._line, [_line_text(line)], Fault("broken_quoting", f"{_BROKEN}; {way_out}")

    def _doubtful(self, lines: list[str]) -> Iterator[Record]:
        """Yield a broken record for each line with anything in it; one that reads as a row keeps its cells."""
        for line in lines:
            self._line += 1
            if not line.isspace() or self._dialect.delimiter in line:
                cells = whole_cells(line, self._dialect, self._width) or [_line_text(line)]
                message = f"a quote that opened on line {self._opened_at} may reach to here; mend the quote"
                yield self._line, cells, Fault("broken_quoting", message)


def _way_out(dialect: Dialect, text: str, *, sound: bool = False) -> str:
    """Return what to do about quotes that cannot be trusted, by what they look like."""
    if dialect.quoting is not Quoting.RFC4180:
        return f"mend the quote, or leave --quoting {dialect.quoting.word} out if it is not the file's"
    if '\\"' in text:
        return "quotes are escaped with a backslash (Spark, MariaDB): --quoting backslash"
    unquoted = dialect.delimiter in _NEVER_QUOTED
    none = "--quoting none if this file never quotes (ClickHouse, psql -A, sqlite3 -tabs, R with quote=FALSE)"
    if sound:
        declared = "--quoting rfc4180 if each quote is as it should be"
        return f"say {declared}, or {none}" if unquoted else f"say {declared}, or mend the quotes"
    return f"mend the quote, or say {none}" if unquoted else "mend the quote"


def inspect(record: Record) -> Record:
    """Return `record` with bytes that did not decode shown, and a fault if there are such or a NUL."""
    line, cells, fault = record
    cells = [cell.replace(LONE_RETURN, "\r") for cell in cells]
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


def _line_text(line: str) -> str:
    return line.rstrip("\r\n")[:_SHOWN_CHARS]
