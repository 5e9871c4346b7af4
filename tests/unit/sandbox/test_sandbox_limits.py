"""The hidden limits' arithmetic, on a clock that the test holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.sandbox.limits import admit, make_limiter
from worker.sandbox.options import Limit, LimitKind
from worker.sandbox.record import most_in_window


def _passed(limit: Limit, times_s: list[float]) -> list[float]:
    limiter = make_limiter(limit, times_s[0] if times_s else 0.0)
    return [now for now in times_s if admit([limiter], now)[0].wait_s == 0.0]


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    limit = Limit(kind=LimitKind.TOKEN_BUCKET, requests=10, burst=3)
    assert len(_passed(limit, [0.0] * 5)) == 3
    every_ms = [n / 1000 for n in range(10_000)]
    assert len(_passed(limit, every_ms)) in {102, 103}


def test_a_bucket_tells_how_long_until_the_next_token() -> None:
    limiter = make_limiter(Limit(requests=4, burst=1), 100.0)
    assert admit([limiter], 100.0)[0].wait_s == 0.0
    refused = admit([limiter], 100.1)[0]
    assert refused.wait_s == pytest.approx(0.15)
    assert refused.remaining == 0
    assert refused.reset_s == pytest.approx(0.15)
    assert admit([limiter], 100.25)[0].wait_s == 0.0


def test_an_idle_bucket_holds_no_more_than_its_burst() -> None:
    limiter = make_limiter(Limit(requests=10, burst=2), 0.0)
    passed = [admit([limiter], 1000.0)[0].wait_s == 0.0 for _ in range(4)]
    assert passed == [True, True, False, False]


def test_a_fixed_window_begins_anew_at_its_border() -> None:
    limit = Limit(kind=LimitKind.FIXED_WINDOW, requests=2, per_s=10.0)
    assert _passed(limit, [8.0, 9.0, 9.9, 10.0, 10.1, 10.2]) == [8.0, 9.0, 10.0, 10.1]


def test_a_fixed_window_waits_for_its_border() -> None:
    limiter = make_limiter(Limit(kind=LimitKind.FIXED_WINDOW, requests=1, per_s=10.0), 0.0)
    admit([limiter], 13.0)
    refused = admit([limiter], 14.0)[0]
    assert (refused.wait_s, refused.reset_s, refused.remaining) == (6.0, 6.0, 0)


def test_a_sliding_window_waits_for_its_oldest() -> None:
    limiter = make_limiter(Limit(kind=LimitKind.SLIDING_WINDOW, requests=2, per_s=10.0), 0.0)
    admit([limiter], 5.0)
    second = admit([limiter], 8.0)[0]
    assert (second.remaining, second.reset_s) == (0, 10.0)
    assert admit([limiter], 9.0)[0].wait_s == 6.0
    assert admit([limiter], 15.0)[0].wait_s == 0.0


def test_a_request_that_one_limit_refuses_costs_the_others_nothing() -> None:
    wide = make_limiter(Limit(kind=LimitKind.SLIDING_WINDOW, requests=3, per_s=100.0), 0.0)
    narrow = make_limiter(Limit(kind=LimitKind.SLIDING_WINDOW, requests=1, per_s=1.0), 0.0)
    admit([wide, narrow], 0.0)
    for _ in range(5):
        assert any(standing.wait_s > 0 for standing in admit([wide, narrow], 0.5))
    assert wide.standing(0.6).remaining == 2


@settings(max_examples=100, deadline=None)
@given(
    requests=st.integers(1, 5),
    gaps=st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.3, 1.0, 1.7]), min_size=1, max_size=60),
)
def test_a_sliding_window_never_lets_more_than_its_limit_through(requests: int, gaps: list[float]) -> None:
    times, now = [], 0.0
    for gap in gaps:
        now += gap
        times.append(now)
    passed = _passed(Limit(kind=LimitKind.SLIDING_WINDOW, requests=requests), times)
    assert passed[0] == times[0]
    # Both sides subtract floats, so times exactly a window apart may fall on either side of its border.
    assert most_in_window(passed, 1.0 - 1e-6) <= requests


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(LimitKind),
    gaps=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60),
)
def test_after_the_wait_it_told_a_request_passes(kind: LimitKind, gaps: list[float]) -> None:
    limiter = make_limiter(Limit(kind=kind, requests=2, per_s=1.5), 0.0)
    now = 0.0
    for gap in gaps:
        now += gap
        wait_s = admit([limiter], now)[0].wait_s
        if wait_s > 0.0:
            now += wait_s + 1e-6
            assert admit([limiter], now)[0].wait_s == 0.0
