"""What a file's ids usually look like, learned from its first rows: what is otherwise is in doubt, or warned of."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from worker.intake.dialects import Dialect

CROWD: Final = 10
"""An identifier that so many different users have among the first rows is hardly one user's."""

_LEARNED_ROWS: Final = 5_000
_GROWTH_CHARS: Final = 4
"""Ids further down may be so much longer: numbers are counted upwards."""
_LETTERS_AND_DIGITS: Final = re.compile(r"[A-Za-z0-9]+")
_FIRST_LETTERS: Final = re.compile(r"[A-Za-z]*")


_GUID: Final = "a0----"


class _Column(NamedTuple):
    """One of the two columns.

    Attributes:
        lengths: The shortest and the longest id of each kind.
        kind: The kind of most ids, or nothing.
        prefix: The letters that most ids begin with, or nothing.
        longest: Characters of the longest id.
    """

    lengths: dict[str, tuple[int, int]]
    kind: str
    prefix: str
    longest: int

    @property
    def span(self) -> range:
        """The lengths of the ids of its kind."""
        least, most = self.lengths.get(self.kind, (1, 0))
        return range(least, most + 1)

    @classmethod
    def of(cls, values: list[str]) -> _Column:
        lengths: dict[str, tuple[int, int]] = {}
        kinds = [_kind(value) for value in values]
        for kind, length in zip(kinds, map(len, values), strict=True):
            least, most = lengths.get(kind, (length, length))
            lengths[kind] = min(least, length), max(most, length)
        longest = max(map(len, values), default=0)
        return cls(lengths, _most(kinds), _most([_first_letters(value) for value in values]), longest)

    def fits(self, value: str) -> bool:
        least, most = self.lengths.get(_kind(value), (1, 0))
        return least <= len(value) <= most + _GROWTH_CHARS and bool(most)


class Usual:
    """The looks of the ids in a file's first rows.

    Args:
        ids: Indexes of the user's and the identifier's cell.
        records: Cells of sound rows; the first of them are looked at.
    """

    def __init__(self, ids: tuple[int, int], records: Iterable[list[str]] = ()) -> None:
        self._ids = ids
        pairs = [(cells[ids[0]], cells[ids[1]]) for cells in itertools.islice(records, _LEARNED_ROWS)]
        self._user = _Column.of([user for user, _ in pairs])
        self._identifier = _Column.of([identifier for _, identifier in pairs])
        self._crowded = _crowded(pairs)
        user, identifier = self._user, self._identifier
        self._kinds_differ = user.kind != identifier.kind and bool(user.kind and identifier.kind)
        self._prefixes_differ = user.prefix != identifier.prefix and bool(user.prefix and identifier.prefix)

    def row_finder(self, dialect: Dialect, width: int) -> Callable[[str, list[str]], bool]:
        """Return what tells whether a line inside of a record reads as a row by itself.

        It does if what stands between its delimiters is as many as a row's cells and its ids look as the file's, or
        its own record's, do. Where it holds a quote it may break off in a cell.
        """
        last = max(self._ids)

        def is_row(line: str, record: list[str]) -> bool:
            cells = line.rstrip("\r\n").split(dialect.delimiter)
            if len(cells) <= last or (len(cells) != width and '"' not in line):
                return False
            if dialect.delimiter == "\t" and len(cells) == width and all(cells[index] for index in self._ids):
                return True  # a note has as many tabs by no accident
            own = Usual(self._ids, [record] if len(record) > last else [])
            user, identifier = (cells[index].strip('"') for index in self._ids)
            return any(each.fits(user, identifier) for each in (self, own))

        return is_row

    def is_row(self, cells: Sequence[str]) -> bool:
        """Tell whether `cells`, fewer than they should be, hold two ids that look as the file's other ones do."""
        return len(cells) > max(self._ids) and self.fits(cells[self._ids[0]], cells[self._ids[1]])

    def fits(self, user_id: str, identifier_id: str) -> bool:
        """Tell whether both look as the file's other ids do."""
        return self._user.fits(user_id) and self._identifier.fits(identifier_id)

    def is_swapped(self, user_id: str, identifier_id: str) -> bool:
        """Tell whether each of the two looks as most of the other's column do, which differ from its own."""
        user, identifier = self._user, self._identifier
        if self._kinds_differ and len(user_id) in identifier.span and len(identifier_id) in user.span:
            return (_kind(user_id), _kind(identifier_id)) == (identifier.kind, user.kind)
        if not self._prefixes_differ or not user_id.startswith(identifier.prefix):
            return False
        return (_first_letters(user_id), _first_letters(identifier_id)) == (identifier.prefix, user.prefix)

    def ahead(self) -> str:
        """Return a pattern of what a user's id has, or has not, unless it may stand in the other's column."""
        user, identifier = self._user, self._identifier
        pattern = f"(?!{identifier.prefix})" if self._prefixes_differ else ""
        if not self._kinds_differ:
            return pattern
        own, others = user.kind.lstrip("a0"), identifier.kind.lstrip("a0")
        if own != others:
            sign = re.escape((own or others)[0])
            return f"{pattern}(?{'=' if own else '!'}[^\\n{sign}]*{sign})"
        if "a" not in user.kind:
            return pattern + r"(?=[0-9]+\n)"
        return pattern + (r"(?![0-9]+\n)" if "a" not in identifier.kind else "")

    @property
    def tells(self) -> bool:
        """Whether each row is worth a look: identifiers that many users have, or GUIDs in the users' column alone."""
        return bool(self._crowded) or (self._kinds_differ and self._user.kind == _GUID)

    def is_crowded(self, identifier_id: str) -> bool:
        """Tell whether very many users have this identifier."""
        return identifier_id in self._crowded

    def may_be_cut(self, cells: list[str]) -> bool:
        """Tell whether the id at the end of a file without a last line end is shorter than others are."""
        longest = {self._ids[0]: self._user.longest, self._ids[1]: self._identifier.longest}
        return len(cells[-1]) < longest.get(len(cells) - 1, 0)


def _kind(value: str) -> str:
    """Return what an id is made of: letters, digits, and which other characters in which order."""
    others = _LETTERS_AND_DIGITS.sub("", value)
    letters = "a" if any(map(str.isalpha, value)) else ""
    digits = "0" if any(map(str.isdigit, value)) else ""
    return f"{letters}{digits}{others}"


def _first_letters(value: str) -> str:
    found = _FIRST_LETTERS.match(value)
    return found[0] if found else ""


def _most(words: list[str]) -> str:
    """Return the word that more than half of `words` are, or nothing."""
    word, votes = Counter(words).most_common(1)[0] if words else ("", 0)
    return word if votes * 2 > len(words) else ""


def _crowded(pairs: list[tuple[str, str]]) -> frozenset[str]:
    having: dict[str, set[str]] = defaultdict(set)
    for user_id, identifier_id in pairs:
        having[identifier_id].add(user_id)
    return frozenset(identifier for identifier, users in having.items() if len(users) >= CROWD)
