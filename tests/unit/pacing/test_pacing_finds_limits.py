"""The pace against hidden limits, in simulated time: what the server saw of a client with endless rows."""

from __future__ import annotations

import pytest
from unit.pacing.hidden_limits import simulate

from worker.pacing.plan import RatePlan
from worker.sandbox.options import HeaderForm, Limit, LimitKind

AUTO = RatePlan(None, adaptive=True)
UNDER_1500 = RatePlan(1_500.0, adaptive=True)


@pytest.mark.parametrize("plan", [AUTO, UNDER_1500], ids=["auto", "ceiling"])
@pytest.mark.parametrize("told", ["none", HeaderForm.RETRY_AFTER_SECONDS, HeaderForm.RATELIMIT_DRAFT])
@pytest.mark.parametrize("kind", [LimitKind.TOKEN_BUCKET, LimitKind.FIXED_WINDOW])
@pytest.mark.parametrize("requests", [40, 200])
def test_a_limit_of_a_second_is_used_well_and_hardly_ever_passed(
    plan: RatePlan, told: str, kind: LimitKind, requests: int
) -> None:
    headers = () if told == "none" else (HeaderForm(told),)
    seen = simulate(plan, Limit(kind=kind, requests=requests, headers=headers), seed=3, phase_s=0.3)
    used = seen.accepted(10.0, 60.0) / (50 * requests)
    refused = seen.throttled(10.0, 60.0) / (50 * requests)
    assert used >= 0.95
    assert refused <= 0.01


@pytest.mark.parametrize("phase", range(12))
def test_a_small_window_is_used_well_wherever_in_it_the_first_call_falls(phase: int) -> None:
    """Each refusal costs a fortieth of what is measured: a limit must be found by few."""
    limit = Limit(kind=LimitKind.FIXED_WINDOW, requests=40, headers=(HeaderForm.RETRY_AFTER_SECONDS,))
    seen = simulate(AUTO, limit, seed=phase, latency_s=0.004, phase_s=phase / 12)
    assert seen.accepted(10.0, 60.0) / 2_000 >= 0.95
    assert seen.throttled(10.0, 60.0) <= 3


@pytest.mark.parametrize("kind", [LimitKind.TOKEN_BUCKET, LimitKind.FIXED_WINDOW])
def test_a_limit_of_a_minute_is_found_too(kind: LimitKind) -> None:
    limit = Limit(kind=kind, requests=600, per_s=60.0, headers=(HeaderForm.RETRY_AFTER_SECONDS,))
    seen = simulate(AUTO, limit, duration_s=600.0, latency_s=0.02)
    assert seen.accepted(300.0, 600.0) / 3_000 >= 0.95
    assert seen.throttled(300.0, 600.0) <= 30


def test_a_ceiling_below_the_limit_is_kept_to_without_a_429() -> None:
    seen = simulate(RatePlan(25.0, adaptive=True), Limit(requests=40))
    assert seen.throttled(0.0, 60.0) == 0
    assert seen.accepted(0.0, 60.0) == pytest.approx(25 * 60, abs=2)


def test_a_limit_that_was_raised_is_found_again() -> None:
    seen = simulate(AUTO, Limit(requests=40), then=(60.0, Limit(requests=80)), duration_s=900.0)
    assert seen.accepted(840.0, 900.0) / 60 > 70
    assert seen.throttled(60.0, 900.0) <= 0.005 * seen.accepted(60.0, 900.0)


def test_a_limit_that_was_lowered_is_found_again() -> None:
    seen = simulate(AUTO, Limit(requests=200), then=(30.0, Limit(requests=50)), duration_s=90.0)
    assert seen.accepted(60.0, 90.0) / 30 >= 0.93 * 50
    assert seen.throttled(60.0, 90.0) <= 0.02 * 30 * 50


def test_the_simulation_has_a_limit_to_find() -> None:
    """Guards the tests above: without giving way the same server would refuse most calls."""
    seen = simulate(RatePlan(None, adaptive=False), Limit(requests=40), duration_s=5.0, concurrency=4)
    assert seen.throttled(0.0, 5.0) > seen.accepted(0.0, 5.0) / 20
