"""What is seen of a session: counts that add up, and a pace over the last ten seconds."""

from __future__ import annotations

import pytest

from worker.compose.monitor import Monitor
from worker.model import Outcome
from worker.pacing import PaceStatus

NOBODY = dict.fromkeys(Outcome, 0)


class Session:
    """A monitor of 10,000 pending rows whose clock a test turns."""

    def __init__(self, **outcomes: int) -> None:
        self.now = 500.0
        began = NOBODY | {Outcome(name): count for name, count in (outcomes or {"pending": 10_000}).items()}
        self.monitor = Monitor("run-1", "acme.example", began, lambda: self.now)

    def finish(self, rows: int, *, at: float) -> None:
        self.now = 500.0 + at
        self.monitor.committed({Outcome.SUCCEEDED: rows})

    def steady(self, *, per_s: int, since: float, until: float, every_s: float = 0.05) -> None:
        for step in range(1, round((until - since) / every_s) + 1):
            self.finish(round(per_s * every_s), at=since + step * every_s)

    def pace(self, at: float) -> tuple[float, float | None]:
        self.now = 500.0 + at
        view = self.monitor.view()
        return view.rows_per_s, view.eta_s


def test_before_anything_moves_there_is_no_pace_and_no_end_in_sight() -> None:
    session = Session(pending=7, duplicate=2, invalid=1)
    view = session.monitor.view()
    assert (view.run_id, view.tenant, view.rows) == ("run-1", "acme.example", 10)
    assert view.outcomes == NOBODY | {Outcome.PENDING: 7, Outcome.DUPLICATE: 2, Outcome.INVALID: 1}
    assert (view.rows_per_s, view.eta_s, view.pace) == (0.0, None, None)
    assert session.pace(60) == (0.0, None)


def test_rows_move_from_pending_to_their_outcomes_and_still_sum_to_the_rows() -> None:
    session = Session(pending=100, succeeded=5, invalid=1)
    session.monitor.committed({Outcome.SUCCEEDED: 10, Outcome.NOT_FOUND: 3})
    session.monitor.committed({Outcome.EXCLUDED: 7})
    session.monitor.committed({})
    view = session.monitor.view()
    assert view.outcomes == NOBODY | {
        Outcome.PENDING: 80,
        Outcome.SUCCEEDED: 15,
        Outcome.NOT_FOUND: 3,
        Outcome.EXCLUDED: 7,
        Outcome.INVALID: 1,
    }
    assert list(view.outcomes) == list(Outcome)
    assert sum(view.outcomes.values()) == view.rows == 106


def test_a_view_is_a_moment_and_does_not_change_afterwards() -> None:
    session = Session()
    view = session.monitor.view()
    session.finish(10, at=1.0)
    assert view.outcomes[Outcome.PENDING] == 10_000


def test_earlier_sessions_count_as_done_but_not_for_the_pace() -> None:
    session = Session(pending=1000, succeeded=9000)
    session.finish(100, at=2.0)
    assert session.pace(2.0) == (50.0, 18.0)


def test_a_young_session_is_measured_from_its_beginning() -> None:
    session = Session()
    session.finish(30, at=0.1)
    per_s, eta_s = session.pace(1.0)
    assert per_s == 30.0
    assert eta_s == pytest.approx(9970 / 30)


def test_a_steady_pace_is_told_as_it_is() -> None:
    session = Session()
    session.steady(per_s=100, since=0, until=30)
    per_s, eta_s = session.pace(30.0)
    assert per_s == pytest.approx(100, rel=0.03)
    assert eta_s == pytest.approx(7000 / 100, rel=0.03)


def test_only_the_last_ten_seconds_count() -> None:
    session = Session()
    session.steady(per_s=200, since=0, until=15)
    session.steady(per_s=20, since=15, until=26)
    assert session.pace(26.0)[0] == pytest.approx(20, rel=0.05)


def test_a_pause_is_over_for_the_pace_once_rows_move_again() -> None:
    """Five minutes of standing still must not make the next seconds look like a run of days."""
    session = Session()
    session.steady(per_s=100, since=0, until=5)
    session.steady(per_s=100, since=305, until=310)
    assert session.pace(310.0)[0] == pytest.approx(50, rel=0.05)


def test_a_standstill_of_ten_seconds_has_no_pace_and_no_end_in_sight() -> None:
    session = Session()
    session.steady(per_s=100, since=0, until=5.03, every_s=0.01)
    assert session.pace(15.3) == (0.0, None)


def test_nothing_left_is_no_time_left() -> None:
    session = Session(pending=50)
    session.finish(50, at=5.0)
    assert session.pace(5.0) == (10.0, 0.0)


def test_the_pace_is_asked_for_at_each_look() -> None:
    session = Session()
    moments = iter([PaceStatus(25.0, "as asked for", 3), PaceStatus(None, "paused by the operator", 0)])
    session.monitor.pace = lambda: next(moments)
    assert session.monitor.view().pace == PaceStatus(25.0, "as asked for", 3)
    assert session.monitor.view().pace == PaceStatus(None, "paused by the operator", 0)


def test_memory_does_not_grow_with_rows() -> None:
    session = Session(pending=10**6)
    for step in range(20_000):
        session.finish(1, at=step * 0.01)
        if not step % 100:
            session.monitor.view()
    assert len(session.monitor._finished) <= 60
