"""Which rows of a plan are never sent since their pair stands earlier in the input."""

from __future__ import annotations

import sqlite3
from typing import Final

_SEVERAL: Final = (
    "CREATE TABLE several (user_id TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID",
    (
        "INSERT INTO several SELECT user_id, count(*) FROM rows WHERE planned IS NULL"
        " GROUP BY user_id HAVING count(*) > 1"
    ),
)
_USERS: Final = (
    "SELECT (SELECT count(*) FROM rows WHERE planned IS NULL) - coalesce(sum(rows - 1), 0), count(*)"
    " FROM several"
)
_REPEATED: Final = (
    (
        "CREATE TABLE repeated (user_id TEXT, identifier_id TEXT, first INTEGER,"
        " PRIMARY KEY (user_id, identifier_id)) WITHOUT ROWID"
    ),
    (
        "INSERT INTO repeated SELECT user_id, identifier_id, min(row) FROM rows"
        " WHERE planned IS NULL AND user_id IN (SELECT user_id FROM several)"
        " GROUP BY user_id, identifier_id HAVING count(*) > 1"
    ),
)
_DUPLICATE: Final = (
    "UPDATE rows SET planned = 'duplicate', duplicate_of = repeated.first, error_code = 'duplicate',"
    " error_message = 'the same pair as row ' || repeated.first FROM repeated"
    " WHERE rows.user_id = repeated.user_id AND rows.identifier_id = repeated.identifier_id"
    " AND rows.row > repeated.first AND rows.planned IS NULL"
)


def mark_duplicates(connection: sqlite3.Connection) -> int:
    """Mark repeated pairs, among users who have several rows as most have one; return how many users are called."""
    for statement in _SEVERAL:
        connection.execute(statement)
    users, with_several = connection.execute(_USERS).fetchone()
    if with_several:
        for statement in (*_REPEATED, _DUPLICATE, "DROP TABLE repeated"):
            connection.execute(statement)
    connection.execute("DROP TABLE several")
    return int(users)
