"""What refusals tell of a server that counts by the second."""

from __future__ import annotations

import pytest

from worker.pacing.window import SecondsLimit


def _refusal(limit: SecondsLimit, from_s: float, per_s: float, window_at: float, quota: int) -> float:
    """Call at an even pace until a server whose seconds begin at `window_at` refuses; return when it does."""
    now, window, count = from_s, -1, 0
    while True:
        now += 1.0 / per_s
        present = int(now - window_at)
        window, count = (window, count + 1) if present == window else (present, 1)
        if count > quota:
            return now
        limit.accepted(now)


def test_one_refusal_tells_nothing_yet() -> None:
    limit = SecondsLimit()
    assert limit.refused(_refusal(limit, 5.0, 90.0, 0.3, 40)) is None


@pytest.mark.parametrize("window_at", [0.0, 0.25, 0.613, 0.99])
@pytest.mark.parametrize("quota", [40, 200, 1_000])
def test_refusals_at_other_points_of_a_second_tell_the_limit(window_at: float, quota: int) -> None:
    limit = SecondsLimit()
    guess = None
    at = 4.1
    for too_fast in (2.0, 1.2, 1.04):
        at = _refusal(limit, at + 1.0, quota * too_fast, window_at, quota)
        guess = limit.refused(at)
    assert guess is not None
    assert guess.spread < 1.5
    assert guess.likely == pytest.approx(quota, rel=0.03)
    assert guess.cautious <= guess.likely


def test_refusals_that_no_such_limit_explains_tell_nothing_and_are_forgotten() -> None:
    limit = SecondsLimit()
    limit.refused(_refusal(limit, 5.0, 80.0, 0.0, 40))
    at = _refusal(limit, 8.0, 400.0, 0.0, 200)  # the limit was raised
    assert limit.refused(at) is None
    for too_fast in (1.3, 1.05):
        at = _refusal(limit, at + 1.0, 200.0 * too_fast, 0.0, 200)
        guess = limit.refused(at)
    assert guess is not None
    assert guess.likely == pytest.approx(200, rel=0.05)


def test_what_went_too_fast_to_be_remembered_tells_nothing() -> None:
    limit = SecondsLimit()
    for _ in range(2):
        for call in range(6_000):
            limit.accepted(10.0 + call / 10_000)
        assert limit.refused(10.6) is None
