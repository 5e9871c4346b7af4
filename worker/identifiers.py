"""When two ids are one: GUIDs in any spelling, and what nobody can see of an id (promise 11)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

SHORTEST_GUID: Final = 32
"""Characters that any spelling of a GUID has at least."""
is_canonical: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # written out: it is a third faster
).fullmatch
"""Tells (a match or None) whether an identifier is a GUID as it is sent: in small letters with dashes."""
_TO_ZEROS: Final = str.maketrans("123456789abcdef", "0" * 15)
_ZEROS: Final = "00000000-0000-0000-0000-000000000000"
_HEX: Final = r"(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}"
_SPELT: Final = re.compile(rf"(?:urn:)?(?:uuid:)?(?:{_HEX}|\{{{_HEX}\}}|\({_HEX}\))").fullmatch
_PARTS: Final = re.compile(
    r"\{(0x[0-9a-f]{1,8}),(0x[0-9a-f]{1,4}),(0x[0-9a-f]{1,4}),\{(0x[0-9a-f]{1,2}(?:,0x[0-9a-f]{1,2}){7})\}\}"
)
_ANYWHERE: Final = re.compile(rf"{_HEX}|{_PARTS.pattern}")
_PART_DIGITS: Final = (8, 4, 4, *(2,) * 8)
_NOT_A_DIGIT: Final = re.compile(r"[^0-9a-f]")

_INKLESS: Final = re.compile(
    "[\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's category Cf, what it calls default ignorable, and the empty Braille cell: marks without ink."""
_TYPED: Final = {
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe58\ufe63\uff0d"), "-"),
    ord("\u00b4"): "'",
}
"""What a word processor makes of a hyphen, and an accent that stands for a quotation mark."""
_EDGES: Final = (
    "".join(map(chr, (*range(0x21), *range(0x7F, 0xA1))))
    + "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Control characters and white space."""


def visible(id_: str) -> str:
    """Return what a person sees of an id: no white space at its edges, no mark without ink, one form of a letter."""
    if not id_.isascii():
        id_ = unicodedata.normalize("NFKC", _INKLESS.sub("", id_.translate(_TYPED)))
    return id_.strip(_EDGES)


def are_canonical(ids: Sequence[str]) -> bool:
    """Tell of many ids at once, at a tenth of the cost, whether each is a GUID as it is sent."""
    return "\n".join(ids).translate(_TO_ZEROS) == "\n".join([_ZEROS] * len(ids))


def canonical(identifier_id: str) -> str:
    """Return an identifier as it is sent: a GUID in small letters with dashes, anything else as it stands."""
    return identifier_id if is_canonical(identifier_id) else find_guid(identifier_id) or identifier_id


def find_guid(id_: str) -> str | None:
    """Return the GUID that an id spells, in small letters with dashes, or None if it is none.

    Case, braces, parentheses, dashes (none, or after any fourth digit), `urn:uuid:` and what nobody sees make no
    difference. Sources: `Guid.Parse` of .NET (its forms N, D, B, P and X), PostgreSQL's manual (8.12) and RFC 9562.
    """
    if len(id_) < SHORTEST_GUID:
        return None
    text = id_.lower()
    if is_canonical(text):
        return text
    text = visible(text).lower()
    if _SPELT(text):
        digits = _NOT_A_DIGIT.sub("", text.rpartition(":")[2])
    elif found := _PARTS.fullmatch("".join(text.split())):
        parts = ",".join(found.groups()).split(",")
        digits = "".join(part[2:].zfill(width) for part, width in zip(parts, _PART_DIGITS, strict=True))
    else:
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def guids_in(text: str) -> list[str]:
    """Return the GUIDs that are spelt anywhere in a text."""
    spelt = (found[0] for found in _ANYWHERE.finditer("".join(visible(text).lower().split())))
    return [guid for each in spelt if (guid := find_guid(each)) is not None]


def key_of(id_: str) -> str:
    """Return that by which the protected list knows an id: whatever may be the same id has the same one.

    An id that nobody can see is compared as it is written.
    """
    return id_ if is_canonical(id_) else find_guid(id_) or visible(id_) or id_
