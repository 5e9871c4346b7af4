"""The least that planning and reporting could do, for the product to be measured against.

`plan FILE DATABASE`: csv.reader, and each row's number and cells into one table, in groups of 500 inserts
and one transaction (a plan is all or nothing), in WAL with `synchronous=FULL` as the ledger's. No validation,
no duplicates.
`report LEDGER FILE`: one SELECT of what a report says of each row, as it is stored, through csv.writer.
"""

from __future__ import annotations

import csv
import itertools
import sqlite3
import sys
from pathlib import Path
from typing import Final

_GROUP: Final = 500
_SELECT: Final = """
SELECT row, cells, planned, duplicate_of, outcome, http_status, outcomes.error_code, outcomes.error_message,
       requests, sent, resent, started_at, finished_at, verified_contacts_left, lockout_risk
FROM rows LEFT JOIN outcomes USING (row) ORDER BY row
"""


def plan(source: Path, database: Path) -> None:
    """Read and insert."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    with source.open(newline="", encoding="utf-8") as lines:
        rows = csv.reader(lines)
        header = next(rows)
        columns = ", ".join(f"c{position} TEXT NOT NULL" for position in range(len(header)))
        connection.execute(f"CREATE TABLE rows (number INTEGER PRIMARY KEY, {columns})")
        insert = f"INSERT INTO rows VALUES (NULL{', ?' * len(header)})"
        connection.execute("BEGIN")
        while group := list(itertools.islice(rows, _GROUP)):
            connection.executemany(insert, group)
        connection.execute("COMMIT")
    connection.close()


def report(ledger: Path, destination: Path) -> None:
    """Select and write."""
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    found = connection.execute(_SELECT)
    with destination.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([column[0] for column in found.description])
        writer.writerows(found)
    connection.close()


if __name__ == "__main__":
    {"plan": plan, "report": report}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
