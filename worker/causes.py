"""Why calls failed, counted: the commonest statuses, codes and messages. Bounded memory, whatever a server says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

MOST_KINDS: Final = 1000
"""Distinct statuses and codes kept apart. A server chooses its codes, so there may be any number of them."""
OTHER_CODES: Final = "(other codes)"
_MOST_MESSAGES: Final = 50
"""Distinct messages counted of each kind; many servers put the row's id into them."""
_SHOWN: Final = 3
_LONGEST_SHOWN: Final = 120


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """One kind of failure.

    Attributes:
        rows: How many rows met it.
        http_status: The status, or None where no answer came.
        error_code: The code.
        error_message: The commonest of its messages, or empty.
        alike: How many of the rows had that message.
    """

    rows: int
    http_status: int | None
    error_code: str
    error_message: str
    alike: int

    def __str__(self) -> str:
        """Return it as people read it: `751 × 403 http_403: Request blocked by policy 7`."""
        status = "" if self.http_status is None else f"{self.http_status} "
        head = f"{self.rows:,} × {status}{self.error_code}".rstrip()
        if not self.error_message:
            return head
        message = _short(self.error_message)
        if self.alike == self.rows:
            return f"{head}: {message}"
        return (
            f"{head}, {self.alike:,} of them: {message}" if self.alike > 1 else f"{head}, such as: {message}"
        )


class Causes:
    """Counts failures by status and code, and the messages of each."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[int | None, str], dict[str, int]] = {}
        self._rows: dict[tuple[int | None, str], int] = {}

    def add(self, http_status: int | None, error_code: str, error_message: str, rows: int = 1) -> None:
        """Count a failure of `rows` rows."""
        kind = (http_status, error_code)
        if kind not in self._rows and len(self._rows) >= MOST_KINDS:
            kind, error_message = (None, OTHER_CODES), ""
        self._rows[kind] = self._rows.get(kind, 0) + rows
        messages = self._kinds.setdefault(kind, {})
        if error_message in messages or len(messages) < _MOST_MESSAGES:
            messages[error_message] = messages.get(error_message, 0) + rows

    def commonest(self, most: int = _SHOWN) -> tuple[Cause, ...]:
        """Return the commonest kinds, those with the most rows first."""
        kinds = sorted(self._rows, key=lambda kind: (-self._rows[kind], kind[1], kind[0] or 0))[:most]
        return tuple(self._cause(kind) for kind in kinds)

    def __len__(self) -> int:
        """Return how many kinds there were."""
        return len(self._rows)

    def __str__(self) -> str:
        """Return the commonest in a line; empty where nothing was counted."""
        return told(self.commonest(), len(self._rows))

    def _cause(self, kind: tuple[int | None, str]) -> Cause:
        messages = self._kinds[kind]
        message = max(messages, key=messages.__getitem__)
        return Cause(self._rows[kind], *kind, message, messages[message])


def told(causes: Iterable[Cause], kinds: int = 0) -> str:
    """Return causes in a line, and how many of `kinds` are not among them."""
    shown = [str(cause) for cause in causes]
    left = kinds - len(shown)
    if left > 0:
        shown.append(f"and {left:,} other kind{'' if left == 1 else 's'}")
    return "; ".join(shown)


def _short(message: str) -> str:
    message = message.rstrip(".")
    return message if len(message) <= _LONGEST_SHOWN else message[: _LONGEST_SHOWN - 1] + "…"
