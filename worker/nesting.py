"""How deep JSON from outside may be nested: the same on every Python, as each stops a parser at another depth."""

from __future__ import annotations

import re
from typing import Final

DEEPEST: Final = 500
"""Arrays and objects within each other. The least that a parser reaches, on 3.11, is 1,000 less its callers."""
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")


def is_too_deep(body: bytes) -> bool:
    """Return whether JSON is nested deeper than `DEEPEST`; what is broken is for the parser to find."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", body)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False
