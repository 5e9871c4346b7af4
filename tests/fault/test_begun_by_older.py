"""A run that version d522d46 began, and that was killed, is resumed: no row lost, none that was done called again.

`begun_by_d522d46.sql` is that run's ledger as SQL: 42 rows, one a duplicate, 12 done and 6 in flight. An id that
differs from another by case alone was no duplicate then, and the plan stands.
"""

from __future__ import annotations

import contextlib
import csv
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from unit.ledger.ledger_staging import look

from worker.ledger import RunFolder

pytestmark = pytest.mark.fault

DUMP = Path(__file__).with_name("begun_by_d522d46.sql")


@pytest.fixture
def folder(desk: Any) -> RunFolder:
    path: Path = desk.folder / "runs" / "20261201-010220-batch-342e"
    (path / "inbox").mkdir(parents=True)
    tenant = desk.tenant.url.removeprefix("http://")
    with contextlib.closing(sqlite3.connect(path / "ledger.sqlite")) as connection:
        connection.executescript(DUMP.read_text().replace("TENANT", tenant))
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    return RunFolder(path)


def test_it_goes_on_where_it_was(desk: Any, folder: RunFolder) -> None:
    done = {row for (row,) in look(folder, "SELECT row FROM outcomes")}
    flying = {row for (row,) in look(folder, "SELECT row FROM in_flight")}
    assert (len(done), len(flying)) == (12, 6)
    ran = desk.call("run", folder.run_id, "--yes", "--rate", "500/s", "--accept", "not_found")
    assert ran.code == 0, ran
    with (folder.path / "report.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["_row"]) for row in rows] == list(range(1, 43))
    assert sum(row["_outcome"] == "duplicate" for row in rows) == 1
    assert {int(row["_row"]) for row in rows if row["_resent"] == "yes"} == flying
    called = [(each["user_id"], each["identifier_id"]) for each in desk.tenant.requests()]
    called = [pair for pair in called if pair[0]]  # without the look whether users can be listed
    assert len(called) == len(set(called)) == 41 - len(done)
    again = {(row["user_id"], row["identifier_id"]) for row in rows if int(row["_row"]) in done} & set(called)
    assert {user for user, _ in again} == {"user0004"}, "the last row is of its id, in capitals"
    assert "Setting    max-failures 0.05, from session 1" in ran.err
