"""Trouble that is no limiter's does not hold the pace down for long."""

from __future__ import annotations

import itertools
import random

import pytest
from multidict import CIMultiDict

from worker.model import Answer
from worker.pacing.governor import Governor
from worker.pacing.plan import RatePlan

OK = Answer(200, CIMultiDict(), b"")


def _calls_in(seconds: float, per_s: float, statuses: list[int], share: float) -> int:
    """Return how many calls a governor lets go while so large a share fails, whatever the pace."""
    governor = Governor(RatePlan(per_s, adaptive=True), 0.0, lambda: 1.8e9)
    drawn, rows = random.Random(7), itertools.count(1)
    now, calls = 0.0, 0
    while now < seconds:
        wait_s = governor.take(now)
        if wait_s > 0.0:
            now += min(wait_s, 1.0)
            continue
        calls += 1
        row = next(rows)
        fails = drawn.random() < share
        reply = Answer(drawn.choice(statuses), CIMultiDict(), b"") if fails else OK
        refused = governor.learn(reply, now + 0.002, alone=True, row=row, took_s=0.002, answered=not fails)
        if not fails:
            governor.hear(now + 0.002)
        elif not refused:
            governor.see_trouble(now, row, "trouble", pending=1000, foreign=False, alone=True)
    return calls


@pytest.mark.parametrize("share", [0.3, 0.5])
@pytest.mark.parametrize("per_s", [20.0, 200.0])
def test_several_kinds_of_trouble_at_once_are_no_limiters(per_s: float, share: float) -> None:
    assert _calls_in(30.0, per_s, [500, 502, 503, 504], share) > 0.3 * per_s * 30.0


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_one_kind_that_does_not_become_rarer_is_tested_for_a_while_alone(share: float) -> None:
    assert _calls_in(120.0, 50.0, [500], share) > 0.3 * 50.0 * 120.0
