"""When a server counts as out, and when it is asked again."""

from __future__ import annotations

import math

import pytest

from worker.pacing.outage import LEAST_ATTEMPTS, OLDEST_S, WINDOW_S, Outage


def _see(outage: Outage, troubled: int, fine: int, *, at: float = 0.0, over_s: float = 1.0) -> bool:
    """Count attempts, fine ones first, evenly over a span; returns whether any opened or closed an outage."""
    outcomes = [False] * fine + [True] * troubled
    moments = (at + over_s * n / len(outcomes) for n in range(len(outcomes)))
    changes = [outage.see(now, troubled=bad, alone=False) for now, bad in zip(moments, outcomes, strict=True)]
    return any(changes)


@pytest.mark.parametrize(
    ("troubled", "fine", "out"),
    [(10, 10, True), (9, 11, False), (19, 0, False), (20, 0, True), (99, 101, False)],
)
def test_half_of_twenty_attempts_or_more_open_it(troubled: int, fine: int, *, out: bool) -> None:
    outage = Outage()
    assert _see(outage, troubled, fine) is out
    assert (outage.since is not None) is out


def test_attempts_older_than_ten_seconds_do_not_count() -> None:
    outage = Outage()
    assert not _see(outage, 15, 20)
    assert not _see(outage, 15, 20, at=WINDOW_S + 1.5)
    assert outage.since is None
    assert outage.share(WINDOW_S + 2.5) == pytest.approx(15 / 35)


def test_a_silent_server_is_out_however_few_connections_wait_for_it() -> None:
    """Eight attempts time out in each ten seconds: never twenty at once."""
    outage = Outage()
    opened = [outage.see(10.0 * (n // 8 + 1), troubled=True, alone=False) for n in range(LEAST_ATTEMPTS)]
    assert opened == [False] * (LEAST_ATTEMPTS - 1) + [True]


def test_where_calls_are_few_the_last_twenty_count_and_none_that_are_old() -> None:
    outage = Outage()
    assert not _see(outage, 15, 0, over_s=30.0)
    assert not _see(outage, 0, 16, at=40.0, over_s=32.0)
    assert outage.share(80.0) == pytest.approx(4 / 20)
    assert outage.share(80.0 + OLDEST_S) == 0.0


@pytest.mark.parametrize(("troubled", "fine", "share"), [(5, 95, 0.05), (0, 50, 0.0), (10, 9, 0.0)])
def test_the_share_in_trouble(troubled: int, fine: int, share: float) -> None:
    outage = Outage()
    _see(outage, troubled, fine)
    assert outage.share(1.0) == pytest.approx(share)


def _out() -> Outage:
    outage = Outage()
    assert _see(outage, LEAST_ATTEMPTS, 0)
    return outage


def test_answers_to_calls_from_before_change_nothing() -> None:
    outage = _out()
    probe_at = outage.probe_at
    assert not outage.see(1.0, troubled=False, alone=False)
    assert not outage.see(1.0, troubled=True, alone=True)
    assert (outage.since is not None, outage.probe_at) == (True, probe_at)


def test_probes_that_fail_come_ever_later_and_the_first_that_does_not_ends_it() -> None:
    outage, waits = _out(), []
    for _ in range(6):
        now = outage.probe_at
        outage.probing()
        assert outage.probe_at == math.inf
        assert not outage.see(now, troubled=True, alone=True)
        waits.append(outage.probe_at - now)
    assert waits == pytest.approx([2.0, 4.0, 8.0, 15.0, 15.0, 15.0])
    outage.probing()
    assert outage.see(500.0, troubled=False, alone=True)
    assert outage.since is None
    assert outage.share(500.0) == 0.0


def test_a_late_failure_of_before_is_not_taken_for_the_probes() -> None:
    outage = _out()
    outage.probing()
    assert not outage.see(3.0, troubled=True, alone=False)
    assert outage.probe_at == math.inf
    assert not outage.see(4.0, troubled=True, alone=True)
    assert outage.probe_at == 6.0


def test_a_probe_that_was_given_up_is_followed_by_another_at_once() -> None:
    outage = _out()
    outage.probing()
    outage.lost(9.0)
    assert outage.probe_at == 9.0
    outage.lost(11.0)
    assert outage.probe_at == 9.0
