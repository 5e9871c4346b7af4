"""Reads a ledger into what reports are made of. Read-only; also while another process works on the run."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from worker.errors import LedgerError
from worker.ledger.folder import LISTS, RunFolder, warnings_of
from worker.ledger.schema import OUTAGE, RESENT, broken, connect
from worker.model import Outcome, RunState
from worker.reportable import COLLECTED, OutageFacts, ReportRow, RunFacts, SessionFacts

_ROWS: Final = (
    "SELECT rows.row, rows.cells, rows.user_id, rows.identifier_id, rows.planned, rows.error_code,"
    " rows.error_message, rows.duplicate_of, outcomes.outcome, outcomes.http_status, outcomes.error_code,"
    " outcomes.error_message, outcomes.requests, outcomes.started_at, outcomes.finished_at, outcomes.sent,"
    " outcomes.resent, outcomes.verified_contacts_left, outcomes.lockout_risk, carried.requests,"
    " carried.maybe_sent, carried.http_status, carried.error_code, carried.error_message, in_flight.row"
    " FROM rows LEFT JOIN outcomes ON outcomes.row = rows.row"
    " LEFT JOIN carried ON carried.row = rows.row LEFT JOIN in_flight ON in_flight.row = rows.row"
    " ORDER BY rows.row"
)
_PLANNED: Final = "SELECT planned, count(*) FROM rows WHERE planned IS NOT NULL GROUP BY planned"
_CALLED: Final = "SELECT outcome, count(*), sum(requests), sum(requests > 0) FROM outcomes GROUP BY outcome"
_CARRIED: Final = "SELECT coalesce(sum(requests), 0), coalesce(sum(requests > 0), 0) FROM carried"
_TWO_STATES: Final = (
    "SELECT (SELECT count(*) FROM rows JOIN outcomes ON outcomes.row = rows.row WHERE rows.planned IS NOT NULL)"
    " + (SELECT count(*) FROM in_flight JOIN outcomes ON outcomes.row = in_flight.row)"
    " + (SELECT count(*) FROM carried JOIN outcomes ON outcomes.row = carried.row)"
)
_ELAPSED: Final = (
    "SELECT coalesce(sum(max(0, coalesce(ended_at, (SELECT max(finished_at) FROM outcomes"
    " WHERE session = number), started_at) - started_at)), 0.0) FROM sessions"
)
_PAUSED: Final = (
    "SELECT command FROM commands WHERE applied_at >= ?"
    " AND (command || ' ' LIKE 'pause %' OR command || ' ' LIKE 'continue %') ORDER BY id DESC LIMIT 1"
)
_STRAY: Final = (
    "SELECT count(*) FROM outcomes LEFT JOIN rows ON rows.row = outcomes.row WHERE rows.row IS NULL"
)

_UNKNOWN: Final = (
    "SELECT (SELECT count(*) FROM rows WHERE planned NOT IN ('invalid', 'duplicate', 'excluded'))"
    " + (SELECT count(*) FROM outcomes WHERE outcome NOT IN"
    " ('succeeded', 'unconfirmed', 'not_found', 'refused', 'exhausted', 'excluded'))"
)
_OUTCOMES: Final = {str(outcome): outcome for outcome in Outcome}


class Snapshot:
    """A ledger at one moment: what is added to it meanwhile is not seen. Made by `snapshot`.

    Args:
        folder: The run.
        connection: In a transaction.
    """

    def __init__(self, folder: RunFolder, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._connection = connection

    def facts(self) -> RunFacts:
        """Return what is known of the run as a whole.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        owned = (
            self._folder.owned
        )  # asked before and after: a session that begins or ends meanwhile was not killed
        with understood(self._folder):
            return _facts(self._connection, lambda: owned or self._folder.owned)

    def verify(self) -> None:
        """Check that every row has exactly one state (promise 1).

        Raises:
            LedgerError: The ledger cannot be read, or does not add up.
        """
        with understood(self._folder):
            _verify(self._connection, self._folder)

    def rows(self) -> Iterator[ReportRow]:
        """Yield every row of the run in the input's order, in one pass and constant memory.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        with understood(self._folder):
            yield from _rows(self._connection)


@contextlib.contextmanager
def snapshot(folder: RunFolder) -> Iterator[Snapshot]:
    """Yield the ledger of a run as it is now.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with contextlib.closing(connect(folder.ledger, read_only=True)) as connection:
        connection.execute("BEGIN")
        yield Snapshot(folder, connection)


def facts(folder: RunFolder) -> RunFacts:
    """Return what is known of the run as a whole, at one moment.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with snapshot(folder) as now:
        return now.facts()


def verify(folder: RunFolder) -> None:
    """Check that every row has exactly one state (promise 1).

    Raises:
        LedgerError: The ledger cannot be read, or does not add up.
    """
    with snapshot(folder) as now:
        now.verify()


def report_rows(folder: RunFolder) -> Iterator[ReportRow]:
    """Yield every row of the run in the input's order, in one pass and constant memory.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with snapshot(folder) as now:
        yield from now.rows()


def _facts(connection: sqlite3.Connection, owned: Callable[[], bool]) -> RunFacts:
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    called = connection.execute(_CALLED).fetchall()
    carried_requests, carried_rows = connection.execute(_CARRIED).fetchone()
    outcomes = _outcomes(connection, called, int(meta["rows"]))
    calls = carried_requests + sum(requests for _, _, requests, _ in called)
    (elapsed_s,) = connection.execute(_ELAPSED).fetchone()
    sessions = _sessions(connection, owned)
    last = sessions[-1] if sessions else None
    return RunFacts(
        run_id=meta["run_id"],
        state=RunState.PLANNED if last is None else last.state,
        operation=meta["operation"],
        tenant=meta["tenant"],
        reason=meta["reason"],
        operator=meta["operator"],
        input_name=meta["input_name"],
        input_sha256=meta["input_sha256"],
        header=tuple(json.loads(meta["header"])),
        planned_at=float(meta["planned_at"]),
        rows=int(meta["rows"]),
        outcomes=outcomes,
        calls=calls,
        retries=calls - carried_rows - sum(sent for _, _, _, sent in called),
        elapsed_s=elapsed_s,
        halt_reason="" if last is None else last.halt_reason,
        sessions=sessions,
        selection=json.loads(meta["selection"]),
        warnings=warnings_of(meta),
        outage=OutageFacts(**json.loads(meta[OUTAGE])) if OUTAGE in meta else None,
        lists=tuple(json.loads(meta.get(LISTS, "[]"))),
        paused=_paused(connection, last),
    )


def _paused(connection: sqlite3.Connection, last: SessionFacts | None) -> str:
    """Return the command that has the running session wait, or nothing; a session that ended takes it along."""
    if last is None or last.state is not RunState.RUNNING:
        return ""
    told = connection.execute(_PAUSED, (last.started_at,)).fetchone()
    return told[0] if told is not None and told[0].startswith("pause") else ""


def _verify(connection: sqlite3.Connection, folder: RunFolder) -> None:
    (twice,) = connection.execute(_TWO_STATES).fetchone()
    (stray,) = connection.execute(_STRAY).fetchone()
    (unknown,) = connection.execute(_UNKNOWN).fetchone()
    (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    planned = int(meta["rows"])
    is_collected = COLLECTED in json.loads(meta["selection"])
    missing = count > planned if is_collected else count != planned
    if twice or stray or unknown or missing:
        raise LedgerError(
            f"The ledger {folder.ledger} does not add up: {planned} rows planned, {count} present,"
            f" {twice} with two states, {unknown} with an unknown one, {stray} outcomes of no row. No report"
            " is written; keep the run's folder and report this."
        )


def _rows(connection: sqlite3.Connection) -> Iterator[ReportRow]:
    decode = msgspec.json.Decoder(list[str]).decode
    for (
        row, cells, user_id, identifier_id, planned, planned_code, planned_message, duplicate_of,
        outcome, status, code, message, requests, started_at, finished_at, sent,
        resent, verified_left, lockout_risk, carried, maybe, last_status, last_code, last_message, flying,
    ) in connection.execute(_ROWS):  # fmt: skip
        own = [user_id, identifier_id] if cells is None else decode(cells)
        if outcome is not None:
            yield ReportRow(
                own, row, _OUTCOMES[outcome], status, code, message, requests, started_at, finished_at,
                sent, bool(resent), verified_left, None if lockout_risk is None else bool(lockout_risk),
                None,
            )  # fmt: skip
        elif planned is not None:
            yield ReportRow(
                own,
                row,
                _OUTCOMES[planned],
                None,
                planned_code,
                planned_message,
                duplicate_of=duplicate_of,
            )
        else:
            yield ReportRow(
                own,
                row,
                Outcome.PENDING,
                last_status,
                last_code or "",
                last_message or "",
                requests=carried or 0,
                sent=_pending_sent(carried, maybe, flying),
                resent=maybe == RESENT,
            )


def _pending_sent(requests: int | None, maybe: int | None, flying: int | None) -> str:
    if maybe == RESENT:
        return "yes"
    if maybe or flying is not None:
        return "maybe"
    return "yes" if requests else "no"


def _outcomes(
    connection: sqlite3.Connection, called: list[tuple[str, int, int, int]], rows: int
) -> dict[Outcome, int]:
    outcomes = dict.fromkeys(Outcome, 0)
    for outcome, count in connection.execute(_PLANNED):
        outcomes[_OUTCOMES[outcome]] += count
    for outcome, count, _, _ in called:
        outcomes[_OUTCOMES[outcome]] += count
    outcomes[Outcome.PENDING] = rows - sum(outcomes.values())
    return outcomes


def _sessions(connection: sqlite3.Connection, owned: Callable[[], bool]) -> tuple[SessionFacts, ...]:
    """Return all sessions; one without an end that nobody works on was killed."""
    sessions = []
    for number, started_at, ended_at, state, reason, operator, settings in connection.execute(
        "SELECT number, started_at, ended_at, state, halt_reason, operator, settings FROM sessions"
        " ORDER BY number"
    ):
        killed = ended_at is None and not owned()
        sessions.append(
            SessionFacts(
                number,
                started_at,
                ended_at,
                RunState.INTERRUPTED if killed else RunState(state),
                "the process was killed" if killed else reason,
                operator,
                json.loads(settings),
            )
        )
    return tuple(sessions)


@contextlib.contextmanager
def understood(folder: RunFolder) -> Iterator[None]:
    """Say in a sentence that the ledger holds what cannot be read."""
    try:
        yield
    except (sqlite3.Error, msgspec.MsgspecError, KeyError, ValueError) as error:
        raise broken(folder.ledger, error) from error
