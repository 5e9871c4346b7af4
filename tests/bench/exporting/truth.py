"""The table that every exporter is given: ids and notes that some dialect gets wrong."""

from __future__ import annotations

from typing import Final

COLUMNS: Final = ("user_id", "identifier_id", "note")

Row = tuple[str | None, str | None, str | None]

_ODD_IDS: Final = [
    ("007", "0012"),
    ("12345678901234567890", "e-20-digits"),
    ("12345678901234567891", "e-20-digits-2"),
    ("1e5", "2024-05"),
    ("TRUE", "-abc"),
    ("auth0|5f7c8ec7", "a;b"),
    ("with,comma", "e,c"),
    ('with"quote', 'e"q'),
    ("usr\\c6", "em\\nc6"),
    ("two\\\\back", "e\\\\b"),
    ("zoë", "müller"),
    ("=1+1", "+e"),
]
_NOTES: Final = [
    "plain",
    '5" screen',
    '"',
    '"',
    '"quoted"',
    'say "hi" now',
    '6"',
    ",Hello",
    "\nHello",
    "\tHello",
    "line one\nline two",
    "one\r\ntwo",
    "lone\rreturn",
    "tab\there",
    "a,b;c|d",
    "back\\slash",
    "ends with \\",
    '\\"',
    "\\.",
    "\\N",
    "NULL",
    "",
    None,
    "'apostrophe",
    "see:\nu77,e77,x\nend",
    "see:\nu78\te78\tx\nend",
]
TRUTH: Final[list[Row]] = [
    *((f"u{number:02}", f"e{number:02}", note) for number, note in enumerate(_NOTES, start=1)),
    *((user, identifier, "odd id") for user, identifier in _ODD_IDS),
    (None, "e90", "no user"),
    ("u91", None, "no identifier"),
    ("", "e92", "empty user"),
    ("u93", "e93", "the last"),
]
"""Rows of user_id, identifier_id and note; None where there is no value."""
