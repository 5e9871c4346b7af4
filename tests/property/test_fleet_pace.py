"""Promise 4 for a fleet: no second holds more than the rate and one, however long the ways are and who is held up."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.pacing.store_stand_in import World

RATES = st.sampled_from([4.0, 20.0, 50.0, 100.0, 300.0])


def most_in_a_second(times: Sequence[float]) -> int:
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0 + 1e-9:
            first += 1
        most = max(most, last - first + 1)
    return most


@settings(max_examples=25)
@given(
    per_s=RATES,
    workers=st.integers(1, 5),
    seed=st.integers(0, 10**6),
    stall_s=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_no_second_holds_more_than_the_rate_and_one(
    per_s: float, workers: int, seed: int, stall_s: float
) -> None:
    calls = World(per_s, workers, seed, stall_s=stall_s).run(3.0)
    assert most_in_a_second([at for at, _ in calls]) <= max(per_s + 1, per_s * 1.02)
    if stall_s == 0.0:
        assert len(calls) >= math.floor(2.9 * per_s)


@settings(max_examples=25)
@given(
    per_s=RATES,
    workers=st.integers(1, 5),
    seed=st.integers(0, 10**6),
    away_s=st.sampled_from([1.0, 3.0]),
    wipe=st.booleans(),
)
def test_nor_does_one_in_which_the_store_goes_or_comes_back(
    per_s: float, workers: int, seed: int, away_s: float, *, wipe: bool
) -> None:
    """Each worker alone is allowed the one more that a share begins with: they do not know of each other."""
    calls = World(per_s, workers, seed, away=(1.0, 1.0 + away_s), wipe=wipe).run(4.0 + away_s)
    assert most_in_a_second([at for at, _ in calls]) <= max(per_s, per_s * 1.01) + workers


@settings(max_examples=10)
@given(per_s=RATES, workers=st.integers(2, 5), seed=st.integers(0, 10**6), at_s=st.floats(3.0, 4.0))
def test_nor_does_one_in_which_the_store_forgets_and_is_there_all_the_time(
    per_s: float, workers: int, seed: int, at_s: float
) -> None:
    """Each worker is allowed what it may do before it asks again: two of the slots that it holds."""
    world = World(per_s, workers, seed)
    calls = world.run(at_s)
    world.wipe_now()
    calls += world.run(at_s + 4.0)
    assert most_in_a_second([at for at, _ in calls]) <= max(per_s + 1, per_s * 1.02) + workers
    assert sum(at > at_s + 2.0 for at, _ in calls) > per_s
