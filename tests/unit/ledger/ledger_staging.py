"""Situations that the ledger's tests begin from, and a look at the file as another process has it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

from worker.identifiers import key_of
from worker.ledger import Binding, PlanDraft, RunFolder, RunLedger
from worker.model import Decision, InputRow, Outcome, Result, Row, Unfinished, Verdict
from worker.protection import ProtectedList

BINDING = Binding("in.csv", "a" * 64, "acme.example", "unverify-email", {"rows": "all"})
HEADER = ("user_id", "identifier_id")


def pair(number: int, user: str, identifier: str, *more: str) -> InputRow:
    return InputRow(number, number + 1, user, identifier, [user, identifier, *more])


def pairs(count: int) -> list[InputRow]:
    return [pair(number, f"u{number}", f"i{number}") for number in range(1, count + 1)]


def listed(*ids: str, path: Path = Path("/lists/keep.txt")) -> ProtectedList:
    keys = frozenset(map(key_of, ids))
    return ProtectedList(path, "0" * 64, keys, keys)


def plan(
    runs: Path,
    rows: Iterable[InputRow] | int,
    *,
    protected: Iterable[str] = (),
    lists: Sequence[ProtectedList] = (),
    run_id: str = "run-1",
    binding: Binding = BINDING,
) -> RunFolder:
    draft = PlanDraft(runs, run_id, binding, operator="ann@host", reason="T-1", planned_at=1000.5)
    with draft:
        draft.add(pairs(rows) if isinstance(rows, int) else rows)
        draft.finish(header=HEADER, lists=[listed(*protected)] if protected else lists)
        return draft.publish()


def result(
    row: Row,
    outcome: Outcome = Outcome.SUCCEEDED,
    *,
    status: int | None = 200,
    requests: int = 1,
    sent: bool = True,
    code: str = "",
) -> Result:
    verdict = Verdict(Decision.FINAL, outcome, status, code, code and f"it was {code}", 1, False)
    return Result(row, verdict, row.earlier_requests + requests, sent, 2000.0, 2001.0)


def unfinished(row: Row, requests: int = 0) -> Unfinished:
    return Unfinished(row, row.earlier_requests + requests)


def look(folder: RunFolder, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the ledger's file through a connection of its own: only what is committed is seen."""
    with contextlib.closing(sqlite3.connect(f"file:{folder.ledger}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, values).fetchall()


def tamper(folder: RunFolder, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(folder.ledger)) as connection, connection:
        connection.execute(sql)


@contextlib.asynccontextmanager
async def session(
    folder: RunFolder, *, retake: frozenset[Outcome] = frozenset(), **options: Any
) -> AsyncIterator[RunLedger]:
    async with contextlib.aclosing(await RunLedger.open(folder, **options)) as ledger:
        await ledger.begin_session("ann@host", {"rate": "25/s"}, retake=retake)
        yield ledger
