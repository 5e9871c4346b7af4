"""Signs that a sound id is none, or not the one that was meant. Pure: such rows are planned and warned of."""

from __future__ import annotations

import re
from typing import Final

PLACEHOLDERS: Final = frozenset(
    {
        *(
            "null",
            "(null)",
            "<null>",
            "[null]",
            "ᴺᵁᴸᴸ",
            "nil",
            "none",
            "nan",
            "na",
            "n/a",
            "<na>",
            "nat",
            "undefined",
        ),
        *(
            "unknown",
            "(unknown)",
            "not set",
            "(not set)",
            "(empty)",
            "(blank)",
            "true",
            "false",
            "-",
            "--",
            "?",
            '"',
            "''",
            "″",
            "〃",
        ),
        *("#n/a", "#value!", "#ref!", "#name?", "#null!", "#num!", "#div/0!", "#error!", "inf", "-inf"),
        "00000000-0000-0000-0000-000000000000",
    }
)
"""What programs, or people by a ditto mark, write where there is no value, in small letters."""

_NUMBER: Final = re.compile(
    r"[+-]?\d+(?:[.,]\d+)?[eE][+-]\d{1,3}"  # 6.001234567890124e+18, 1e+05
    r"|[+-]?\d+[.,]\d+(?:[eE]\d{1,3})?"  # 60012345.0, 1.0E7
    r"|[+-]?(?:\d|\d{15,17})[eE]\d{1,2}"  # 1e5, 6001234567890124e3, but no id of hexadecimal digits
    r"|\d{1,3}(?:([.,' ])\d{3})(?:\1\d{3})*"  # 60,012,345
)
_GUID: Final = re.compile(r"\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.IGNORECASE)
_TEXT_FORMULA: Final = re.compile(r'="([^"]*)"')


def unwrapped(value: str) -> str:
    """Return the text of `="007"`, by which spreadsheets are kept from making a number of it; else `value`."""
    found = _TEXT_FORMULA.fullmatch(value) if value.startswith("=") else None
    return found[1] if found else value


def find_signs(user_id: str, identifier_id: str) -> list[str]:
    """Return the codes of what looks wrong with two sound ids."""
    ids = user_id, identifier_id
    found = []
    if any(id_.strip().casefold() in PLACEHOLDERS for id_ in ids):
        found.append("placeholder")
    if any(id_[0] in "+-0123456789" and _NUMBER.fullmatch(id_) for id_ in ids):
        found.append("rounded_number")
    if len(user_id) >= 32 and _GUID.fullmatch(user_id) and not _GUID.fullmatch(identifier_id):  # noqa: PLR2004 - digits of a GUID
        found.append("swapped_ids")
    return found
