"""What is planned, but looks wrong: counted by code while an input is read, with the first lines of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

SENTENCES: Final[Mapping[str, str]] = {
    "not_a_guid": "the identifier is no GUID, as those of other rows are, and is sent as it stands",
    "case_of_protected": (
        "an id differs from one on the protected list in capital and small letters alone, and is called:"
        " if it is the same, correct the list"
    ),
    "edge_white_space": "an id begins or ends with white space or an invisible character, and is sent as it is",
    "unknown_run": "it is of a report whose run is not in --runs, so nobody can tell whether its ids were changed",
    "escaped_id": "an id begins with ' as in a report, but its run is not known and this is no CSV: sent as it is",
    "empty_part": "it holds nothing",
    "placeholder": "an id is a word that programs write where there is no value (NULL, NA, nan, #N/A)",
    "rounded_number": "an id looks like a number that a program rounded or reformatted (1.2E+19, 60012345.0)",
    "swapped_ids": "the two ids look as if each stood in the other's column",
    "crowded_identifier": "very many users have the same identifier",
    "torn_row": "a line with too few cells follows: a cell may hold a line end, and this line be the inside of it",
    "cut_off_id": "the last line has no line end and a shorter id than others: the file may have been cut",
}
"""The closed set of codes, each with what is said of its rows after their number."""

_OF_PARTS: Final = frozenset({"empty_part"})
"""Codes of whole parts of an input, which `lines` names."""

MOST_LINES: Final = 5
"""So many lines are kept of each code."""


@dataclasses.dataclass(frozen=True, slots=True)
class Warned:
    """How many rows were warned of with one code.

    Attributes:
        code: A key of `SENTENCES`.
        count: Rows.
        lines: The first lines where they start, from 1; where the input has several parts, `part:line`.
    """

    code: str
    count: int
    lines: tuple[int | str, ...]

    def sentence(self) -> str:
        """Return what a person reads; a code of a newer version stands for itself."""
        unit, place = ("part", "") if self.code in _OF_PARTS else ("row", "line")
        rows = f"{self.count:,} {unit}{'' if self.count == 1 else 's'}"
        said = f"{rows}: {SENTENCES.get(self.code, self.code)}"
        if not self.lines:
            return said
        more = " and more" if self.count > len(self.lines) else ""
        places = f"{place}{'' if self.count == 1 else 's'} " if place else ""
        return f"{said} ({places}{', '.join(map(str, self.lines))}{more})"

    def as_object(self) -> dict[str, object]:
        """Return it as `--json` prints it."""
        return {"code": self.code, "count": self.count, "lines": list(self.lines)}


class Warnings:
    """Collects warnings in bounded memory.

    Attributes:
        part: Name of the part that is read now; empty where the input is one file.
    """

    def __init__(self) -> None:
        self.part = ""
        self._counts: dict[str, int] = {}
        self._lines: dict[str, list[int | str]] = {}

    def add(self, code: str, line: int | str) -> None:
        """Count one row that starts at `line`, or one part by its name."""
        self._counts[code] = self._counts.get(code, 0) + 1
        lines = self._lines.setdefault(code, [])
        if len(lines) < MOST_LINES:
            lines.append(f"{self.part}:{line}" if self.part and isinstance(line, int) else line)

    def put(self, code: str, count: int, lines: Iterable[int | str]) -> None:
        """Set what is known of a code only when all rows were read; a count of 0 takes it out."""
        self.drop(code)
        if count:
            self._counts[code] = count
            self._lines[code] = list(lines)[:MOST_LINES]

    def drop(self, code: str) -> None:
        """Forget a code that turned out to be none for this input."""
        self._counts.pop(code, None)
        self._lines.pop(code, None)

    def all(self) -> tuple[Warned, ...]:
        """Return what was collected, in the order of `SENTENCES`."""
        order = [code for code in SENTENCES if code in self._counts]
        order += [code for code in self._counts if code not in SENTENCES]
        return tuple(Warned(code, self._counts[code], tuple(self._lines[code])) for code in order)
