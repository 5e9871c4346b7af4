"""The pace against a simulated tenant: limits of every dress, sick rows, stray refusals and outages, in many seeds.

What is asserted is what the tenant saw, and what became of the rows: the limit is used, hardly anything is refused,
no rate decays, no run stands still, and no row is exhausted unless others were answered.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.pacing.simulated_tenant import (
    AtOnce,
    Bucket,
    Fixed,
    Leaky,
    Moving,
    Nothing,
    Tenant,
    call,
    legacy,
    retry_after,
)

from worker.model import Trouble
from worker.pacing.plan import RatePlan

AUTO = RatePlan(None, adaptive=True)
FROM_S = 20.0
CLOSED = Trouble.DISCONNECTED
DRESSES = [429, 503, 500, 502, 403, CLOSED, Trouble.CONNECT]


def _plan(per_s: float | None) -> RatePlan:
    return RatePlan(per_s, adaptive=True)


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("per_s", [None, 80.0])
@given(seed=st.integers(1, 1000), burst=st.sampled_from([3, 40, 100]))
@settings(max_examples=2, deadline=None)
def test_a_bucket_is_used_whatever_it_refuses_with(
    dress: int | Trouble, per_s: float | None, seed: int, burst: int
) -> None:
    seen = call(Tenant(Bucket(50, burst), dress), _plan(per_s), duration_s=60.0, seed=seed)
    assert seen.good(FROM_S, 60.0) >= 0.95 * 50 * 40
    assert seen.refused(FROM_S, 60.0) <= 0.01
    assert not seen.exhausted


@pytest.mark.parametrize(
    ("limit", "per_s"),
    [
        (lambda: Fixed(50, 1.0, first_hit=False), 50.0),
        (lambda: Moving(50, 1.0, counts_refused=True), 50.0),
        (lambda: Bucket(200, 100), 200.0),
        (lambda: Leaky(50, 20), 50.0),
    ],
    ids=["window", "moving", "fast", "queue"],
)
@pytest.mark.parametrize("dress", [429, 503, CLOSED])
@pytest.mark.parametrize("above", [None, 1.6])
def test_other_limits_are_used_too(
    limit: Callable[[], Bucket], per_s: float, dress: int | Trouble, above: float | None
) -> None:
    plan = _plan(None if above is None else above * per_s)
    seen = call(Tenant(limit(), dress), plan, duration_s=60.0, seed=2)
    assert seen.good(FROM_S, 60.0) >= 0.95 * per_s * 40
    assert seen.refused(FROM_S, 60.0) <= 0.01
    assert not seen.exhausted


@pytest.mark.parametrize("dress", [503, CLOSED])
@pytest.mark.parametrize("per_s", [None, 50.0])
def test_a_limit_of_calls_at_once_is_used(dress: int | Trouble, per_s: float | None) -> None:
    tenant = Tenant(AtOnce(4), dress, latency_s=0.2, varies=0.02)
    seen = call(tenant, _plan(per_s), duration_s=60.0)
    assert seen.good(FROM_S, 60.0) >= 0.93 * 20 * 40
    assert seen.refused(FROM_S, 60.0) <= 0.01
    assert not seen.exhausted


@pytest.mark.parametrize(
    ("quota", "window_s", "duration_s"), [(50, 1.0, 60.0), (500, 10.0, 60.0), (600, 60.0, 180.0)]
)
@pytest.mark.parametrize("first_hit", [True, False])
@pytest.mark.parametrize("above", [None, 1.6, 3.0])
def test_a_window_that_headers_do_not_name_is_worked_out(
    quota: int, window_s: float, duration_s: float, first_hit: bool, above: float | None
) -> None:
    per_s = quota / window_s
    tenant = Tenant(Fixed(quota, window_s, first_hit=first_hit), 429, legacy(quota))
    seen = call(tenant, _plan(None if above is None else above * per_s), duration_s=duration_s)
    assert seen.good(FROM_S, duration_s) >= 0.95 * per_s * (duration_s - FROM_S)
    assert seen.refused(FROM_S, duration_s) <= 0.01


@pytest.mark.parametrize("per_s", [30.0])
def test_a_window_of_a_minute_that_nothing_tells_is_found_by_asking(per_s: float | None) -> None:
    seen = call(Tenant(Fixed(600, 60.0)), _plan(per_s), duration_s=180.0)
    assert seen.good(0.0, 180.0) >= 0.9 * 1800
    assert seen.refused(0.0, 180.0) <= 0.02


@pytest.mark.parametrize("per_s", [None, 80.0])
def test_a_penalty_does_not_pin_the_rate(per_s: float | None) -> None:
    tenant = Tenant(Bucket(50, 50), 429, lambda word, _: {} if word.ok else {"Retry-After": "5"})
    seen = call(tenant, _plan(per_s), duration_s=60.0)
    assert seen.good(40.0, 60.0) >= 0.8 * 50 * 20
    assert seen.bad(0.0, 60.0) <= 5


@pytest.mark.parametrize("per_s", [None, 10.0])
def test_a_limiter_that_delays_is_not_driven_into_time_outs(per_s: float | None) -> None:
    seen = call(Tenant(Leaky(2, 40), 503), _plan(per_s), rows=120, duration_s=300.0)
    assert seen.ended_at <= 75.0
    assert not [at for at, _, kind in seen.calls if kind == Trouble.TIMEOUT and at > 15.0]
    assert not seen.exhausted


@pytest.mark.parametrize("dress", [429, 503, CLOSED])
@given(every_s=st.sampled_from([2.0, 5.0, 20.0]), seed=st.integers(1, 1000))
@settings(max_examples=2, deadline=None)
def test_stray_refusals_do_not_bring_the_rate_down(dress: int | Trouble, every_s: float, seed: int) -> None:
    tenant = Tenant(Nothing(), dress, stray_every_s=every_s)
    seen = call(tenant, _plan(50.0), duration_s=240.0, seed=seed)
    assert seen.good(120.0, 240.0) >= 0.85 * 50 * 120
    assert not seen.exhausted


@pytest.mark.parametrize("dress", [429, 503])
@given(seed=st.integers(1, 1000), share=st.sampled_from([0.01, 0.02]))
@settings(max_examples=2, deadline=None)
def test_a_share_of_refusals_that_does_not_depend_on_the_rate_does_not_make_it_decay(
    dress: int, seed: int, share: float
) -> None:
    tenant = Tenant(Nothing(), dress, stray_share=share, seed=seed)
    seen = call(tenant, _plan(50.0), duration_s=120.0, seed=seed)
    assert seen.good(60.0, 120.0) >= 0.3 * 50 * 60


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("sick", [lambda row: row == 7])
@given(seed=st.integers(1, 1000))
@settings(max_examples=1, deadline=None)
def test_sick_rows_end_and_slow_nobody_down(status: int, sick: Callable[[int], bool], seed: int) -> None:
    tenant = Tenant(Nothing(), sick=sick, sick_status=status, seed=seed)
    seen = call(tenant, _plan(50.0), rows=3000, duration_s=600.0, seed=seed)
    assert seen.ended_at < 400.0
    assert {row.number for row in seen.exhausted} == {row.number for row in seen.rows if sick(row.number)}
    assert all(row.done for row in seen.rows)


@pytest.mark.parametrize("limit", [Nothing, lambda: Bucket(50, 40)])
@pytest.mark.parametrize("per_s", [None, 80.0])
def test_an_outage_exhausts_no_row_and_the_rate_comes_back(
    limit: Callable[[], Nothing], per_s: float | None
) -> None:
    if limit is Nothing and per_s is None:
        return  # there is no rate to come back to
    tenant = Tenant(limit(), 503, outages=((20.0, 40.0),))
    seen = call(tenant, _plan(per_s), duration_s=120.0)
    assert not seen.exhausted
    assert seen.good(80.0, 120.0) >= 0.93 * 50 * 40


def test_a_retry_after_of_a_window_is_waited_for_and_the_quota_used() -> None:
    seen = call(Tenant(Fixed(500, 10.0), 429, retry_after), _plan(80.0), duration_s=90.0)
    assert seen.good(FROM_S, 90.0) >= 0.93 * 50 * 70
    assert seen.refused(FROM_S, 90.0) <= 0.01
