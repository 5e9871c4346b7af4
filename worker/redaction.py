"""The one redactor, for the log and for answers: takes the key out, in whatever form it stands there."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import quote

_REDACTED: Final = "[redacted]"
_IDENTIFIERS: Final = frozenset({"user_id", "user_ids", "identifier_id", "identifier_ids"})
_SECRET_NAME: Final = re.compile(
    r"api.?key|authorization|passw(or)?d|secret|token(?!s)|cookie|credential", re.IGNORECASE
)
_SECRET_HEADER: Final = re.compile(
    r"((?:x-api-key|(?:proxy-)?authorization|(?:set-)?cookie)\\*[\"']?\s*[:=,]).*", re.IGNORECASE
)
_SECRET_HEADERS: Final = ("api-key", "authorization", "cookie")
_URL_LOGIN: Final = re.compile(r"(?<=://)\S+@")
_ESCAPE: Final = re.compile(r"%([0-9a-f]{2})|\\{1,8}x([0-9a-f]{2})|\\{1,8}u00([0-9a-f]{2})", re.IGNORECASE)
_ESCAPED_TIMES: Final = 4
_BACKSLASHES: Final = r"\\{0,8}"
"""May stand before a character: of a form that was escaped again and again. A bound keeps the search linear."""
_SHORTEST_ENCODED: Final = 8
"""Characters of base64 from which on they are taken for the key and not for a part of some word."""

_SHOWN: Final = 4
_SHOWN_FROM: Final = 12
_DEEPEST: Final = 12
_LONGEST_DOCUMENT: Final = 1 << 16
"""Bytes of an error's JSON that are kept: no problem document is longer, and cleaning takes its time."""
_LOOKED_AT: Final = 2_048
"""Bytes of an error's text that are kept, and a key's length more, however it is escaped."""
_LONGEST_ESCAPE: Final = 10
_ESCAPING: Final = frozenset("%\\&")

Event = MutableMapping[str, Any]


class Redactor:
    """Takes a key out of texts, in whatever form: escaped, percent-encoded, base64, hexadecimal, in another case.

    Args:
        key: The secret; empty for none.
    """

    def __init__(self, key: str) -> None:
        longest_first = sorted(_forms(key), key=len, reverse=True)
        self._forms = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if key else None
        self._lowered = [form.lower() for form in longest_first] if key.isascii() else [""]
        self._longest_text = _LOOKED_AT + _LONGEST_ESCAPE * len(key)
        self._bare = {stage.replace("\\", "").lower() for stage in _unescaped(key)} - {""}
        self._mixed = re.compile(_BACKSLASHES.join(map(_in_any_escape, key)), re.IGNORECASE) if key else None

    def event(self, event: Event) -> Event:
        """Return a log's event without the key and with its identifiers masked."""
        return self._mapping(event, _DEEPEST)

    def body(self, body: bytes) -> bytes:
        """Return the body of an error without the key: itself if it shows none, else one that reads the same.

        A JSON document is cleaned value by value, so that it is still the document that the API gave.
        """
        longest = _LONGEST_DOCUMENT if body.lstrip().startswith(b"{") else self._longest_text
        text = body[:longest].decode("utf-8", "replace")
        clean = self.text(text)
        if clean == text:
            return body if len(body) <= longest else body[:longest]
        if len(body) > longest:
            return _REDACTED.encode()  # the rest of a key may stand where it was cut
        try:
            document = json.dumps(self._value("", json.loads(text), _DEEPEST))
        except (ValueError, RecursionError):
            return clean.encode()
        return (_REDACTED if self._hides_in(document) else document).encode()

    def text(self, text: str) -> str:
        """Return `text` without the key, without logins in URLs and without values of secret headers."""
        clean, lowered = text, text.lower()
        if any(name in lowered for name in _SECRET_HEADERS):
            clean = _SECRET_HEADER.sub(rf"\1 {_REDACTED}", clean)
        if "://" in lowered:
            clean = _URL_LOGIN.sub(f"{_REDACTED}@", clean)
        if self._forms is None:
            return clean
        if any(form in lowered for form in self._lowered):  # many times as fast as the pattern
            clean = self._forms.sub(_REDACTED, clean)
        # Half escaped, or more than once: there is no telling where in the text it stands.
        return _REDACTED if self._hides_in(clean) else clean

    def _hides_in(self, text: str) -> bool:
        return any(map(self._shows_it, _unescaped(text)))

    def _shows_it(self, stage: str) -> bool:
        plain = stage.replace("\\", "").lower()
        if any(bare in plain for bare in self._bare):
            return True
        if self._mixed is None or _ESCAPING.isdisjoint(stage):
            return False
        return self._mixed.search(stage) is not None

    def _mapping(self, values: Mapping[Any, object], depth: int) -> dict[str, object]:
        return {
            self.text(_as_text(name)): self._value(_as_text(name), each, depth)
            for name, each in values.items()
        }

    def _value(self, name: str, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if _SECRET_NAME.search(name):
            return _REDACTED
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._inside(name, value, depth - 1)
        if name in _IDENTIFIERS:
            return self.text(mask(_as_text(value)))
        clean = self.text(_as_text(value))
        is_number = isinstance(value, int | float) and math.isfinite(value)
        return value if is_number and clean == _as_text(value) else clean

    def _inside(self, name: str, values: Any, depth: int) -> object:
        """Return a collection's clean copy; `name` is what the whole is called."""
        if depth == 0:
            return "[too deep]"
        if isinstance(values, Mapping):
            return self._mapping(values, depth)
        return [self._value(name, each, depth) for each in values]


def mask(id_: str) -> str:
    """Return of an id its beginning and a short digest.

    The digest lets one find a row's lines without the log holding anybody's id.
    """
    digest = hashlib.sha256(id_.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    shown = id_[:_SHOWN] if len(id_) >= _SHOWN_FROM else ""
    return f"{shown}…({digest})"


def _forms(key: str) -> set[str]:
    """Return how `key` may be written: plain, escaped, percent-encoded, hexadecimal, base64."""
    raw = key.encode("utf-8", "backslashreplace")
    forms = {key, quote(raw, safe=""), repr(key)[1:-1], json.dumps(key)[1:-1], raw.hex()}
    for shift in range(3):  # base64 looks different for each position that bytes before the key may give it
        encoded = base64.b64encode(bytes(shift) + raw)
        inner = encoded[math.ceil(shift * 8 / 6) : (shift + len(raw)) * 8 // 6].decode()
        if len(inner) >= _SHORTEST_ENCODED:
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms - {""}


def _in_any_escape(character: str) -> str:
    """Return the pattern of a character as it is, in percent form, after a backslash, or as HTML has it."""
    forms = [
        re.escape(character),
        re.escape("".join(f"%{byte:02x}" for byte in character.encode("utf-8", "replace"))),
    ]
    if character.isascii():
        code = ord(character)
        forms += [rf"(?<=\\)x{code:02x}", rf"(?<=\\)u00{code:02x}", rf"&#(?:x0*{code:x}|0*{code});?"]
    return f"(?:{'|'.join(forms)})"


def _unescaped(text: str) -> Iterator[str]:
    """Yield `text`, and then with its percent, backslash and HTML escapes resolved once, twice and so on.

    Each stage counts: what stands beside the key may make another escape of its beginning or its end.
    """
    for _ in range(_ESCAPED_TIMES + 1):
        yield text
        plain = _ESCAPE.sub(lambda match: chr(int(match[match.lastindex or 0], 16)), text)
        if "&" in plain:
            yield plain
            plain = html.unescape(plain)
        if plain == text:
            return
        text = plain


def _as_text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value))
    return str(value)
