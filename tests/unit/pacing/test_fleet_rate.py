"""A worker's part of a fleet's rate: slots on a clock of numbers, what holds them, and what it does alone."""

from __future__ import annotations

import math

import msgspec
import pytest
from multidict import CIMultiDict
from unit.pacing.store_stand_in import Store, World

from worker.model import Answer
from worker.pacing.fleet import FleetRate
from worker.pacing.leading import Lead
from worker.pacing.plan import RatePlan
from worker.pacing.reserved import LATE_S, ReservedSlots, ServerClock
from worker.sharing import ABSENT_S, Found, Grant

FIXED = RatePlan(100.0, adaptive=True)


def rate(*, workers: int = 1, plan: RatePlan = FIXED) -> FleetRate:
    """Return the part of a worker that knows the store's clock: five hundred seconds ahead of its own."""
    fleet = FleetRate(plan, workers=workers, worker="a", now=10.0)
    for _ in range(5):
        fleet._clock.see(10.0, 10.0, 510.0)
    return fleet


def share_in(store: Store, fleet: FleetRate, now: float, line: int = 10, **other: object) -> Grant:
    ask = fleet.ask(now, line)
    grant = msgspec.structs.replace(store.reserve(ask, now + 500.0), **other)
    fleet.granted(ask, grant, now)
    return grant


def test_a_slot_is_used_when_it_is_due_and_lost_when_it_was_missed() -> None:
    slots = ReservedSlots()
    slots.add(10.0, 0.5, 3)
    assert slots.next_in(9.5) == 0.5
    assert slots.next_in(10.0 + LATE_S) == 0.0
    slots.use()
    assert slots.next_in(10.52) == pytest.approx(0.48)  # the second one was missed
    assert slots.next_in(11.1) == math.inf


def test_a_slot_that_nobody_used_is_there_again_once_and_until_it_is_missed() -> None:
    slots = ReservedSlots()
    slots.add(10.0, 0.5, 3)
    slots.use()
    slots.put_back()
    slots.put_back()
    assert slots.next_in(10.0) == 0.0
    slots.use()
    slots.put_back()
    assert slots.next_in(10.1) == pytest.approx(0.4)
    assert len(slots) == 2


@pytest.mark.parametrize("late_s", [0.0001, 0.004, 0.05])
def test_a_servers_clock_is_known_as_well_as_the_quickest_answer_tells(late_s: float) -> None:
    clock = ServerClock()
    for n in range(2000):
        slow_s = 0.2 if n % 3 != 1 else late_s
        before = clock.here(5000.0)
        clock.see(n / 10, n / 10 + slow_s, 5000.0 + n / 10)
        assert n < 5 or before - clock.here(5000.0) < 0.0021 * 0.4  # slots never move much to earlier moments
    assert clock.here(5030.0) == pytest.approx(30.0 + late_s, abs=3e-4)


@pytest.mark.parametrize("jump_s", [-3600.0, -1.0, 0.1, 1.1, 3600.0])
def test_a_servers_clock_that_was_set_is_noticed_with_the_next_answer(jump_s: float) -> None:
    clock = ServerClock()
    clock.see(1.0, 1.002, 5001.001)
    assert not clock.see(1.5, 1.502, 5001.501)
    assert clock.see(2.0, 2.002, 5002.001 + jump_s)
    assert clock.here(5002.001 + jump_s) == pytest.approx(2.002)


def test_first_answers_that_all_came_late_are_not_believed_for_long() -> None:
    clock = ServerClock()
    for n in range(5):
        clock.see(n / 10, n / 10 + 0.2, 5000.0 + n / 10)
    for n in range(5, 10):
        clock.see(n / 10, n / 10 + 0.002, 5000.0 + n / 10)
    assert clock.is_known
    assert clock.here(5030.0) == pytest.approx(30.002, abs=1e-3)


def test_slots_that_were_told_by_a_clock_that_was_set_are_given_up() -> None:
    fleet, store = rate(), Store(100.0)
    share_in(store, fleet, 10.0)
    assert fleet.take(10.0) == 0.0
    ask = fleet.ask(10.01, 10)
    fleet.granted(ask, store.reserve(ask, 511.0), 10.01)
    assert fleet.take(10.02) == math.inf


@pytest.mark.parametrize(("per_s", "workers"), [(20.0, 1), (50.0, 4)])
def test_a_store_that_becomes_slow_slows_the_fleet_and_does_not_stop_it(per_s: float, workers: int) -> None:
    world = World(per_s, workers, 1)
    world.run(3.0)
    world.latency_s = 0.3
    calls = [at for at, _ in world.run(13.0)]
    assert sum(8.0 < at < 13.0 for at in calls) > 5.0 * per_s * 0.4


@pytest.mark.parametrize("step_s", [0.3, 0.9])
def test_a_clock_of_the_stores_that_is_set_forward_a_little_costs_hardly_a_slot(step_s: float) -> None:
    world = World(50.0, 4, 1)
    world.run(3.0)
    world.set_by_s = step_s
    calls = [at for at, _ in world.run(6.0)]
    assert len(calls) > 3.0 * 50.0 * 0.9


def test_who_does_not_know_the_stores_clock_yet_asks_for_no_slot() -> None:
    fleet, store = FleetRate(FIXED, workers=1, worker="a", now=10.0), Store(100.0)
    for n in range(5):
        now = 10.0 + n / 100
        assert fleet.due_s(now, 10) == 0.0
        assert share_in(store, fleet, now).slots == 0
    assert share_in(store, fleet, 10.05).slots == 8


def test_it_asks_for_as_many_as_it_can_use_and_holds_few() -> None:
    fleet, store = rate(), Store(100.0)
    assert share_in(store, fleet, 10.0, line=3).slots == 3
    assert fleet.ask(10.0, 50).slots == 5  # eight are eighty milliseconds
    assert fleet.ask(10.0, 0).slots == 0


def test_who_has_no_call_to_make_asks_once_a_second_and_who_has_asks_often() -> None:
    fleet, store = rate(), Store(100.0)
    assert fleet.due_s(10.0, 0) == 0.0
    share_in(store, fleet, 10.0, line=8)
    assert fleet.due_s(10.0, 0) == 1.0
    assert fleet.due_s(10.0, 8) == pytest.approx(0.025)
    slow, store = rate(plan=RatePlan(0.5, adaptive=True)), Store(0.5)
    share_in(store, slow, 10.0)
    assert slow.take(10.0) == 0.0
    share_in(store, slow, 10.0)
    assert slow.due_s(10.0, 8) == 1.0  # its slot is two seconds away
    assert slow.due_s(11.0, 8) == 0.0
    share_in(store, slow, 11.9)
    assert slow.due_s(11.9, 8) == pytest.approx(0.025)


def test_who_was_refused_tells_it_at_once_and_uses_no_slot_more() -> None:
    fleet, store = rate(), Store(100.0)
    share_in(store, fleet, 10.0)
    fleet.throttled(10.01, 15.0)
    assert fleet.take(10.01) == math.inf
    assert fleet.due_s(10.01, 0) == 0.0
    ask = fleet.ask(10.01, 0)
    assert (ask.refused, ask.cool_down_s) == (1, pytest.approx(4.99))
    grant = store.reserve(ask, 510.01)
    assert fleet.granted(ask, grant, 10.01) == pytest.approx(4.99)
    assert (
        fleet.ask(10.02, 0).cool_down_s == 0.0
    )  # it is not told twice: the way would make it longer each time


def test_who_hears_of_a_cool_down_gives_its_slots_up() -> None:
    store = Store(100.0)
    first, second = rate(), rate()
    share_in(store, second, 10.0)
    first.throttled(10.0, 12.0)
    share_in(store, first, 10.0, line=0)
    assert second.take(10.0) == 0.0  # it has not heard
    ask = second.ask(10.025, 5)
    assert second.granted(ask, store.reserve(ask, 510.025), 10.025) == pytest.approx(1.975)
    assert second.take(10.03) == math.inf


def test_who_hears_of_a_cool_down_when_it_is_over_gives_up_what_it_held_before() -> None:
    slow, store = RatePlan(0.5, adaptive=True), Store(0.5)
    first, second = rate(plan=slow), rate(plan=slow)
    share_in(store, first, 10.0)
    share_in(store, second, 10.0)
    first.throttled(10.1, 10.3)
    share_in(store, first, 10.1)
    share_in(store, first, 10.4)  # slots at 10.4 and 12.4
    assert second.take(10.5) == pytest.approx(3.5, abs=0.01)
    share_in(store, second, 11.0)
    share_in(store, second, 11.0)
    assert second.take(11.0) == pytest.approx(3.4, abs=0.01)  # after those of the first one


def test_who_hears_nothing_keeps_to_its_share_once_the_others_do_without_it() -> None:
    fleet, store = rate(workers=4), Store(100.0)
    share_in(store, fleet, 10.0, workers=3)
    fleet.lost(10.0)
    assert fleet.rate_per_s == 25.0
    assert fleet.take(10.0) == pytest.approx(ABSENT_S + 1 / 25)
    assert fleet.ask(10.5, 10).slots == 0
    assert fleet.due_s(10.5, 10) == 1.0  # it asked a moment ago, when it was alone for long


def test_the_share_is_of_those_who_were_counted_last_if_they_are_more() -> None:
    fleet, store = rate(workers=4), Store(100.0)
    share_in(store, fleet, 10.0, workers=10)
    fleet.lost(10.0)
    assert fleet.rate_per_s == 10.0
    assert fleet.ask(11.0, 10).expected == 10


def test_who_comes_back_has_no_slot_before_the_one_that_its_share_would_have() -> None:
    fleet, store = rate(workers=4), Store(100.0)
    share_in(store, fleet, 10.0)
    fleet.lost(10.0)
    assert fleet.take(13.5) == 0.0
    assert share_in(store, fleet, 13.5).slots == 0
    assert fleet.due_s(13.53, 10) == 0.0
    ask = fleet.ask(13.53, 10)
    assert (ask.slots, ask.expected) == (0, 0)
    assert fleet.due_s(13.54, 10) == 0.0
    assert fleet.ask(13.54, 10).slots == 8


def test_who_comes_back_before_its_share_began_waits_for_the_slots_that_it_gave_up_alone() -> None:
    fleet, store = rate(workers=4), Store(100.0)
    share_in(store, fleet, 10.0)
    fleet.lost(10.0)
    share_in(store, fleet, 10.03)
    assert fleet.ask(10.11, 10).slots == 0
    assert fleet.ask(10.13, 10).slots == 8  # and not when its share would have begun


def test_the_slots_of_the_others_do_not_wait_for_one_that_comes_back() -> None:
    slow, store = RatePlan(1.0, adaptive=True), Store(1.0)
    lost, other = rate(workers=4, plan=slow), rate(workers=4, plan=slow)
    share_in(store, lost, 10.0)
    lost.lost(10.0)
    share_in(store, lost, 13.0)  # its share would have had its next slot at 18
    share_in(store, lost, 13.1)
    assert 1.0 <= lost.due_s(13.1, 10) + 0.1 <= 1.1  # there is no hurry
    share_in(store, other, 13.1)
    assert other.take(13.1) == 0.0


def test_a_refusal_is_learnt_from_while_alone_too_and_told_when_it_is_back() -> None:
    fleet, store = rate(), Store(100.0)
    fleet.lost(10.0)
    now = 10.0
    for _ in range(50):
        now += fleet.take(now)
        fleet.accepted(now)
    fleet.throttled(now, now + 30.0)
    assert fleet.rate_per_s < 80.0
    ask = fleet.ask(now, 0)
    assert (ask.refused, ask.cool_down_s) == (1, pytest.approx(30.0))
    assert fleet.granted(ask, store.reserve(ask, now + 500.0), now) == pytest.approx(30.0)


def test_what_was_let_through_and_refused_long_ago_while_alone_is_not_told() -> None:
    fleet, store = rate(), Store(100.0)
    fleet.lost(10.0)
    fleet.accepted(20.0)
    fleet.throttled(20.0, 21.0)
    share_in(store, fleet, 21.0)
    ask = fleet.ask(21.1, 1)
    assert (ask.accepted, ask.refused, store._refused) == (0, 0, 0)
    fleet.accepted(21.2)
    assert fleet.ask(21.3, 1).accepted == 1


def test_a_rate_below_the_fleets_holds_this_worker_to_its_part() -> None:
    fleet, store = rate(), Store(100.0)
    share_in(store, fleet, 10.0, present=4)
    fleet.set_rate(40.0)
    made, now = 0, 10.0
    while now < 12.0:
        share_in(store, fleet, now, present=4)
        made += fleet.take(now) == 0.0
        now += 0.001
    assert made == pytest.approx(20, abs=1)


def _lead(grant: Grant, *, rounds: int, refused: int = 0) -> Found:
    lead = Lead(grant, 10.0)
    for n in range(1, rounds + 1):
        grant = msgspec.structs.replace(
            grant, accepted=grant.accepted + int(lead.found.rate_per_s * 0.05), refused=refused
        )
        lead.learn(grant, 10.0 + n * 0.05, 0.0)
    return lead.found


def test_who_leads_goes_on_from_what_was_found() -> None:
    grant = Store(1000.0).reserve(rate().ask(10.0, 1), 500.0)
    found = Found(80.0, 3)
    grant = msgspec.structs.replace(grant, ceiling_per_s=None, found=found, accepted=7_000, refused=5)
    assert _lead(grant, rounds=40, refused=5) == found
    looking = msgspec.structs.replace(grant, found=Found(80.0, None))
    assert _lead(looking, rounds=40, refused=5).rate_per_s > 1000.0
    raised = msgspec.structs.replace(grant, ceiling_per_s=200.0, found=Found(80.0, None))
    assert _lead(raised, rounds=1, refused=5) == Found(
        200.0, None
    )  # nothing was found: another rate was told


def test_who_leads_gives_way_when_any_worker_was_refused_and_to_a_limit_that_the_server_names() -> None:
    grant = Store(100.0).reserve(rate().ask(10.0, 1), 500.0)
    assert _lead(grant, rounds=20) == Found(100.0, None)
    assert _lead(grant, rounds=20, refused=1).rate_per_s < 100.0
    named = msgspec.structs.replace(grant, told_per_s=30.0)
    assert _lead(named, rounds=1).rate_per_s == pytest.approx(29.4)


def test_a_429_that_one_met_holds_all_until_it_is_over() -> None:
    met: list[float] = []

    def answer(at: float, name: str) -> Answer | None:
        if at < 1.0 or met:
            return None
        met.append(at)
        return Answer(429, CIMultiDict({"Retry-After": "2"}), b"")

    calls = [at for at, _ in World(200.0, 4, 1, answer=answer).run(5.0)]
    [at] = met
    after = [each - at for each in calls if each > at]
    assert not [each for each in after if 0.05 < each < 1.99]
    assert after[-1] > 2.5
