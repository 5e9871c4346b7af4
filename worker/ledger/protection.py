"""Who is on the protected list: asked in Python of a row, and in SQL of the table of rows; both answer alike.

An id is compared as it is written and without what cannot be seen at its edges: a server may overlook that, too.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from worker.model import EDGES, Row

_BARE: Final = f"'{EDGES}'"
_LISTED: Final = "(SELECT id FROM protected)"
IS_PROTECTED: Final = (
    f"(user_id IN {_LISTED} OR identifier_id IN {_LISTED}"
    f" OR trim(user_id, {_BARE}) IN {_LISTED} OR trim(identifier_id, {_BARE}) IN {_LISTED})"
)
"""Condition on a row of the table `rows`."""


def is_protected(row: Row, protected: AbstractSet[str]) -> bool:
    """Tell whether `protected` holds an id of `row`."""
    if not protected:
        return False
    user, identifier = row.user_id, row.identifier_id
    return not protected.isdisjoint((user, identifier, user.strip(EDGES), identifier.strip(EDGES)))
