"""When a server counts as out, and when it is asked again."""

from __future__ import annotations

import math

import pytest

from worker.pacing.outage import FOREIGN_STREAK, LEAST_ATTEMPTS, LEAST_ROWS, SILENT_S, Outage, SilenceClock


def _fail(
    outage: Outage, attempts: int, rows: int, *, at: float, pending: int = 1000, foreign: bool = False
) -> bool:
    """Have attempts fail at a moment, on so many different rows; returns whether that opened an outage."""
    opened = [
        outage.see_trouble(at, n % rows + 1, "503 http_503", pending=pending, foreign=foreign)
        for n in range(attempts)
    ]
    return any(opened)


@pytest.mark.parametrize(
    ("attempts", "rows", "at", "out"),
    [
        (LEAST_ATTEMPTS, LEAST_ROWS, SILENT_S, True),
        (LEAST_ATTEMPTS - 1, LEAST_ROWS - 1, SILENT_S, False),
        (LEAST_ATTEMPTS, LEAST_ROWS, SILENT_S - 0.01, False),
        (400, LEAST_ROWS - 1, 60.0, False),
    ],
)
def test_two_silent_seconds_in_which_twenty_rows_met_trouble(
    attempts: int, rows: int, at: float, *, out: bool
) -> None:
    outage = Outage(0.0)
    assert _fail(outage, attempts, rows, at=at) is out
    assert outage.since == (0.0 if out else None)


def test_where_fewer_rows_are_pending_all_of_them_are_enough() -> None:
    outage = Outage(0.0)
    assert not _fail(outage, 19, 3, at=5.0, pending=3)
    assert _fail(outage, 1, 1, at=5.0, pending=3)


def test_a_few_sick_rows_among_others_that_are_answered_are_no_outage() -> None:
    outage = Outage(0.0)
    for second in range(600):
        assert not _fail(outage, 50, 50, at=second + 0.5)
        assert not outage.hear(second + 1.0)


def test_a_silence_is_counted_from_the_last_final_answer() -> None:
    outage = Outage(0.0)
    outage.hear(10.0)
    assert not _fail(outage, 40, 40, at=11.9)
    assert _fail(outage, 1, 1, at=12.0)
    assert outage.since == 10.0
    assert outage.silences == {1}


def test_twenty_answers_in_a_row_that_are_not_the_apis_own_pause_at_once() -> None:
    outage = Outage(0.0)
    outage.hear(1.0)
    assert not _fail(outage, FOREIGN_STREAK - 1, FOREIGN_STREAK - 1, at=1.1, foreign=True)
    assert not outage.see_trouble(1.1, 500, "503", pending=1000)
    assert not _fail(outage, FOREIGN_STREAK - 1, FOREIGN_STREAK - 1, at=1.1, foreign=True)
    assert outage.see_trouble(1.1, 600, "404 http_404", pending=1000, foreign=True)


def test_one_row_alone_makes_no_streak() -> None:
    outage = Outage(0.0)
    assert not _fail(outage, 100, 1, at=1.0, foreign=True)


def _out() -> Outage:
    outage = Outage(0.0)
    assert _fail(outage, 40, 40, at=3.0)
    return outage


def test_only_a_rows_final_answer_closes_it() -> None:
    outage = _out()
    assert not _fail(outage, 100, 100, at=50.0)
    assert outage.hear(51.0)
    assert outage.since is None
    assert outage.attempts == 0
    assert outage.causes == ""


def test_probes_go_one_at_a_time_and_ever_more_rarely() -> None:
    outage = _out()
    waits = []
    now = 3.0
    for _ in range(6):
        waits.append(outage.probe_at - now)
        now = outage.probe_at
        outage.probing()
        assert outage.probe_at == math.inf
        outage.see_trouble(now, 1, "connect", pending=9, alone=True)
    assert waits == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


def test_a_call_from_before_the_outage_is_not_taken_for_its_probe() -> None:
    outage = _out()
    outage.probing()
    outage.see_trouble(3.5, 1, "timeout", pending=9, alone=False)
    assert outage.probe_at == math.inf


def test_a_probe_that_came_to_nothing_leaves_room_for_the_next() -> None:
    outage = _out()
    outage.probing()
    outage.lost(7.0)
    assert outage.probe_at == 7.0


def test_causes_are_told_with_their_counts_the_commonest_first() -> None:
    outage = Outage(0.0)
    for row, cause in enumerate(["connect", "503 busy", "503 busy"]):
        outage.see_trouble(0.1, row, cause, pending=9)
    assert outage.causes == "2 × 503 busy, 1 × connect"


def test_causes_that_are_all_different_are_not_kept_without_end() -> None:
    outage = Outage(0.0)
    for row in range(10_000):
        outage.see_trouble(0.1, row, f"cause {row}", pending=9)
    assert len(outage._causes) == 20


@pytest.mark.parametrize(("troubled", "fine", "share"), [(5, 95, 0.05), (0, 50, 0.0), (10, 9, 0.0)])
def test_the_share_in_trouble(troubled: int, fine: int, share: float) -> None:
    outage = Outage(0.0)
    _fail(outage, troubled, 50, at=0.5)
    for _ in range(fine):
        outage.hear(0.7)
    assert outage.share(1.0) == pytest.approx(share)
    assert outage.share(12.0) == 0.0


def test_silence_counts_from_the_first_trouble() -> None:
    clock = SilenceClock(0.0)
    assert clock.silent_s(100.0) == 0.0
    clock.troubled(100.0)
    clock.troubled(105.0)
    assert clock.silent_s(110.0) == 10.0
    clock.heard()
    assert clock.silent_s(111.0) == 0.0


def test_a_pause_does_not_count_as_silence() -> None:
    clock = SilenceClock(0.0)
    clock.troubled(0.0)
    clock.pause(5.0, paused=True)
    assert clock.silent_s(60.0) == 5.0
    clock.pause(100.0, paused=False)
    assert clock.silent_s(103.0) == 8.0


def test_a_wait_that_the_server_named_does_not_count_as_silence() -> None:
    clock = SilenceClock(0.0)
    clock.troubled(0.0)
    clock.named(2.0, 50.0)
    clock.named(3.0, 20.0)
    assert clock.silent_s(49.0) == 2.0
    assert clock.silent_s(53.0) == 5.0
