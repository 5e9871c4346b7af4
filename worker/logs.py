"""The run's log: structlog to JSON lines, identifiers masked, the key taken out wherever it hides."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import math
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import structlog

from worker.errors import ConfigurationError

_REDACTED: Final = "[redacted]"
_IDENTIFIERS: Final = frozenset({"user_id", "user_ids", "identifier_id", "identifier_ids"})
_SECRET_NAME: Final = re.compile(
    r"api.?key|authorization|passw(or)?d|secret|token(?!s)|cookie|credential", re.IGNORECASE
)
_SECRET_HEADER: Final = re.compile(
    r"((?:x-api-key|(?:proxy-)?authorization|(?:set-)?cookie)\\*[\"']?\s*[:=,]).*", re.IGNORECASE
)
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

Event = MutableMapping[str, Any]


class Redactor:
    """Takes a key out of log events, in whatever form: escaped, percent-encoded, base64, hexadecimal.

    Args:
        key: The secret; empty for none.
    """

    def __init__(self, key: str) -> None:
        longest_first = sorted(_forms(key), key=len, reverse=True)
        self._forms = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if key else None
        self._bare = {stage.replace("\\", "").lower() for stage in _unescaped(key)} - {""}
        self._mixed = re.compile(_BACKSLASHES.join(map(_in_any_escape, key)), re.IGNORECASE) if key else None

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        """Return the event without the key and with its identifiers masked; a processor of structlog."""
        return self._mapping(event, _DEEPEST)

    def text(self, text: str) -> str:
        """Return `text` without the key, without logins in URLs and without values of secret headers."""
        clean = _SECRET_HEADER.sub(rf"\1 {_REDACTED}", _URL_LOGIN.sub(f"{_REDACTED}@", text))
        if self._forms is None:
            return clean
        clean = self._forms.sub(_REDACTED, clean)
        # Half escaped, or more than once: there is no telling where in the text it stands.
        return _REDACTED if any(map(self._shows_it, _unescaped(clean))) else clean

    def _shows_it(self, stage: str) -> bool:
        plain = stage.replace("\\", "").lower()
        mixed = self._mixed is not None and self._mixed.search(stage) is not None
        return mixed or any(bare in plain for bare in self._bare)

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


@contextlib.contextmanager
def configure(log_file: Path, *, key: str) -> Iterator[structlog.typing.FilteringBoundLogger]:
    """Yield the logger of a run, which appends JSON lines to `log_file` (mode 0600) until the block ends.

    Raises:
        ConfigurationError: The file cannot be opened.
    """
    try:
        descriptor = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"The log {log_file} cannot be opened: {error.strerror}. Make its folder writable, then run again."
        ) from error
    with os.fdopen(descriptor, "ab", buffering=0) as file:
        os.fchmod(descriptor, 0o600)  # it may be there already, with another mode
        yield _logger(_LineLogger(file), key)


def to_stderr(*, key: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of a standing worker: JSON lines on standard error, for whoever collects them."""
    return _logger(structlog.PrintLogger(sys.stderr), key)


def _logger(target: object, key: str) -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        target,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            Redactor(key),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=True,
    )
    return logger


class _LineLogger:
    """Appends lines to a file, each whole or not at all.

    A line for which there is no room is left out, and the next one that finds some says how many were: the log
    is not the truth, and its full disk must not hide what the ledger says of the same disk.

    Args:
        file: Open for appending, without a buffer; nobody else writes to it.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._left_out = 0

    def msg(self, line: str) -> None:
        """Append `line`."""
        told = (
            json.dumps({"event": "lines_left_out", "lines": self._left_out}) + "\n" if self._left_out else ""
        )
        content = f"{told}{line}\n".encode("utf-8", "backslashreplace")
        try:
            written = self._file.write(content)
        except OSError:
            written = 0
        if written == len(content):
            self._left_out = 0
            return
        self._left_out += 1
        if written:
            self._file.truncate(os.fstat(self._file.fileno()).st_size - written)

    info = warning = error = critical = msg


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
    """Return the pattern of a character as it is, in percent form, or after a backslash."""
    forms = [
        re.escape(character),
        re.escape("".join(f"%{byte:02x}" for byte in character.encode("utf-8", "replace"))),
    ]
    if character.isascii():
        forms += [rf"(?<=\\)x{ord(character):02x}", rf"(?<=\\)u00{ord(character):02x}"]
    return f"(?:{'|'.join(forms)})"


def _unescaped(text: str) -> Iterator[str]:
    """Yield `text`, and then with its percent and backslash escapes resolved once, twice and so on.

    Each stage counts: what stands beside the key may make another escape of its beginning or its end.
    """
    for _ in range(_ESCAPED_TIMES + 1):
        yield text
        plain = _ESCAPE.sub(lambda match: chr(int(match[match.lastindex or 0], 16)), text)
        if plain == text:
            return
        text = plain


def _as_text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value))
    return str(value)
