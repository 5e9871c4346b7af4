"""The rule that keeps a spreadsheet from running a cell, and its exact inverse (promise 10)."""

from __future__ import annotations

import re
from typing import Final

SUSPECT: Final = frozenset("=+@'\t\r-")
"""What a cell must start with to be looked at closely: `cell[:1] not in SUSPECT` is the cheap way past."""

_RISKY: Final = re.compile(r"[=+@'\t\r]|-.*[^A-Za-z0-9_.\-]", re.DOTALL)
_MARK: Final = "'"


def escape(cell: str) -> str:
    """Return `cell` so that a spreadsheet takes it as text.

    A cell that starts with `=`, `+`, `@`, `'`, tab or carriage return, or with `-` and holds anything but
    ASCII letters, digits, `_`, `-` and `.`, gets one `'` before it. Ids such as `-aB3_x` stay as they are.
    """
    return _MARK + cell if cell[:1] in SUSPECT and _RISKY.match(cell) else cell


def unescape(cell: str) -> str:
    """Return what `escape` was given: takes one leading `'` off."""
    return cell.removeprefix(_MARK)
