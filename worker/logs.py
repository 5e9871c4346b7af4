"""The run's log: structlog to JSON lines, identifiers masked, the key taken out wherever it hides."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

import structlog

_REDACTED: Final = "[redacted]"
_IDENTIFIERS: Final = frozenset({"user_id", "identifier_id"})
_SECRET_NAME: Final = re.compile(r"api.?key|authorization|password|secret|token|cookie", re.IGNORECASE)
_URL_LOGIN: Final = re.compile(r"(?<=://)[^/@\s]+@")
_SHOWN: Final = 4
_DEEPEST: Final = 12

Event = MutableMapping[str, Any]


class Redactor:
    """Takes a key out of log events: its plain form and what URLs, JSON, base64 and bytes make of it.

    Args:
        key: The secret; empty for none.
    """

    def __init__(self, key: str) -> None:
        forms = {
            key,
            quote(key, safe=""),
            quote_plus(key),
            repr(key)[1:-1],
            base64.b64encode(key.encode()).decode().rstrip("="),
            base64.urlsafe_b64encode(key.encode()).decode().rstrip("="),
            key.encode().hex(),
        }
        longest_first = sorted(filter(None, forms), key=len, reverse=True)
        self._forms = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if key else None

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        """Return the event without the key; a processor of structlog."""
        return {
            self.text(str(name)): self._value(str(name), value, _DEEPEST) for name, value in event.items()
        }

    def text(self, text: str) -> str:
        """Return `text` without the key and without logins in URLs."""
        clean = _URL_LOGIN.sub(f"{_REDACTED}@", text)
        return clean if self._forms is None else self._forms.sub(_REDACTED, clean)

    def _value(self, name: str, value: object, depth: int) -> object:
        if _SECRET_NAME.search(name):
            return _REDACTED
        if depth > 0 and isinstance(value, Mapping):
            return {self.text(str(k)): self._value(str(k), each, depth - 1) for k, each in value.items()}
        if depth > 0 and isinstance(value, list | tuple | set | frozenset):
            return [self._value("", each, depth - 1) for each in value]
        text = _as_text(value)
        clean = self.text(text)
        return value if clean == text and isinstance(value, bool | int | float | None) else clean


def _as_text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value))
    return str(value)


def mask(_logger: object, _method: str, event: Event) -> Event:
    """Show of an identifier only its beginning and a short digest; a processor of structlog.

    The digest lets one find a row's lines without the log holding anybody's id.
    """
    for name in _IDENTIFIERS & event.keys():
        id_ = str(event[name])
        digest = hashlib.sha256(id_.encode("utf-8", "backslashreplace")).hexdigest()[:8]
        event[name] = f"{id_[:_SHOWN]}…({digest})"
    return event


@contextlib.contextmanager
def configure(log_file: Path, *, key: str) -> Iterator[structlog.typing.FilteringBoundLogger]:
    """Yield the logger of a run, which appends JSON lines to `log_file` (mode 0600) until the block ends."""
    descriptor = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace", buffering=1) as file:
        yield structlog.wrap_logger(
            structlog.PrintLogger(file),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                mask,
                structlog.processors.format_exc_info,
                Redactor(key),
                structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            ],
            wrapper_class=structlog.make_filtering_bound_logger("info"),
            cache_logger_on_first_use=True,
        )
