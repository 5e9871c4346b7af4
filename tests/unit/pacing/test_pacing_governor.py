"""Rate, cool-down, outage and pause in one, on a clock of numbers."""

from __future__ import annotations

import math

import pytest
from multidict import CIMultiDict

from worker.model import Answer, Reply
from worker.pacing.governor import Governor
from worker.pacing.plan import RatePlan
from worker.pacing.schedule import CATCH_UP_S

FIXED = RatePlan(100.0, adaptive=True)
AUTO = RatePlan(None, adaptive=True)
UNLIMITED = RatePlan(None, adaptive=False)
OK = Answer(200, CIMultiDict(), b"")
ERROR = Answer(503, CIMultiDict(), b"")


def _governor(plan: RatePlan = FIXED) -> Governor:
    return Governor(plan, 0.0, lambda: 1_800_000_000.0)


def _refusal(retry_after: str | None = None) -> Answer:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Answer(429, CIMultiDict(headers), b"")


def _go(governor: Governor, reply: Reply, *, from_s: float, to_s: float) -> float:
    """Take every turn in a span, each answered at once with `reply`; returns turns a second."""
    now, turns = from_s, 0
    while now < to_s:
        wait_s = governor.take(now)
        if wait_s == 0.0:
            governor.learn(reply, now, alone=False)
            turns += 1
        now += max(wait_s, 1e-4)
    return turns / (to_s - from_s)


def test_a_429_holds_everybody_for_as_long_as_it_asks() -> None:
    governor = _governor()
    governor.learn(_refusal("5"), 10.0, alone=False)
    assert governor.take(10.0) == 5.0
    assert governor.take(14.0) == 1.0
    assert governor.take(15.0) == 0.0


def test_the_end_of_a_cool_down_only_ever_moves_later() -> None:
    governor = _governor()
    governor.learn(_refusal("5"), 10.0, alone=False)
    governor.learn(_refusal("1"), 11.0, alone=False)
    governor.learn(_refusal(), 12.0, alone=False)
    assert governor.take(12.0) == 3.0
    governor.learn(_refusal("9"), 12.0, alone=False)
    assert governor.take(12.0) == 9.0


def test_a_cool_down_of_an_earlier_session_goes_on_and_is_clamped_too() -> None:
    governor = _governor()
    governor.hold(10.0, -5.0)
    assert governor.cool_down_s(10.0) == 0.0
    governor.hold(10.0, 7.0)
    governor.hold(10.0, 3.0)
    assert governor.cool_down_s(12.0) == 5.0
    assert governor.take(12.0) == 5.0
    governor.hold(10.0, 1e9)  # the wall clock was set back since
    assert governor.cool_down_s(10.0) == 300.0


def test_without_retry_after_it_asks_again_soon_and_then_so_that_the_end_is_missed_by_a_third_at_most() -> (
    None
):
    governor, now, waits = _governor(), 0.0, []
    for _ in range(30):
        governor.learn(_refusal(), now, alone=True)
        waits.append(governor.take(now))
        now += waits[-1]
    assert waits[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    began = [sum(waits[:n]) for n in range(len(waits))]
    assert all(wait <= max(0.35 * at, 1.61) for wait, at in zip(waits, began, strict=True))
    assert waits[-1] == 30.0
    governor.learn(OK, now, alone=True)
    governor.learn(_refusal(), now + 1.0, alone=True)
    assert governor.take(now + 1.0) == pytest.approx(0.2)


def test_many_429s_of_one_burst_cut_the_rate_once() -> None:
    governor = _governor()
    _go(governor, OK, from_s=0.0, to_s=3.0)
    for _ in range(50):
        governor.learn(_refusal("1"), 3.0, alone=False)
    once = _governor()
    _go(once, OK, from_s=0.0, to_s=3.0)
    once.learn(_refusal("1"), 3.0, alone=False)
    assert governor.rate_per_s(4.0) == once.rate_per_s(4.0)
    assert 50.0 < (governor.rate_per_s(4.0) or 0.0) < 100.0


def test_a_rate_without_limit_heeds_cool_downs_and_learns_nothing() -> None:
    governor = _governor(UNLIMITED)
    governor.learn(_refusal("2"), 1.0, alone=False)
    assert governor.take(1.5) == 1.5
    assert [governor.take(3.0) for _ in range(500)] == [0.0] * 500
    assert governor.rate_per_s(3.0) is None
    assert governor.why(3.0) == "as asked for"


def test_a_pause_holds_everybody() -> None:
    governor = _governor()
    governor.pause(1.0, paused=True)
    assert governor.take(2.0) == math.inf
    assert governor.why(2.0) == "paused by the operator"
    governor.pause(4.0, paused=False)
    assert governor.take(4.0) == 0.0


def test_auto_rises_only_while_the_rate_is_used() -> None:
    busy, idle = _governor(AUTO), _governor(AUTO)
    _go(busy, OK, from_s=0.0, to_s=3.0)
    for tenth in range(30):
        idle.take(tenth / 10)
        idle.learn(OK, tenth / 10, alone=True)
    assert (busy.rate_per_s(3.0) or 0.0) > 200.0
    assert (idle.rate_per_s(3.0) or 0.0) <= 25.0


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit-Policy": '"default";q=50;w=1'},
        {"X-RateLimit-Limit": "50", "X-RateLimit-Reset": "1"},
        {"X-RateLimit-Limit": "500", "X-RateLimit-Reset": "1800000010"},
    ],
)
def test_a_limit_that_the_server_names_is_kept_without_a_single_429(headers: dict[str, str]) -> None:
    governor = _governor(AUTO)
    told = Answer(200, CIMultiDict(headers), b"")
    _go(governor, told, from_s=0.0, to_s=3.0)
    assert _go(governor, told, from_s=3.0, to_s=13.0) == pytest.approx(49.0, rel=0.01)
    assert governor.why(13.0) == "just below what the server says it allows, 50/s"


def test_a_quota_of_an_hour_does_not_pace_the_calls() -> None:
    governor = _governor()
    hourly = Answer(200, CIMultiDict({"RateLimit-Policy": '"hour";q=3600;w=3600'}), b"")
    _go(governor, hourly, from_s=0.0, to_s=2.0)
    assert governor.rate_per_s(2.0) == 100.0


def test_a_limit_that_a_429_belies_is_not_believed_again() -> None:
    governor = _governor(AUTO)
    told = Answer(200, CIMultiDict({"RateLimit-Policy": '"default";q=50;w=1'}), b"")
    _go(governor, told, from_s=0.0, to_s=5.0)
    governor.learn(_refusal("1"), 5.0, alone=False)
    assert _go(governor, told, from_s=6.0, to_s=7.0) < 45.0
    assert governor.why(7.0) == "just below what the server allows: it refused at 49/s"


def test_another_rate_keeps_the_limit_that_was_found() -> None:
    governor = _governor()
    _go(governor, OK, from_s=0.0, to_s=3.0)
    governor.learn(_refusal("1"), 3.0, alone=False)
    found = governor.rate_per_s(4.0)
    governor.set_rate(RatePlan(1_000.0, adaptive=True), 4.0)
    assert governor.rate_per_s(4.0) == found
    governor.set_rate(RatePlan(20.0, adaptive=True), 4.0)
    assert governor.rate_per_s(4.0) == 20.0
    governor.set_rate(UNLIMITED, 4.0)
    assert governor.rate_per_s(4.0) is None


def test_another_rate_takes_effect_at_once_where_nothing_was_found() -> None:
    governor = _governor()
    _go(governor, OK, from_s=0.0, to_s=2.0)
    governor.set_rate(RatePlan(400.0, adaptive=True), 2.0)
    assert _go(governor, OK, from_s=2.0, to_s=4.0) == pytest.approx(400.0, rel=0.01)


def _go_out(governor: Governor, at: float) -> None:
    """Have twenty rows meet trouble at a moment, two seconds or more after the last final answer."""
    for row in range(20):
        governor.see_trouble(at, row, "connect", pending=1000, foreign=False, alone=False)
    assert governor.outage.since is not None


def test_an_outage_lets_one_probe_go_at_a_time_and_starts_up_slowly_after_it() -> None:
    governor = _governor(RatePlan(1_000.0, adaptive=True))
    governor.hear(1.0)
    _go_out(governor, 3.2)
    assert governor.take(3.5) == pytest.approx(0.7)
    assert governor.take(4.2) == 0.0
    assert governor.take(4.2) == math.inf
    assert "outage" in governor.why(4.2)
    governor.see_trouble(4.3, 7, "connect", pending=1000, foreign=False, alone=True)
    assert governor.take(4.3) == pytest.approx(2.0)
    assert governor.take(6.4) == 0.0
    governor.hear(6.5)
    assert governor.why(6.5) == "starting up again after an outage"
    assert _go(governor, OK, from_s=6.5, to_s=7.5) == pytest.approx(145.0, rel=0.1)
    assert _go(governor, OK, from_s=12.0, to_s=13.0) == pytest.approx(1_000.0, rel=0.01)


@pytest.mark.parametrize("per_s", [0.1, 0.5, 1.0])
def test_after_an_outage_a_slow_rate_waits_for_its_usual_slot(per_s: float) -> None:
    """A ramp from a tenth of it would wait for ten of them, and no look at the clock in between."""
    governor = _governor(RatePlan(per_s, adaptive=True))
    _go_out(governor, 3.0)
    assert governor.take(500.0) == 0.0
    governor.hear(500.0)
    assert _go(governor, OK, from_s=500.0, to_s=500.0 + 20 / per_s) == pytest.approx(per_s, rel=0.06)


def test_after_an_outage_a_rate_above_one_a_second_ramps_up_from_there() -> None:
    governor = _governor(RatePlan(5.0, adaptive=True))
    _go_out(governor, 3.0)
    assert governor.take(500.0) == 0.0
    governor.hear(500.0)
    assert [_go(governor, OK, from_s=500.0 + n, to_s=501.0 + n) for n in range(4)] == [1.0, 2.0, 5.0, 5.0]


def test_a_probe_takes_a_slot_as_any_call_does() -> None:
    governor = _governor(RatePlan(0.5, adaptive=True))
    assert governor.take(2.5) == 0.0
    _go_out(governor, 2.6)
    assert governor.take(4.0) == pytest.approx(0.5 - CATCH_UP_S)
    assert governor.take(4.5) == 0.0
    governor.hear(4.5)
    assert governor.take(4.5) == pytest.approx(2.0 - CATCH_UP_S)


def test_a_wait_that_the_server_named_is_no_silence_and_one_that_it_did_not_is() -> None:
    governor = _governor()
    governor.learn(_refusal("30"), 1.0, alone=True)
    assert governor.silence.silent_s(31.0) == 0.0
    governor.learn(Answer(429, CIMultiDict(), b""), 31.0, alone=True)
    assert governor.silence.silent_s(41.0) == 10.0
    governor.hear(41.0)
    assert governor.silence.silent_s(50.0) == 0.0
