"""JSON lines to records: one table of text, however the objects' keys vary or nest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from worker.intake.check import Fault
from worker.intake.columns import own_column_refusal
from worker.intake.delimited import Record, find_damage
from worker.intake.escaped import own_name
from worker.intake.text import LONGEST_LINE_CHARS, Block, is_damaged, show_damage
from worker.model import REPORT_COLUMNS
from worker.nesting import is_too_deep

MOST_COLUMNS: Final = 1000
"""Keys that are data (an id as a key) would make a table without end."""

_SHOWN_CHARS: Final = 4096
_SHOWN_DIGITS: Final = 40
_NULL: Final = b"null"
_QUOTE: Final = b'"'
_NUMBER_STARTS: Final = frozenset(b"-0123456789")

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_strings = msgspec.json.Decoder(str)
_pairs = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str)
"""Slower, but keeps keys that stand in an object more than once."""


def sample_columns(texts: Iterable[str]) -> list[str] | None:
    """Return the keys of those of `texts` that are objects in order of appearance, or None if there is no object."""
    columns: dict[str, None] = {}
    seen = False
    for text in texts:
        if (parsed := parse(text)) is not None:
            seen = True
            columns.update(dict.fromkeys(parsed))
    return list(columns)[:MOST_COLUMNS] if seen else None


class ObjectReader:
    """Turns lines into records of one growing list of columns.

    Args:
        columns: Names by position; keys that appear later are appended, up to `MOST_COLUMNS`.
        user: Name of the column with the user's id.
        identifier: The same for the identifier's.
        name: What messages call the input.
        report: Whether the input is a report of ours, whose own columns are dropped.

    Attributes:
        report: As given.
        own: What those columns held in the last record.
    """

    def __init__(self, columns: list[str], user: str, identifier: str, name: str, *, report: bool) -> None:
        self._name = name
        self._line = 0
        self._columns = columns
        self._positions = {column: index for index, column in enumerate(columns)}
        self._ids = {"user_id": user, "identifier_id": identifier}
        self.report = report
        self.own: dict[str, str] = {}

    def records(self, blocks: Iterator[Block], number: int = 0) -> Iterator[Record]:
        """Yield one record for each line that is not blank; what is no object has the line as its only cell.

        Args:
            blocks: The lines.
            number: Lines of the input before them.

        Raises:
            InputError: A column of ours appears after first lines that are no report.
        """
        self._line = number
        for block in blocks:
            for line in block.lines:
                self._line += 1
                if block.cut:
                    fault = Fault("too_long", f"the line has more than {LONGEST_LINE_CHARS} characters")
                    yield self._line, [show_damage(line[:_SHOWN_CHARS])], fault
                elif not line.isspace():
                    yield self._line, *self._read(line)

    def values(self, values: Iterable[tuple[int, str]]) -> Iterator[Record]:
        """Yield one record for each value of a document, given with the line where it starts; each is sound JSON."""
        for self._line, text in values:
            yield self._line, *self._read(text)

    def _read(self, line: str) -> tuple[list[str], Fault | None]:
        parsed = None if is_damaged(line) else parse(line)
        if parsed is None:
            fault = find_damage([line]) or Fault("not_an_object", "this is not one JSON object")
            return [show_damage(line.rstrip("\r\n"))[:_SHOWN_CHARS]], fault
        try:
            texts = {key: _text(bytes(raw)) for key, raw in parsed.items()}
            if self.report:
                self.own = {name: texts.pop(key) for key in parsed if (name := own_name(key))}
            repeated = self._repeated_id(line)
        except msgspec.DecodeError:
            return [line.rstrip("\r\n")[:_SHOWN_CHARS]], Fault("not_an_object", "a string is not sound JSON")
        if repeated:
            fault = Fault("repeated_key", f"{repeated!r} stands in the object more than once: leave one")
            return [line.rstrip("\r\n")[:_SHOWN_CHARS]], fault
        cells = [""] * len(self._columns)
        overflow = None
        for key, text in texts.items():
            if not self._place(cells, key, text):
                overflow = Fault(
                    "wrong_column_count", f"the file has more than {MOST_COLUMNS} different keys"
                )
        return cells, self._find_fault(parsed) or overflow or find_damage(cells)

    def _repeated_id(self, line: str) -> str | None:
        """Return the key of an id that the object holds more than once, or None; parsers keep one of them."""
        escaped = "\\" in line  # so may be a key
        suspects = [key for key in self._ids.values() if escaped or line.count(f'"{key}"') > 1]
        if not suspects:
            return None
        pairs = _pairs.decode(line)
        return next((key for key in suspects if sum(each == key for each, _ in pairs) > 1), None)

    def _place(self, cells: list[str], key: str, text: str) -> bool:
        """Put `text` into its column, a new one if need be; False when there are too many already."""
        position = self._positions.get(key)
        if position is None:
            if len(self._columns) >= MOST_COLUMNS:
                return False
            if key in REPORT_COLUMNS:
                raise own_column_refusal(f"{self._name}: line {self._line}", key)
            position = self._positions[key] = len(self._columns)
            self._columns.append(key)
            cells.append("")
        cells[position] = text
        return True

    def _find_fault(self, parsed: dict[str, msgspec.Raw]) -> Fault | None:
        """Return why an id is missing or no text."""
        for field, key in self._ids.items():
            raw = bytes(parsed.get(key, _NULL))
            if raw == _NULL:
                return Fault(f"missing_{field}", f"{field} is missing")
            if raw[:1] == _QUOTE or raw.isdigit():
                continue
            if raw[0] in _NUMBER_STARTS:
                return Fault(
                    "not_text",
                    f"{field} is the number {raw[:_SHOWN_DIGITS].decode()}, not whole digits: give it as text",
                )
            return Fault("not_text", f"{field} is neither text nor a number")
        return None


def _text(raw: bytes) -> str:
    """Return a value as a cell: strings as they are, null as nothing, all else as its JSON text."""
    if raw[:1] == _QUOTE:
        return _strings.decode(raw)
    return "" if raw == _NULL else raw.decode()


def parse(line: str) -> dict[str, msgspec.Raw] | None:
    """Return an object's values as they stand, or None if `line` is not one JSON object."""
    try:
        return None if is_too_deep(line.encode()) else _objects.decode(line)
    except (msgspec.DecodeError, UnicodeError):
        return None
