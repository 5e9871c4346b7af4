"""The operation that a person names."""

from __future__ import annotations

from jobs.catalog import OPERATIONS
from worker.errors import UsageError
from worker.ports import Operation


def find_operation(name: str) -> Operation:
    """Return the operation that has `name`.

    Raises:
        UsageError: There is none.
    """
    if name not in OPERATIONS:
        raise UsageError(f"There is no operation {name!r}; there are {', '.join(OPERATIONS)}.")
    return OPERATIONS[name]
