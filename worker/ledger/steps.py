"""What is done to a planned ledger: each step runs in the writer's thread, on its open transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from worker.ledger.inserts import insert
from worker.ledger.schema import COOL_DOWN_UNTIL, OUTAGE, PUBLISHED_TO, RESENT
from worker.model import BARRED, Effort, Outcome, Owed, Result, Row, RunState, Unfinished

_PENDING: Final = (
    "SELECT json_group_array(json_array(row, user_id, identifier_id, requests, maybe_sent)) FROM ("
    "SELECT rows.row AS row, rows.user_id AS user_id, rows.identifier_id AS identifier_id,"
    " coalesce(carried.requests, 0) AS requests, coalesce(carried.maybe_sent, 0) AS maybe_sent"
    " FROM rows LEFT JOIN outcomes ON outcomes.row = rows.row LEFT JOIN carried ON carried.row = rows.row"
    " WHERE rows.row > ? AND rows.planned IS NULL AND outcomes.row IS NULL"
    " AND (? OR (carried.not_before IS NULL AND rows.row NOT IN (SELECT row FROM aside)))"
    " AND (? OR rows.row NOT IN (SELECT row FROM in_flight)) ORDER BY rows.row LIMIT ?)"
)
# What is done row by row elsewhere is done here in one step of SQLite for many rows: see `inserts`.
_LAND: Final = "DELETE FROM in_flight WHERE row IN (SELECT value FROM json_each(?))"
_CARRY: Final = (
    "INSERT INTO carried (row, requests, maybe_sent) VALUES (?, ?, ?)"
    " ON CONFLICT (row) DO UPDATE SET requests = excluded.requests, maybe_sent = excluded.maybe_sent"
)
_EFFORT: Final = (
    "tries, attempts, charged_s, refusals, doubtful, started_at, answered, owed, owed_s, free, http_status,"
    " carried.error_code, carried.error_message"
)
_WAIT: Final = (
    f"INSERT OR REPLACE INTO carried (row, requests, maybe_sent, not_before, {_EFFORT.replace('carried.', '')})"  # noqa: S608
    f" VALUES ({', '.join('?' * 17)})"
)
_DUE: Final = (
    "SELECT carried.row, rows.user_id, rows.identifier_id, carried.requests, carried.maybe_sent,"  # noqa: S608
    f" {_EFFORT} FROM carried CROSS JOIN rows ON rows.row = carried.row"
    " WHERE carried.not_before <= ? AND carried.row NOT IN (SELECT row FROM in_flight)"
    " AND carried.row NOT IN (SELECT row FROM aside)"
    " ORDER BY carried.not_before LIMIT ?"
)
_DUE_AT: Final = (
    "SELECT min(not_before) FROM carried WHERE not_before IS NOT NULL"
    " AND row NOT IN (SELECT row FROM in_flight) AND row NOT IN (SELECT row FROM aside)"
)
_WAKE: Final = (
    "UPDATE carried SET answered = -1, owed = 0, free = 0, not_before ="
    " min(max(not_before, ?), ?) WHERE not_before IS NOT NULL"
)
_STANDING: Final = (
    "SELECT (SELECT count(*) FROM rows WHERE planned IS NULL) - (SELECT count(*) FROM outcomes)"
    " - (SELECT count(*) FROM aside), (SELECT count(*) FROM carried WHERE not_before IS NOT NULL"
    " AND row NOT IN (SELECT row FROM aside)), (SELECT coalesce(max(row), 0) FROM rows)"
)
_FRESH: Final = (
    "SELECT rows.row FROM rows WHERE rows.row >= ? AND rows.row > ? AND rows.planned IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM outcomes WHERE outcomes.row = rows.row)"
    " AND NOT EXISTS (SELECT 1 FROM in_flight WHERE in_flight.row = rows.row)"
    " AND NOT EXISTS (SELECT 1 FROM aside WHERE aside.row = rows.row)"
    " AND NOT EXISTS (SELECT 1 FROM carried WHERE carried.row = rows.row AND not_before IS NOT NULL)"
    " AND rows.row NOT IN (SELECT value FROM json_each(?)) LIMIT 1"
)
_LONGEST_WAIT_S: Final = 300.0
"""From a session's start, whatever the clock of an earlier one said."""
_FIRST_OTHERS_S: Final = 1.0
"""Rows that failed in an earlier session go again after so long: a session begins with others."""
_MAYBE_SENT: Final = (
    "INSERT INTO carried (row, requests, maybe_sent) SELECT row, 0, 1 FROM in_flight"
    " WHERE row NOT IN (SELECT row FROM published) ON CONFLICT (row) DO UPDATE SET maybe_sent = max(maybe_sent, 1)"
)
_PUBLISHED: Final = (
    "SELECT rows.row, rows.user_id, rows.identifier_id, coalesce(carried.requests, 0),"
    " coalesce(carried.maybe_sent, 0), published.batch FROM published"
    " JOIN in_flight ON in_flight.row = published.row JOIN rows ON rows.row = published.row"
    " LEFT JOIN carried ON carried.row = published.row ORDER BY rows.row"
)
_KILLED: Final = (
    "UPDATE sessions SET state = 'interrupted', halt_reason = 'the process was killed', ended_at ="
    " max(started_at, coalesce((SELECT max(finished_at) FROM outcomes WHERE session = number), 0))"
    " WHERE ended_at IS NULL"
)
TAKEN_UP: Final = (
    "SELECT row FROM history WHERE why = 'retry' AND outcome IN (SELECT value FROM json_each(:outcomes))"
    " AND id IN (SELECT max(id) FROM history GROUP BY row)"
)
"""Rows that a `retry` took back; those that are pending it did not come to send."""
_SET_ASIDE: Final = (
    "INSERT INTO aside SELECT row FROM rows WHERE planned IS NULL AND row NOT IN (SELECT row FROM outcomes)"  # noqa: S608
    f" AND row NOT IN (SELECT row FROM published) AND row NOT IN ({TAKEN_UP})"
)
_CHOSEN: Final = (
    "INSERT INTO temp.chosen SELECT row FROM outcomes"
    " WHERE outcome IN (SELECT value FROM json_each(:outcomes))"
    " AND (:session IS NULL OR session = :session) AND (:status IS NULL OR http_status = :status)"
    " AND (:rows IS NULL OR row IN (SELECT value FROM json_each(:rows)))"
)
_REMEMBER: Final = (
    "INSERT INTO history (taken_back_at, why, row, session, outcome, http_status, error_code, error_message,"
    " requests, started_at, finished_at) SELECT ?, ?, row, session, outcome, http_status, error_code,"
    " error_message, requests, started_at, finished_at FROM outcomes"
    " WHERE row IN (SELECT row FROM temp.chosen) ORDER BY row"
)
_CARRY_CHOSEN: Final = (
    "INSERT INTO carried (row, requests, maybe_sent, not_before, http_status, error_code, error_message)"
    " SELECT row, requests, CASE WHEN resent THEN 2 WHEN sent = 'maybe' THEN 1 ELSE 0 END, :not_before,"
    " http_status, error_code, error_message FROM outcomes WHERE row IN (SELECT row FROM temp.chosen)"
    # a row of which nothing is known has nothing to carry, and nobody would forget it again
    " AND (requests > 0 OR resent OR sent = 'maybe')"
)
_CALLED_AGAIN: Final = (
    "UPDATE outcomes SET resent = 1 FROM json_each(?) AS again"
    " JOIN rows ON rows.row = json_extract(again.value, '$[0]')"
    " WHERE outcomes.row = rows.row AND rows.user_id = json_extract(again.value, '$[1]')"
    " AND rows.identifier_id = json_extract(again.value, '$[2]') AND outcomes.sent <> 'no'"
    " AND abs(outcomes.started_at - json_extract(again.value, '$[3]')) > 1e-4"
    " AND outcomes.row NOT IN (SELECT row FROM history)"  # what comes late may be the outcome that is in there
)
_decode_pending: Final = msgspec.json.Decoder(list[tuple[int, str, str, int, int]]).decode
_WORDS: Final = {outcome: str(outcome) for outcome in Outcome}
"""Plain text by outcome: SQLite takes a subclass of `str` for something to be adapted first, slowly."""


def begin_session(
    connection: sqlite3.Connection,
    now: float,
    operator: str,
    settings: Mapping[str, str],
    retake: frozenset[Outcome],
    *,
    publishes_to: str,
    recall: bool,
) -> int:
    """Close what a killed session left open, begin the next one, and take back `retake`; returns its number.

    With `retake` other rows that are pending stay so. What was published stays with the workers of `publishes_to`.
    Without any, or to `recall` it, it comes back, and may have been called.
    """
    if recall or not publishes_to:
        connection.execute("DELETE FROM published")
    if publishes_to:
        connection.execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (PUBLISHED_TO, publishes_to)
        )
    connection.execute(_MAYBE_SENT)
    connection.execute("DELETE FROM in_flight WHERE row NOT IN (SELECT row FROM published)")
    connection.execute(_KILLED)
    cursor = connection.execute(
        "INSERT INTO sessions (started_at, state, halt_reason, operator, settings) VALUES (?, ?, '', ?, ?)",
        (now, str(RunState.RUNNING), operator, json.dumps(dict(settings))),
    )
    assert cursor.lastrowid is not None
    end_outage(connection, now)
    connection.execute("DELETE FROM aside")
    connection.execute(_WAKE, (now + _FIRST_OTHERS_S, now + _LONGEST_WAIT_S))
    if retake:
        connection.execute(_SET_ASIDE, {"outcomes": json.dumps(sorted(retake))})
        take_back(connection, retake, session=None, http_status=None, now=now, why="retry")
    return cursor.lastrowid


def close_killed(connection: sqlite3.Connection) -> None:
    """Close what a killed session left open: the log that tells of it may go when this connection is closed."""
    connection.execute(_KILLED)


def end_session(
    connection: sqlite3.Connection,
    number: int,
    now: float,
    state: RunState,
    halt_reason: str,
    cool_down_until: float,
) -> None:
    """Record how a session ended, and until when the tenant wants to be left alone."""
    connection.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (COOL_DOWN_UNTIL, repr(cool_down_until))
    )
    connection.execute(
        "UPDATE sessions SET ended_at = ?, state = ?, halt_reason = ? WHERE number = ?",
        (now, str(state), halt_reason, number),
    )


def protect(connection: sqlite3.Connection, keys: Iterable[str]) -> None:
    """Add keys of ids to the protected list, which only ever grows."""
    connection.executemany("INSERT OR IGNORE INTO protected (id) VALUES (?)", ((key,) for key in keys))


def note_command(connection: sqlite3.Connection, applied_at: float, command: str) -> None:
    """Record a command that was applied."""
    connection.execute("INSERT INTO commands (applied_at, command) VALUES (?, ?)", (applied_at, command))


def begin_outage(connection: sqlite3.Connection, since: float, met: str) -> None:
    """Record that the tenant is taken to be out, and what attempts met."""
    told = json.dumps({"since": since, "until": None, "met": met})
    connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (OUTAGE, told))


def end_outage(connection: sqlite3.Connection, until: float) -> None:
    """Record that the last outage is over, if one is open."""
    connection.execute(
        "UPDATE meta SET value = json_set(value, '$.until', ?) WHERE name = ?"
        " AND json_extract(value, '$.until') IS NULL",
        (until, OUTAGE),
    )


def keep_setting(connection: sqlite3.Connection, session: int, name: str, value: str) -> None:
    """Add to the record of what steered a session."""
    connection.execute(
        "UPDATE sessions SET settings = json_set(settings, '$.' || ?, ?) WHERE number = ?",
        (name, value, session),
    )


def next_pending(
    connection: sqlite3.Connection,
    after: int,
    limit: int,
    *,
    waiting_too: bool = False,
    in_flight_too: bool = False,
) -> list[Row]:
    """Return up to `limit` pending rows after row `after`, in their order, but for those that wait to go again."""
    (found,) = connection.execute(_PENDING, (after, waiting_too, in_flight_too, limit)).fetchone()
    return [
        Row(number, user_id, identifier_id, requests, maybe > 0, maybe == RESENT)
        for number, user_id, identifier_id, requests, maybe in sorted(_decode_pending(found))
    ]


def next_due(connection: sqlite3.Connection, now: float, limit: int) -> list[Row]:
    """Return up to `limit` rows that were tried and may go again, those that waited longest first."""
    return [_waiting_row(*found) for found in connection.execute(_DUE, (now, limit))]


def _waiting_row(
    number: int, user_id: str, identifier_id: str, requests: int, maybe: int, *effort: Any
) -> Row:
    (
        tries, attempts, charged_s, refusals, doubtful, started_at, answered, owed, owed_s, free, status, code,
        message,
    ) = effort  # fmt: skip
    return Row(
        number,
        user_id,
        identifier_id,
        requests,
        maybe > 0,
        maybe == RESENT,
        effort=Effort(
            tries=tries,
            attempts=attempts,
            charged_s=charged_s,
            refusals=refusals,
            doubtful=bool(doubtful),
            started_at=started_at,
            answered=answered,
            owed=Owed(owed),
            owed_s=owed_s,
            free=bool(free),
            status=status,
            error_code=code or "",
            error_message=message or "",
        ),
    )


def due_at(connection: sqlite3.Connection) -> float | None:
    """Return when the next row that waits may go again, or None if none waits."""
    (found,) = connection.execute(_DUE_AT).fetchone()
    return None if found is None else float(found)


def count_waiting(connection: sqlite3.Connection, most: int) -> int:
    """Return how many rows were tried and have to go again, those in flight among them; counted up to `most`."""
    counted = (
        "SELECT count(*) FROM (SELECT 1 FROM carried WHERE not_before IS NOT NULL"
        " AND row NOT IN (SELECT row FROM aside) LIMIT ?)"
    )
    (count,) = connection.execute(counted, (most,)).fetchone()
    return int(count)


class Standing(NamedTuple):
    """How many rows have no outcome, how many of these were tried and have to go again, and the last row's number."""

    pending: int
    failed: int
    last: int


def standing(connection: sqlite3.Connection) -> Standing:
    """Return how many rows are open."""
    return Standing(*connection.execute(_STANDING).fetchone())


def fresh_row(
    connection: sqlite3.Connection, at_least: int, after: int, without: Collection[int]
) -> int | None:
    """Return the number of a row from `at_least` on and after `after` that was never tried, or None."""
    found = connection.execute(_FRESH, (at_least, after, str(list(without)))).fetchone()
    return None if found is None else int(found[0])


def last_row(connection: sqlite3.Connection) -> int:
    """Return the last row's number."""
    (number,) = connection.execute("SELECT coalesce(max(row), 0) FROM rows").fetchone()
    return int(number)


def pending_row(connection: sqlite3.Connection, number: int) -> Row:
    """Return a row that was never tried, by its number."""
    (row,) = next_pending(connection, number - 1, 1)
    return row


def claim(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Mark rows as in flight."""
    connection.execute("INSERT INTO in_flight (row) SELECT value FROM json_each(?)", (_numbers(rows),))


def publish(connection: sqlite3.Connection, rows: Iterable[int], batch: str) -> None:
    """Keep under which name rows in flight are with the workers of a queue."""
    connection.executemany(
        "INSERT INTO published (row, batch) VALUES (?, ?) ON CONFLICT (row) DO UPDATE SET batch = excluded.batch",
        ((row, batch) for row in rows),
    )


def forget_published(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Forget that rows were with the workers of a queue, or waited before that: they have an outcome."""
    numbers = _numbers(rows)
    connection.execute("DELETE FROM published WHERE row IN (SELECT value FROM json_each(?))", (numbers,))
    connection.execute("DELETE FROM carried WHERE row IN (SELECT value FROM json_each(?))", (numbers,))


def published(connection: sqlite3.Connection) -> list[tuple[Row, str]]:
    """Return the rows that are with the workers of a queue, and under which name, in their order."""
    return [
        (Row(number, user_id, identifier_id, requests, maybe > 0, maybe == RESENT), batch)
        for number, user_id, identifier_id, requests, maybe, batch in connection.execute(_PUBLISHED)
    ]


def exclude(connection: sqlite3.Connection, session: int, rows: Sequence[Row], now: float) -> None:
    """Record rows as excluded that came onto the protected list after the plan."""
    insert(
        connection,
        "outcomes",
        [
            (
                row.number, session, _WORDS[BARRED.outcome], None, BARRED.error_code, BARRED.error_message,
                row.earlier_requests, _was_sent(row, False), row.resent, now, now, None, None,
            )
            for row in rows
        ],
    )  # fmt: skip
    _forget_carried(connection, rows)


def record(connection: sqlite3.Connection, session: int, results: Sequence[Result]) -> None:
    """Record outcomes. A second outcome for a row is an integrity error: it is never replaced."""
    rows = [result.row for result in results]
    insert(connection, "outcomes", [_outcome(session, result) for result in results])
    connection.execute(_LAND, (_numbers(rows),))
    _forget_carried(connection, rows)


def note_again(connection: sqlite3.Connection, again: Sequence[Result]) -> None:
    """Note that rows were called once more, whose outcomes stay: what came is not just the same outcome again."""
    told = [
        (each.row.number, each.row.user_id, each.row.identifier_id, each.started_at)
        for each in again
        if each.requests
    ]
    connection.execute(_CALLED_AGAIN, (json.dumps(told),))


def give_back(connection: sqlite3.Connection, rows: Sequence[Unfinished], now: float) -> None:
    """Put claimed rows back to pending, with what is known of them; `now` is when their waits begin."""
    carried = [
        (row.number, each.requests, _maybe(each))
        for each in rows
        if each.effort is None and ((row := each.row).maybe_sent or each.requests)
    ]
    connection.executemany(_CARRY, carried)
    connection.executemany(_WAIT, [_waiting(each, each.effort, now) for each in rows if each.effort])
    connection.execute(_LAND, (_numbers([each.row for each in rows]),))


def _waiting(each: Unfinished, effort: Effort, now: float) -> tuple[object, ...]:
    return (
        each.row.number,
        each.requests,
        _maybe(each),
        now + effort.wait_s,
        effort.tries,
        effort.attempts,
        effort.charged_s,
        effort.refusals,
        effort.doubtful,
        effort.started_at,
        effort.answered,
        int(effort.owed),
        effort.owed_s,
        effort.free,
        effort.status,
        effort.error_code,
        effort.error_message,
    )


def _maybe(each: Unfinished) -> int:
    """Return what is known of whether a killed session sent the row."""
    row = each.row
    return RESENT if _is_resent(row, each.requests > row.earlier_requests) else int(row.maybe_sent)


def take_back(
    connection: sqlite3.Connection,
    outcomes: frozenset[Outcome],
    *,
    session: int | None,
    http_status: int | None,
    now: float,
    why: str,
    rows: Collection[int] | None = None,
) -> int:
    """Move outcomes to the history and their rows back to pending; returns how many."""
    connection.execute("CREATE TEMP TABLE chosen (row INTEGER PRIMARY KEY)")
    connection.execute(
        _CHOSEN,
        {
            "outcomes": json.dumps(sorted(outcomes)),
            "session": session,
            "status": http_status,
            "rows": None if rows is None else json.dumps(sorted(rows)),
        },
    )
    connection.execute(_REMEMBER, (now, why))
    # What `retry` sends goes as if it had never been tried; what showed a wrong run goes after others.
    connection.execute(_CARRY_CHOSEN, {"not_before": None if session is None else now})
    connection.execute("DELETE FROM published WHERE row IN (SELECT row FROM temp.chosen)")
    taken = connection.execute("DELETE FROM outcomes WHERE row IN (SELECT row FROM temp.chosen)").rowcount
    connection.execute("DROP TABLE temp.chosen")
    return taken


def _numbers(rows: Sequence[Row]) -> str:
    """Return the rows' numbers as a JSON array."""
    return str([row.number for row in rows])


def _outcome(session: int, result: Result) -> tuple[object, ...]:
    verdict, row = result.verdict, result.row
    return (
        row.number,
        session,
        _WORDS[verdict.outcome],
        verdict.status,
        verdict.error_code,
        verdict.error_message,
        result.requests,
        _was_sent(row, result.sent),
        _is_resent(row, result.sent),
        result.started_at,
        result.finished_at,
        verdict.verified_contacts_left,
        verdict.lockout_risk,
    )


def _was_sent(row: Row, now: bool) -> str:
    """Return what is known of the row's calls; a maybe stays one until it is sent again."""
    if now or row.resent:
        return "yes"
    if row.maybe_sent:
        return "maybe"
    return "yes" if row.earlier_requests else "no"


def _is_resent(row: Row, now: bool) -> bool:
    """Return whether a row that may have been sent by a killed session was sent again, by now or before."""
    return row.resent or (row.maybe_sent and now)


def _forget_carried(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    carried = [(row.number,) for row in rows if row.earlier_requests or row.maybe_sent or row.effort]
    connection.executemany("DELETE FROM carried WHERE row = ?", carried)
