"""What servers say of their limits, in the forms that they use, and nonsense."""

from __future__ import annotations

import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from worker.model import Answer, NoAnswer, Trouble
from worker.pacing.headers import LONGEST_WAIT_S, ServerLimit, asked_wait_s, retry_after_s, server_limit

WALL = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


def _refusal(retry_after: str) -> Answer:
    return Answer(429, CIMultiDict({"retry-after": retry_after}), b"")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        ("0", 0.0),
        ("0.25", 0.25),
        (" 7 ", 7.0),
        ("-3", 0.0),
        ("1000000000000", LONGEST_WAIT_S),
        ("9" * 400, LONGEST_WAIT_S),
        ("9" * 400 + ".5", LONGEST_WAIT_S),
        ("1e400", 0.0),
        ("1e3", 0.0),
        ("1_0", 0.0),
        ("٣", 0.0),
        ("-" + "9" * 400, 0.0),
        ("inf", 0.0),
        ("nan", 0.0),
        ("", 0.0),
        ("soon; try=later", 0.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Sat, 15 Jan 2033 08:00:30 GMT", LONGEST_WAIT_S),
        ("Fri, 45 Jan 2027 08:00:30 GMT", 0.0),
    ],
)
def test_retry_after_is_clamped_and_never_trusted(text: str, seconds: float) -> None:
    assert retry_after_s(_refusal(text), WALL) == seconds


@pytest.mark.parametrize("text", ["Fri Jan 15 08:00:30 2027", "Fri, 15 Jan 2027 08:00:30 -0000"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
def test_a_date_without_a_zone_is_utc_wherever_this_machine_is(
    text: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as here:
        here.setenv("TZ", zone)
        time.tzset()
        assert retry_after_s(_refusal(text), WALL) == 30.0
    time.tzset()


def test_without_an_answer_nothing_is_asked_for() -> None:
    assert retry_after_s(NoAnswer(Trouble.CONNECT, "refused", sent=False), WALL) == 0.0
    assert retry_after_s(Answer(429, CIMultiDict(), b""), WALL) == 0.0


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        (
            {"RateLimit": '"default";r=5;t=12', "RateLimit-Policy": '"default";q=100;w=60'},
            ServerLimit(100, 60, 12, 5),
        ),
        (
            {"RateLimit-Policy": '"day";q=10000;w=86400, "burst";q=20;w=1'},
            ServerLimit(20, 1, None),
        ),
        (
            {"RateLimit": "limit=40, remaining=3, reset=1", "RateLimit-Policy": "40;w=1"},
            ServerLimit(40, 1, 1, 3),
        ),
        ({"RateLimit-Limit": "100, 100;w=10", "RateLimit-Reset": "4"}, ServerLimit(100, 10, 4)),
        ({"X-RateLimit-Limit": "60", "X-RateLimit-Reset": "30"}, ServerLimit(60, None, 30)),
        (
            {"X-RateLimit-Limit": "60", "X-RateLimit-Reset": str(int(WALL) + 8)},
            ServerLimit(60, None, 8, None, WALL + 8),
        ),
        (
            {"X-Rate-Limit-Limit": "60", "X-Rate-Limit-Reset": str(int(WALL) - 8)},
            ServerLimit(60, None, 0, None, WALL - 8),
        ),
        ({"X-RateLimit-Limit": "0", "X-RateLimit-Reset": "1"}, ServerLimit(None, None, 1)),
        ({"X-RateLimit-Limit": "many"}, None),
        ({"RateLimit": '"default"', "RateLimit-Policy": '"default"'}, None),
        ({"Content-Type": "application/json"}, None),
    ],
)
def test_each_form_of_a_limit(headers: dict[str, str], limit: ServerLimit | None) -> None:
    assert server_limit(CIMultiDict(headers), WALL) == limit


@pytest.mark.parametrize("apart_s", [-86_400.0, -280.0, -3.0, 0.0, 3.0, 280.0, 3600.0])
def test_moments_are_read_by_the_clock_that_wrote_them(apart_s: float) -> None:
    def date(at: float) -> str:
        return email.utils.formatdate(at, usegmt=True)

    theirs = WALL + apart_s
    headers = CIMultiDict({"Date": date(theirs), "Retry-After": date(theirs + 7)})
    assert retry_after_s(Answer(429, headers, b""), WALL) == 7.0
    told = CIMultiDict(
        {"Date": date(theirs), "X-RateLimit-Limit": "60", "X-RateLimit-Reset": str(theirs + 9)}
    )
    limit = server_limit(told, WALL)
    assert limit is not None
    assert limit.reset_s == 9.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit-Limit": "600", "RateLimit-Remaining": "0", "RateLimit-Reset": "58"}, 58.0),
        ({"X-RateLimit-Limit": "600", "X-RateLimit-Reset": str(WALL + 58)}, 58.0),
        ({"X-RateLimit-Limit": "600", "X-RateLimit-Reset": "3600"}, 3600.0),
        ({"RateLimit": '"second";r=0;t=8, "minute";r=50;t=40'}, 8.0),
        ({"RateLimit": "limit=500, remaining=0, reset=8"}, 8.0),
        ({"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "5", "X-RateLimit-Reset": "58"}, 0.0),
        ({"X-RateLimit-Limit": "600", "X-RateLimit-Reset": "58", "Retry-After": "3"}, 3.0),
        ({"X-RateLimit-Limit": "600", "X-RateLimit-Reset": "58", "Retry-After": "soon"}, 58.0),
        ({"Retry-After": "3598"}, 3598.0),
        ({}, 0.0),
    ],
)
def test_a_refusal_without_retry_after_asks_to_wait_for_the_reset(
    headers: dict[str, str], seconds: float
) -> None:
    assert asked_wait_s(Answer(429, CIMultiDict(headers), b""), WALL) == seconds


NONSENSE = st.text("0123456789=;,.wqrt\"' -+eE\n", max_size=40)


@given(NONSENSE, NONSENSE, NONSENSE)
def test_no_nonsense_breaks_the_reader_or_passes_its_bounds(policy: str, limit: str, reset: str) -> None:
    for name in ("RateLimit", "RateLimit-Limit", "X-RateLimit-Limit"):
        headers = CIMultiDict({"RateLimit-Policy": policy, name: limit, "X-RateLimit-Reset": reset})
        found = server_limit(headers, WALL)
        if found is not None:
            assert found.quota is None or found.quota > 0
            assert found.window_s is None or found.window_s > 0
            assert found.reset_s is None or 0 <= found.reset_s <= LONGEST_WAIT_S
    assert 0 <= retry_after_s(_refusal(limit), WALL) <= LONGEST_WAIT_S
