"""Inserts of many rows, in few steps of SQLite."""

from __future__ import annotations

import functools
import itertools
import sqlite3
from collections.abc import Sequence
from typing import Final

_GROUPS: Final = (512, 64, 16, 4, 1)
"""Rows in one statement. Each step of SQLite gives up and takes back the interpreter's lock: for a row on its
own that is a third of the cost, and the dearest part of it beside a busy event loop."""


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert `rows`, which are of equal length, into `into`: a table's name, with its columns or without."""
    done = 0
    for size in _GROUPS:
        while len(rows) - done >= size:
            group = rows[done : done + size]
            connection.execute(_statement(into, len(group[0]), size), [*itertools.chain.from_iterable(group)])
            done += size


@functools.lru_cache
def _statement(into: str, width: int, rows: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"INSERT INTO {into} VALUES {', '.join([row] * rows)}"  # noqa: S608 - the callers' constants
