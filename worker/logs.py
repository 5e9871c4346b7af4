"""The run's log: structlog to JSON lines, identifiers masked, the key taken out wherever it hides."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog

from worker.errors import ConfigurationError
from worker.redaction import Event, Redactor


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
            _Redaction(Redactor(key)),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=True,
    )
    return logger


class _Redaction:
    """Cleans each event; a processor of structlog."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        return self._redactor.event(event)


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
