"""Who is on the protected list: asked of a row before it is called, wherever it comes from (promise 11)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path

from worker.identifiers import key_of
from worker.model import Row


@dataclasses.dataclass(frozen=True, slots=True)
class ProtectedList:
    """A protected list as it was read.

    Attributes:
        path: Where it stands, absolute.
        sha256: Hex digest of its bytes.
        named: Keys (see `worker.identifiers.key_of`) of the ids that it names.
        keys: Those, and the keys of what may be an id and may be none, such as a comment.
    """

    path: Path
    sha256: str
    named: frozenset[str]
    keys: frozenset[str]
    is_ended: bool = True
    """Whether its last line has an end: one that has none may be written still."""


def keys_of(lists: Iterable[ProtectedList]) -> frozenset[str]:
    """Return the keys of everything on the lists."""
    return frozenset[str]().union(*(each.keys for each in lists))


def is_protected(row: Row, protected: AbstractSet[str]) -> bool:
    """Tell whether `protected`, a set of keys, holds the key of an id of `row`.

    A GUID is one in any spelling, and what cannot be seen of an id counts as nothing: a server may think so, too.
    """
    return bool(protected) and (key_of(row.user_id) in protected or key_of(row.identifier_id) in protected)
