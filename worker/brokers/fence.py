"""What remembers which rows have an outcome, for a queue whose broker does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol


class Fence(Protocol):
    """Where it is remembered which rows have an outcome. Everything raises `BrokerError` while it cannot be used."""

    async def check(self) -> None:
        """Find out whether it can be used."""

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which of `rows` (indexes by batch) have an outcome."""

    async def remember(self, rows: Mapping[str, Iterable[int]]) -> None:
        """Keep that `rows` have an outcome."""

    async def aclose(self) -> None:
        """Close the connections."""


class NoFence:
    """Remembers nothing: whoever collects results knows rows by their names, and takes the first one."""

    async def check(self) -> None:
        """Do nothing: it can always be used."""

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return that nothing is known."""
        return dict.fromkeys(rows, frozenset())

    async def remember(self, rows: Mapping[str, Iterable[int]]) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""
