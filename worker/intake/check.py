"""Whether a row's two ids can be called at all. Pure: cells in, a fault or None out."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Final, NamedTuple

LONGEST_ID_BYTES: Final = 512
_PLAIN_CHARS: Final = 128
_GUID_AMISS: Final = r"(?![0-9A-Fa-f]{8}-[^\n]*\n(?![0-9A-Fa-f]{8}-))"
"""A user's id that is a GUID beside an identifier that is none: they may be swapped."""
_LONG: Final = "(?!00000000-)[0-9A-Za-z][0-9A-Za-z-]{20,127}"
"""Too long for a word or a number."""
_SHORT: Final = r"(?![0-9]+[eE]|U?Int\d|Float\d|Date)(?=[A-Za-z]*[0-9])[0-9A-Za-z]{1,20}"
"""With a digit, no `60e5`, no type."""
_JOINED: Final = "[A-Za-z](?=[^0-9\n]*[0-9])[0-9A-Za-z|_@:~.-]{11,127}"
_USUAL_USER: Final = f"(?:{_JOINED}|{_LONG}|{_SHORT})"
_USUAL_IDENTIFIER: Final = f"(?:{_LONG}|{_SHORT}|{_JOINED})"
"""The same in another order: what most are is tried first, which saves a third of the time."""
_NEVER_IDS: Final = {
    ".": ("dot_segment", "which proxies fold into the path"),
    "..": ("dot_segment", "which proxies fold into the path"),
    "\\N": ("missing_{}", "which programs write where there is no value"),
}
_BYTE_ORDER_MARK: Final = "\ufeff"
_NOT_IN_AN_ID: Final = frozenset({"Cc", "Cs"})
"""Unicode's general categories of control characters and surrogates."""
_UNSEEN: Final = frozenset({"Cf", "Zs", "Zl", "Zp"})
"""Those of invisible characters (marks of direction, soft hyphens, joiners) and of all kinds of space."""
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks of other categories that show nothing either (Unicode's fillers, the empty Braille cell)."""


class Fault(NamedTuple):
    """Why a row is invalid: a short word, and a sentence that names the field."""

    code: str
    message: str


def find_fault(user_id: str, identifier_id: str) -> Fault | None:
    """Return why the pair cannot be called, the user's fault first, or None if it can."""
    return _find_id_fault(user_id, "user_id") or _find_id_fault(identifier_id, "identifier_id")


@functools.lru_cache
def usual_pair(ahead: str = "") -> Callable[[str], object]:
    """Return what tells cheaply of two ids, with a line end between them, that nothing is to be said of them.

    Args:
        ahead: Pattern of what has to hold for the user's id besides.
    """
    return re.compile(f"{ahead}{_GUID_AMISS}{_USUAL_USER}\n{_USUAL_IDENTIFIER}").fullmatch


def is_plain(value: str) -> bool:
    """Tell cheaply that `value` is sound; what is not plain may be sound all the same."""
    return 2 < len(value) <= _PLAIN_CHARS and value.isascii() and value.isprintable() and " " not in value  # noqa: PLR2004 - longer than `..`


def has_unseen_edge(value: str) -> bool:
    """Tell whether an id begins or ends with a character that nobody sees: any space, any mark without ink."""
    return bool(value) and (_is_unseen(value[0]) or _is_unseen(value[-1]))


def _is_unseen(character: str) -> bool:
    return character in _BLANK or unicodedata.category(character) in _UNSEEN


def _find_id_fault(value: str, field: str) -> Fault | None:
    if is_plain(value):
        return None
    if not value or value.isspace():
        return Fault(f"empty_{field}", f"{field} is {'only white space' if value else 'empty'}")
    if value in _NEVER_IDS:
        code, why = _NEVER_IDS[value]
        return Fault(code.format(field), f"{field} is {value!r}, {why}")
    if fault := _find_character_fault(value, field):
        return fault
    if (size_bytes := len(value.encode())) > LONGEST_ID_BYTES:
        return Fault("too_long", f"{field} has {size_bytes} bytes, more than {LONGEST_ID_BYTES}")
    return None


def _find_character_fault(value: str, field: str) -> Fault | None:
    if value.startswith(_BYTE_ORDER_MARK):
        return Fault(
            "byte_order_mark",
            f"{field} starts with a byte order mark, as where files were joined: take it out",
        )
    for position, character in enumerate(value, start=1):
        if unicodedata.category(character) in _NOT_IN_AN_ID:
            return Fault(
                "control_character",
                f"{field} holds the control character U+{ord(character):04X} at position {position}",
            )
    return None
