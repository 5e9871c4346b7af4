"""Who of a ledger's rows is on the protected list; `worker.protection` says when two ids are one."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from worker.identifiers import SHORTEST_GUID, are_canonical, key_of
from worker.protection import ProtectedList, keys_of
from worker.warned import MOST_LINES, Warned

COUNTS: Final = "protected_counts"
"""Under this name `meta` holds what was counted of each protected list, as a JSON array."""
CASE: Final = "case_of_protected"
"""Code of the warning of rows with an id that differs from a protected one in case alone."""
_AT_ONCE: Final = 4096
_NEXT: Final = (
    "SELECT row, line, user_id, identifier_id, planned IS NULL FROM rows WHERE row > ? ORDER BY row LIMIT ?"
)
_PENDING: Final = (
    "SELECT rows.row, line, user_id, identifier_id, 1 FROM rows LEFT JOIN outcomes ON outcomes.row = rows.row"
    " WHERE planned IS NULL AND outcomes.row IS NULL"
)
_Seen = tuple[int, int, str, str, int]
"""A row's number, line, both ids, and whether it is to be called."""
_EXCLUDE: Final = (
    "UPDATE rows SET planned = 'excluded', error_code = 'protected', error_message = 'on the protected list'"
    " WHERE row = ?"
)


@dataclasses.dataclass(frozen=True, slots=True)
class ListCount:
    """What was counted of a protected list.

    Attributes:
        path: Where it stands.
        sha256: Hex digest of its bytes as they were counted.
        ids: Ids that it names.
        in_file: How many of them rows of the input hold.
    """

    path: str
    sha256: str
    ids: int
    in_file: int


@dataclasses.dataclass(frozen=True, slots=True)
class Survey:
    """What was seen of protected lists among a ledger's rows.

    Attributes:
        counts: Of each list.
        alike: The warning of ids that differ from a protected one in case alone; its count may be 0.
    """

    counts: tuple[ListCount, ...]
    alike: Warned


class _Lookout:
    """Looks at rows, one after the other."""

    def __init__(self, lists: Sequence[ProtectedList]) -> None:
        self._lists = lists
        self._keys = keys_of(lists)
        self.folded = {key.casefold() for key in self._keys}
        self._found: set[str] = set()
        self._alike = 0
        self._lines: list[int] = []

    def is_protected(self, user_id: str, identifier_id: str) -> bool:
        """Tell whether a row is protected, and remember which ids of the lists it holds."""
        found = self._keys & {key_of(user_id), key_of(identifier_id)}
        self._found |= found
        return bool(found)

    def compare_case(self, line: int, user_id: str, identifier_id: str) -> None:
        """Note a row that is called if an id of it is protected but for its case."""
        if not self.folded.isdisjoint((key_of(user_id).casefold(), key_of(identifier_id).casefold())):
            self._alike += 1
            self._lines += [line] if len(self._lines) < MOST_LINES else []

    def seen(self) -> Survey:
        """Return what was seen so far."""
        counts = (
            ListCount(str(each.path), each.sha256, len(each.named), len(each.named & self._found))
            for each in self._lists
        )
        return Survey(tuple(counts), Warned(CASE, self._alike, tuple(self._lines)))


def exclude(connection: sqlite3.Connection, lists: Sequence[ProtectedList]) -> Survey:
    """Mark the rows of a plan in the making that hold an id of the lists, keep the ids, and return what was seen."""
    connection.executemany("INSERT INTO protected (id) VALUES (?)", ((key,) for key in keys_of(lists)))
    return _look(connection, lists, mark=True)


def survey(connection: sqlite3.Connection, lists: Sequence[ProtectedList]) -> Survey:
    """Return what is seen of the lists among a run's rows."""
    return _look(connection, lists, mark=False)


def _suspects(rows: Sequence[_Seen], folded: AbstractSet[str]) -> Iterable[_Seen]:
    """Return the rows that have to be looked at: most of a batch can be told from the protected ones at once."""
    users, identifiers = [row[2] for row in rows], [row[3] for row in rows]
    joined = "\n".join(users)
    plain = joined.isascii() and joined.split() == users and max(map(len, users)) < SHORTEST_GUID
    if not (plain and are_canonical(identifiers)):
        return rows
    users = joined.lower().split("\n")
    both = zip(rows, users, identifiers, strict=True)
    return [row for row, user, identifier in both if user in folded or identifier in folded]


def _look(connection: sqlite3.Connection, lists: Sequence[ProtectedList], *, mark: bool) -> Survey:
    lookout, last = _Lookout(lists), 0
    while lists and (rows := connection.execute(_NEXT, (last, _AT_ONCE)).fetchall()):
        last = rows[-1][0]
        protected: list[tuple[int]] = []
        for row, line, user_id, identifier_id, is_called in _suspects(rows, lookout.folded):
            if lookout.is_protected(user_id, identifier_id):
                if is_called:
                    protected.append((row,))
            elif is_called:
                lookout.compare_case(line, user_id, identifier_id)
        if mark:
            connection.executemany(_EXCLUDE, protected)
    return lookout.seen()


def keys_in(connection: sqlite3.Connection) -> frozenset[str]:
    """Return the keys of a run's protected ids; older versions kept ids as they were written."""
    return frozenset(key_of(id_) for (id_,) in connection.execute("SELECT id FROM protected"))


def count_barred(connection: sqlite3.Connection) -> int:
    """Return how many pending rows are on the protected list by now."""
    keys = keys_in(connection)
    folded = {key.casefold() for key in keys}
    pending, barred = connection.execute(_PENDING) if keys else iter(()), 0
    while rows := list(itertools.islice(pending, _AT_ONCE)):
        barred += sum(
            not keys.isdisjoint((key_of(row[2]), key_of(row[3]))) for row in _suspects(rows, folded)
        )
    return barred


def as_counts(counts: Sequence[ListCount]) -> str:
    """Return counts as the ledger keeps them."""
    return json.dumps([dataclasses.astuple(each) for each in counts])


def counts_of(meta: Mapping[str, str]) -> tuple[ListCount, ...]:
    """Return what was counted of a run's protected lists, from its facts; nothing where an older version planned it.

    Raises:
        ValueError: It is no such thing.
    """
    return tuple(
        ListCount(str(path), str(sha256), int(ids), int(in_file))
        for path, sha256, ids, in_file in json.loads(meta.get(COUNTS, "[]"))
    )
