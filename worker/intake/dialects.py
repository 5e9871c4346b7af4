r"""How a delimited file marks its cells: RFC 4180's quotes, none at all, or a backslash as an escape.

Who writes what, as `findings/` and `tests/bench/EXPORTERS.md` saw it: quotes that a backslash escapes are Spark's,
MariaDB's with `ENCLOSED BY`, PostgreSQL's with `ESCAPE '\'`; a backslash without quotes is ClickHouse's TSV,
PostgreSQL's text format, MariaDB's `--batch` and `INTO OUTFILE`, jq's `@tsv`; neither is psql -A's, sqlite3 -tabs'.
"""

from __future__ import annotations

import csv
import enum
import functools
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

NULL: Final = "\\N"
"""What the backslash dialects write where there is no value."""

_QUOTED_ESCAPE: Final = re.compile(r'\\(["\\]|\r?\n)')
_BARE_ESCAPE: Final = re.compile(r"\\(\r\n|.)", re.DOTALL)
_LETTERS: Final = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_INSIDE: Final = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)


class Quoting(enum.StrEnum):
    """The closed set of ways; `--quoting backslash` means either of the last two."""

    RFC4180 = "rfc4180"
    NONE = "none"
    BACKSLASH = "backslash"
    """Quoted cells, in which a backslash stands before a quote or a backslash."""
    BACKSLASH_BARE = "backslash, no quotes"
    """A backslash before each character that would end a cell or a line, or is none that can be seen."""

    @property
    def word(self) -> str:
        """What `--quoting` calls it."""
        return self.value.split(",")[0]


class Reader(Protocol):
    """What `csv.reader` returns, as far as it is used."""

    @property
    def line_num(self) -> int:
        """Lines that were taken so far."""
        ...

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


class Dialect(NamedTuple):
    """A delimiter with the way in which cells are marked."""

    delimiter: str
    quoting: Quoting = Quoting.RFC4180

    def reader(self, lines: Iterable[str]) -> Reader:
        """Return what reads records off `lines`; it raises `csv.Error` as a strict `csv.reader` does."""
        if self.quoting is Quoting.RFC4180:
            return csv.reader(lines, delimiter=self.delimiter, strict=True)
        if self.quoting is Quoting.NONE:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return _EscapedReader(lines, self.delimiter, quotes=self.quoting is Quoting.BACKSLASH)

    def is_flat(self, lines: list[str]) -> bool:
        """Tell cheaply that no record of `lines` takes more than one of them."""
        if self.quoting is Quoting.RFC4180:
            return '"' not in "".join(lines)
        return self.quoting is Quoting.NONE

    @property
    def record(self) -> re.Pattern[str]:
        """The grammar of one record, possessive so that it takes linear time."""
        return _record(self)

    @property
    def open_record(self) -> re.Pattern[str]:
        """The grammar of a record that breaks off in a quoted cell, or at an escaped line end."""
        return _open_record(self)


@functools.lru_cache
def _record(dialect: Dialect) -> re.Pattern[str]:
    cell, mark = _cell(dialect), re.escape(dialect.delimiter)
    return re.compile(rf"{cell}(?:{mark}{cell})*+(?:\r\n|\n|\r|\Z)", re.DOTALL)


@functools.lru_cache
def _open_record(dialect: Dialect) -> re.Pattern[str]:
    before = rf"(?:{_cell(dialect)}{re.escape(dialect.delimiter)})*+"
    rest = {
        Quoting.RFC4180: r'"(?:[^"]++|"")*+',
        Quoting.NONE: r"(?!)",
        Quoting.BACKSLASH: r'"(?:[^"\\]++|\\.)*+\\?',
        Quoting.BACKSLASH_BARE: rf"(?:[^\\\r\n{re.escape(dialect.delimiter)}]++|\\(?:\r\n|.))*+(?<=\n)",
    }[dialect.quoting]
    return re.compile(before + rest, re.DOTALL)


def _cell(dialect: Dialect) -> str:
    mark = re.escape(dialect.delimiter)
    return {
        Quoting.RFC4180: rf'(?:"(?:[^"]++|"")*+"|[^"\r\n{mark}]*+)',
        Quoting.NONE: rf"[^\r\n{mark}]*+",
        Quoting.BACKSLASH: rf'(?:"(?:[^"\\]++|\\.)*+"|(?:[^"\\\r\n{mark}]++|\\"?)*+)',
        Quoting.BACKSLASH_BARE: rf"(?:[^\\\r\n{mark}]++|\\(?:\r\n|.))*+",
    }[dialect.quoting]


class _EscapedReader:
    r"""Reads records in which a backslash escapes; like a strict `csv.reader` otherwise.

    Args:
        lines: Physical lines with their ends.
        delimiter: One character.
        quotes: Whether cells may be quoted; in those that are not, only `\"` is an escape then, as writers leave
            their other backslashes alone.
    """

    def __init__(self, lines: Iterable[str], delimiter: str, *, quotes: bool) -> None:
        self._lines = iter(lines)
        self._delimiter = delimiter
        self._quotes = quotes
        mark = re.escape(delimiter)
        bare = rf"[^\r\n{mark}]*+" if quotes else rf"(?:[^\\\r\n{mark}]|\\(?:\r\n|.))*+"
        self._bare = re.compile(bare, re.DOTALL)
        self.line_num = 0

    def __iter__(self) -> _EscapedReader:
        return self

    def __next__(self) -> list[str]:
        line = self._take()
        if "\\" not in line and not (self._quotes and '"' in line):
            text = line.rstrip("\r\n")
            return text.split(self._delimiter) if text else []
        cells: list[str] = []
        position = 0
        while True:
            cell, line, position = self._cell(line, position)
            cells.append(cell)
            if line[position : position + 1] == self._delimiter:
                position += 1
            elif line[position:].strip("\r\n"):
                raise csv.Error("text after a closing quote")
            else:
                return cells

    def _cell(self, line: str, position: int) -> tuple[str, str, int]:
        """Return the cell that starts at `position`, and the line and position where it ends."""
        if self._quotes and line[position : position + 1] == '"':
            return self._quoted_cell(line, position + 1)
        parts = []
        while True:
            found = self._bare.match(line, position)
            end = found.end() if found else position
            parts.append(line[position:end])
            if end < len(line) or not parts[-1].endswith("\n"):
                break
            line, position = self._more(), 0
        text = "".join(parts)
        return self._unescaped(text), line, end

    def _quoted_cell(self, line: str, position: int) -> tuple[str, str, int]:
        parts = []
        while True:
            found = _INSIDE.match(line, position)
            end = found.end() if found else position
            parts.append(line[position:end])
            if end < len(line) and line[end] == '"':
                return _QUOTED_ESCAPE.sub(r"\1", "".join(parts)), line, end + 1
            if end < len(line):  # a backslash at the very end of the input
                raise csv.Error("unexpected end of data")
            line, position = self._more(), 0

    def _unescaped(self, text: str) -> str:
        if "\\" not in text or text == NULL:
            return text
        if self._quotes:
            return text.replace('\\"', '"')
        return _BARE_ESCAPE.sub(_bare_character, text)

    def _take(self) -> str:
        line = next(self._lines)
        self.line_num += 1
        return line

    def _more(self) -> str:
        try:
            return self._take()
        except StopIteration:
            raise csv.Error("unexpected end of data") from None


def _bare_character(found: re.Match[str]) -> str:
    """Return what an escape stands for; a letter that stands for nothing keeps its backslash."""
    character = found[1]
    if character in _LETTERS:
        return _LETTERS[character]
    return found[0] if character.isalnum() or character == "." else character
