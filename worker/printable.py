"""Text of others, such as an input's name or a reason, on its way to a terminal or into a page."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_PLAIN: Final = re.compile(r"[ -~]*").fullmatch
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, what turns the direction of writing, halves of characters, and line ends of Unicode."""


def shown(text: str) -> str:
    r"""Return `text` with what steers a terminal, or cannot be seen, written out: an escape becomes `\x1b`."""
    if _PLAIN(text):
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _HIDDEN else char for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
