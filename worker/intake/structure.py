"""Lines of a table that are no rows: a header again, types, rules, totals, comments, footers. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from worker.intake.check import Fault, usual_pair
from worker.intake.columns import is_identifier_name, is_user_name, normal

FOOTER: Final = re.compile(
    r"\(?\s*\d[\d,.' ]*\s*(?:rows?|records?|lines?|results?)\b.{0,60}|rows? affected.{0,40}", re.IGNORECASE
)
"""`(1 row)`, `20 rows in set (0.01 sec)`, `(3 rows affected)`."""

_TYPE: Final = re.compile(
    r"(?:Nullable|LowCardinality|FixedString|Array|Map|Tuple|Enum(?:8|16)|Decimal\d*|DateTime\d*|(?:var)?char|numeric"
    r"|SimpleAggregateFunction)\s*\(.*\)"
    r"|U?Int(?:8|16|32|64|128|256)|Float(?:32|64)|U?UID|uniqueidentifier|String|Utf8|Bool(?:ean)?|Date(?:Time)?(?:32|64)?"
    r"|IPv[46]|text|n?varchar2?|bigint|integer|int|object|str|timestamp(?:tz)?",
    re.IGNORECASE,
)
_LIKE_AN_ID: Final = re.compile(r"(?=\D*\d)[A-Za-z0-9][^\s()]*").fullmatch
_RULE: Final = re.compile(r"[-=+*_]{2,}")
_TOTALS: Final = frozenset(
    {"total", "totals", "grandtotal", "subtotal", "sumtotal", "summe", "gesamt", "insgesamt"}
)
_OTHER_DELIMITERS: Final = (",", ";", "\t", "|")
_JOINED: Final = "the header again, as where files were joined"
_MESSAGES: Final = {
    "types_line": "the columns' types (an export WithNamesAndTypes), no row: take the line out",
    "rule_line": "a line that only separates, no row: take it out",
    "footer": "a footer that counts the rows, no row: take it out",
    "totals_line": "a line of totals, no row: take it out",
    "comment_line": "a comment, no row: take it out",
}


class Found(NamedTuple):
    """A line that is no row.

    Attributes:
        fault: What it is.
        columns_change: For a header: whether its columns differ from the first one's, so that what follows is in
            doubt; None for everything else.
    """

    fault: Fault
    columns_change: bool | None = None


class Structure:
    """What is known of a table's form.

    Args:
        header: Its columns' names as they stand in its records.
        ids: Indexes of the user's and the identifier's column in these.
        named: Whether the names are the file's own.
    """

    def __init__(self, header: Sequence[str], ids: tuple[int, int], *, named: bool) -> None:
        self._names = [normal(name) for name in header]
        self._ids = ids
        self._named = named
        self._header = frozenset(header)
        usual = [name for name in header if usual_pair()(f"{name}\n{name}")]
        self.looks_usual = len(usual) > 1 or any(header[index] in usual for index in ids)
        """Whether this header, with its columns in another order, could pass for a row by its ids."""
        self._kinds: dict[str, Callable[[Sequence[str], Sequence[str]], bool]] = {
            "types_line": lambda _, said: len(said) > 1 and all(map(_TYPE.fullmatch, said)),
            "rule_line": lambda _, said: all(map(_RULE.fullmatch, said)),
            "footer": lambda cells, _: FOOTER.fullmatch(",".join(cells).strip()) is not None,
            "totals_line": lambda cells, _: self._is_total(cells),
            "comment_line": lambda cells, said: said[0].startswith("# ") and cells[0].strip() == said[0],
        }

    def find(self, cells: Sequence[str]) -> Found | None:
        """Return what a record is if it is no row, or None. It may have any number of cells."""
        if len(cells) == len(self._names) and all(map(self._is_like_an_id, self._ids_of(cells))):
            return None
        if (change := self._header_again(cells)) is not None:
            what = "with other columns: plan each file by itself" if change else "take it out"
            return Found(Fault("header_again", f"{_JOINED}: {what}"), change)
        said = [cell.strip() for cell in cells if cell.strip()]
        code = next((code for code, is_one in self._kinds.items() if said and is_one(cells, said)), None)
        return Found(Fault(code, _MESSAGES[code])) if code else None

    def _ids_of(self, cells: Sequence[str]) -> tuple[str, str]:
        return cells[self._ids[0]], cells[self._ids[1]]

    def _is_like_an_id(self, cell: str) -> bool:
        """Tell cheaply that a cell is in no line of those that are no rows: a number in it, and no name or type."""
        return _LIKE_AN_ID(cell) is not None and not _TYPE.fullmatch(cell) and cell not in self._header

    def _header_again(self, cells: Sequence[str]) -> bool | None:
        """Return whether a header's columns changed, or None if `cells` are none."""
        if len(cells) == 1:
            return self._other_delimiter(cells[0])
        names = [normal(cell) for cell in cells]
        if not self._names_both(names):
            return None
        if self._named:
            return names != self._names
        user, identifier = self._ids
        same = (
            len(names) == len(self._names)
            and is_user_name(names[user])
            and is_identifier_name(names[identifier])
        )
        return not same

    def _other_delimiter(self, line: str) -> bool | None:
        """Return True for the header of a file with another delimiter."""
        splits = (line.split(delimiter) for delimiter in _OTHER_DELIMITERS if delimiter in line)
        return (
            True
            if any(self._names_both([normal(cell.strip('"')) for cell in cells]) for cells in splits)
            else None
        )

    def _names_both(self, names: Sequence[str]) -> bool:
        user, identifier = (self._names[index] for index in self._ids)
        users = [index for index, name in enumerate(names) if name == user or is_user_name(name)]
        identifiers = [
            index for index, name in enumerate(names) if name == identifier or is_identifier_name(name)
        ]
        return bool(users and identifiers) and set(users) | set(identifiers) != {users[0]}

    def _is_total(self, cells: Sequence[str]) -> bool:
        where = (
            {0, *self._ids}
            if any(not cells[index : index + 1][0:1] for index in self._ids)
            else set(self._ids)
        )
        return any(normal(cells[index]).rstrip(":") in _TOTALS for index in where if index < len(cells))
