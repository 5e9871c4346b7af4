"""What is seen after the sandbox was held up may have come at any moment of it."""

from __future__ import annotations

import pytest

from worker.sandbox.pulse import Pulse


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def beating(clock: Clock, until: float) -> Pulse:
    pulse = Pulse(clock)
    while clock.now < until:
        clock.now += 0.005
        pulse.beat()
    return pulse


def test_what_is_seen_while_it_beats_came_just_now() -> None:
    pulse = beating(clock := Clock(), 101.0)
    clock.now += 0.004
    assert pulse.look() == (clock.now, clock.now)


@pytest.mark.parametrize("beats_first", [False, True], ids=["a request first", "a beat first"])
def test_what_is_seen_after_a_hold_up_came_at_any_moment_of_it(beats_first: bool) -> None:
    pulse = beating(clock := Clock(), 101.0)
    began, clock.now = clock.now, clock.now + 0.4
    if beats_first:
        pulse.beat()
    for _ in range(20):
        assert pulse.look() == (began, clock.now)
        clock.now += 0.001


def test_what_is_seen_some_time_after_it_came_after_it() -> None:
    pulse = beating(clock := Clock(), 101.0)
    clock.now += 0.4
    for _ in range(7):
        pulse.beat()
        clock.now += 0.005
    assert pulse.look() == (clock.now, clock.now)


def test_two_hold_ups_with_hardly_a_beat_between_them_are_one() -> None:
    pulse = beating(clock := Clock(), 101.0)
    began = clock.now
    for _ in range(2):
        clock.now += 0.2
        pulse.beat()
    assert pulse.look() == (began, clock.now)


def test_who_is_held_up_all_the_time_still_tells_about_when_it_was() -> None:
    pulse = beating(clock := Clock(), 101.0)
    for _ in range(100):
        clock.now += 0.02
        pulse.beat()
    since, seen = pulse.look()
    assert seen - since == pytest.approx(0.12)  # not two seconds, in which no rate could be told


def test_neither_moment_ever_goes_back() -> None:
    pulse = beating(clock := Clock(), 101.0)
    clock.now += 0.004
    seen = pulse.look()
    clock.now += 0.4
    assert pulse.look() == (seen[0], clock.now)
