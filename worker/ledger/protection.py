"""Who is on the protected list, asked in SQL of the table of rows; `worker.protection` answers alike of one row."""

from __future__ import annotations

from typing import Final

from worker.protection import EDGES

_BARE: Final = f"'{EDGES}'"
_LISTED: Final = "(SELECT id FROM protected)"
IS_PROTECTED: Final = (
    f"(user_id IN {_LISTED} OR identifier_id IN {_LISTED}"
    f" OR trim(user_id, {_BARE}) IN {_LISTED} OR trim(identifier_id, {_BARE}) IN {_LISTED})"
)
"""Condition on a row of the table `rows`."""
