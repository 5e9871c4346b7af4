"""Who is on the protected list: asked of a row before it is called, wherever it comes from (promise 11)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from worker.model import Row

EDGES: Final = (
    " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff\u200b\u2060"
)
"""White space, byte order marks, and spaces without a width: at the edges of an id, nobody sees them."""


def is_protected(row: Row, protected: AbstractSet[str]) -> bool:
    """Tell whether `protected` holds an id of `row`.

    An id is compared as it is written and without what cannot be seen at its edges: a server may overlook that, too.
    """
    if not protected:
        return False
    user, identifier = row.user_id, row.identifier_id
    return not protected.isdisjoint((user, identifier, user.strip(EDGES), identifier.strip(EDGES)))
