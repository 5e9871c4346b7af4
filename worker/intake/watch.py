"""What is asked of a record beyond its two ids: is it a row, can its escapes be trusted, does it look wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from worker.intake.check import Fault, find_fault, has_unseen_edge, is_plain, usual_pair
from worker.intake.dialects import Dialect, Quoting
from worker.intake.signs import find_signs
from worker.intake.structure import Structure
from worker.intake.usual import Usual
from worker.warned import Warnings

_CHANGED: Final = Fault(
    "columns_changed", "the header before it has other columns than the first one: plan the files one by one"
)
_DOUBLE: Final = re.compile(r"\\\\|\\\Z")
_LETTER: Final = re.compile(r"\\[\\tnrbfv0N\"'\t]|\\\Z")
_LETTER_OR_QUOTE: Final = re.compile(r"\\[\\tnrbfv0N\"'\t]|\\\Z|\A\"")
_ANY: Final = re.compile(r"[\"'\\]")


class Watch:
    """Judges the records of one file that do not look like most; what is none of its kinds is as before.

    Args:
        structure: The table's form, or None for objects.
        usual: The looks of its first ids.
        unclear: What in an id may be an escape of a dialect that nobody told, or None if that is known.
        pads: Whether a record with too few cells may be one whose last cells are empty.
        tears: Whether a line end inside of a cell tears a record in two, as where nothing is quoted.
        unended: Tells whether the record that was read last is the input's last line, and lacks its end.
    """

    def __init__(
        self,
        structure: Structure | None = None,
        usual: Usual | None = None,
        unclear: Unclear | None = None,
        *,
        pads: bool = False,
        tears: bool = False,
        unended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._structure = structure
        self._usual = usual or Usual((0, 1))
        self._unclear = unclear
        self._pads, self._tears = pads, tears
        self._unended = unended
        self.doubt: Fault | None = None
        """Why no record is a row until the first header comes again."""
        self.is_usual: Callable[[str], object] = usual_pair(self._usual.ahead())
        """Tells cheaply that a record with these ids, with a line end between them, needs no close look."""
        if self._usual.tells or (structure is not None and structure.looks_usual):
            self.is_usual = _never

    def find_fault(self, raw_cells: Sequence[str], user_id: str, identifier_id: str) -> Fault | None:
        """Return why a record with the right number of cells is no row to call, or None."""
        return (
            self.find_structure(raw_cells)
            or self.doubt
            or find_fault(user_id, identifier_id)
            or (self._unclear and self._unclear.find(user_id, "user_id"))
            or (self._unclear and self._unclear.find(identifier_id, "identifier_id"))
        )

    def find_structure(self, raw_cells: Sequence[str]) -> Fault | None:
        """Return what a record of any number of cells is if it is no row, or None; a header begins or ends doubt."""
        found = self._structure.find(raw_cells) if self._structure else None
        if found is None:
            return None
        if found.columns_change is not None:
            self.doubt = _CHANGED if found.columns_change else None
        return found.fault

    def may_be_cut(self, cells: list[str]) -> bool:
        """Tell whether the last id of the record that was read last may lack its end."""
        return self._unended() and self._usual.may_be_cut(cells)

    def may_lack_cells(self, raw_cells: Sequence[str]) -> bool:
        """Tell whether what a record with too few cells lacks are empty extra ones at its end.

        Its ids have to look like the others, as the rest of a broken cell may have cells as well; and a last line
        without an end may be cut.
        """
        return self._pads and self._usual.is_row(raw_cells) and not self._unended()

    def is_torn(self, cells: int, width: int) -> bool:
        """Tell whether a record with so few cells may be the end of one that holds a line end."""
        return self._tears and cells < width

    def warn(self, user_id: str, identifier_id: str, line: int, warnings: Warnings) -> None:
        """Count what looks wrong with two sound ids."""
        codes = find_signs(user_id, identifier_id)
        if any(not is_plain(id_) and has_unseen_edge(id_) for id_ in (user_id, identifier_id)):
            codes.append("edge_white_space")
        if "swapped_ids" not in codes and self._usual.is_swapped(user_id, identifier_id):
            codes.append("swapped_ids")
        if self._usual.is_crowded(identifier_id):
            codes.append("crowded_identifier")
        for code in codes:
            warnings.add(code, line)


def _never(_: str) -> None:
    """Let each record be looked at closely."""


class Unclear(NamedTuple):
    """What in an id may be an escape, and what to do about it."""

    pattern: re.Pattern[str]
    way_out: str

    def find(self, value: str, field: str) -> Fault | None:
        """Return why the id `value` is in doubt, or None."""
        if self.pattern.search(value) is None:
            return None
        return Fault(
            "unclear_escape", f"{field} holds a backslash or a quote that may be an escape: {self.way_out}"
        )


_SAY_WHICH: Final = (
    "say --quoting backslash if it is one (ClickHouse, PostgreSQL's text format, MariaDB, Spark), --quoting rfc4180"
    " or none if it is not"
)
_WRITE_AGAIN: Final = (
    "cells without quotes do not tell which: export with quotes around all, or say --quoting none if none"
)


def unclear_in(dialect: Dialect, told: str | None) -> Unclear:
    """Return what cannot be told in an id of a dialect that was found, or told and is still in doubt.

    Writers that escape double each backslash; a single one before a letter that no writer escapes is itself.

    Args:
        dialect: The one that was found.
        told: What `--quoting` says, or None.
    """
    way_out = _WRITE_AGAIN if told else _SAY_WHICH
    if dialect.quoting in {
        Quoting.BACKSLASH,
        Quoting.BACKSLASH_BARE,
    }:  # PHP and R leave other backslashes alone
        return Unclear(_ANY, way_out)
    if dialect.quoting is Quoting.NONE:
        return Unclear(_LETTER_OR_QUOTE, way_out)
    return Unclear(_LETTER if dialect.delimiter in "\t|" else _DOUBLE, way_out)
