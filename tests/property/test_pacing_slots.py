"""Promise 4, whatever the rate and however late the caller: no second holds more than the rate plus one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pacing.schedule import CATCH_UP_S, Schedule

LATENESS = st.lists(st.sampled_from([0.0, 1e-4, 1e-3, 3e-3, 0.02, 0.5, 3.0]), min_size=1, max_size=40)


def _times(rate: float, lateness: Sequence[float], count: int) -> list[float]:
    """Return when `count` calls go of a caller that is late for its slots by turns."""
    schedule, now, times = Schedule(rate), 0.0, []
    while len(times) < count:
        wait_s = schedule.take(now)
        if wait_s == 0.0:
            times.append(now)
        else:
            now += wait_s + lateness[len(times) % len(lateness)]
    return times


def _most_in_a_second(times: Sequence[float]) -> int:
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@given(rate=st.integers(1, 2_000), lateness=LATENESS)
def test_no_second_holds_more_than_the_rate_and_one(rate: int, lateness: list[float]) -> None:
    most = _most_in_a_second(_times(rate, lateness, 2 * rate + 20))
    assert most <= max(rate + 1, rate * 1.01)


@given(rate=st.floats(0.05, 2_000), lateness=LATENESS)
def test_a_rate_that_is_no_whole_number_keeps_the_bound_that_is_documented(
    rate: float, lateness: list[float]
) -> None:
    most = _most_in_a_second(_times(rate, lateness, int(2 * rate) + 20))
    assert most <= math.floor((1 + CATCH_UP_S) * rate + 1e-6) + 1


@given(rate=st.floats(1, 500), late_s=st.floats(0, CATCH_UP_S * 0.9))
def test_a_caller_that_is_late_by_less_than_timers_are_loses_nothing(rate: float, late_s: float) -> None:
    times = _times(rate, [late_s], 200)
    assert math.isclose(times[-1] - times[0], 199 / rate, abs_tol=CATCH_UP_S + 1e-6)


@given(
    rate=st.integers(1, 500), passed_on=st.lists(st.booleans(), min_size=1, max_size=20), lateness=LATENESS
)
def test_turns_that_are_passed_on_move_nothing(
    rate: int, passed_on: list[bool], lateness: list[float]
) -> None:
    """Those who have nothing to call pass their turns on, some together, before the one who calls has it."""
    schedule, now, times = Schedule(rate), 0.0, []
    for n in range(4 * rate + 40):
        wait_s = schedule.take(now)
        if wait_s > 0.0:
            now += wait_s + lateness[n % len(lateness)]
        elif passed_on[n % len(passed_on)]:
            schedule.put_back()
            now += 1e-5
        else:
            times.append(now)
    assert _most_in_a_second(times) <= max(rate + 1, rate * 1.01)


@given(rates=st.lists(st.floats(1, 200), min_size=2, max_size=10))
def test_another_rate_holds_from_the_last_slot_on(rates: list[float]) -> None:
    schedule, now = Schedule(rates[0]), 100.0
    assert schedule.take(now) == 0.0
    for rate in rates[1:]:
        schedule.set_rate(rate)
        wait_s = schedule.take(now)
        assert 1 / rate - CATCH_UP_S - 1e-9 <= wait_s <= 1 / rate + 1e-9
        now += wait_s + 1e-9
        assert schedule.take(now) == 0.0


def test_a_rate_between_without_an_end_to_its_slots_forgets_none() -> None:
    """One by it is infinite, and the difference of two infinities would be no number: no limit ever after."""
    schedule = Schedule(10.0)
    assert schedule.take(5.0) == 0.0
    schedule.set_rate(5e-324)
    assert schedule.take(50.0) == math.inf
    schedule.set_rate(10.0)
    assert schedule.take(5.05) == pytest.approx(0.05 - CATCH_UP_S)


def test_no_limit_lets_everybody_go() -> None:
    schedule = Schedule(None)
    assert [schedule.take(5.0) for _ in range(1_000)] == [0.0] * 1_000
