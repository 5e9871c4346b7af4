"""The rate that a person writes."""

from __future__ import annotations

import pytest

from worker.errors import UsageError
from worker.pacing.plan import RatePlan, parse_rate


@pytest.mark.parametrize(
    ("text", "ceiling_per_s", "adaptive"),
    [
        ("50/s", 50.0, True),
        ("3000/m", 50.0, True),
        ("90/h", 0.025, True),
        ("0.5/s", 0.5, True),
        (" 20 / S ", 20.0, True),
        ("0.0417/h", 0.0417 / 3600, True),
        ("auto", None, True),
        ("unlimited", None, False),
    ],
)
def test_each_form_of_a_rate(text: str, ceiling_per_s: float | None, *, adaptive: bool) -> None:
    assert parse_rate(text) == RatePlan(ceiling_per_s, adaptive=adaptive)


@pytest.mark.parametrize(
    "text",
    ["", "50", "50/d", "0/s", "-5/s", "1e3/s", "nan/s", "inf/s", "2000000/s", "/s", "50/s/s", "fast", "٣/s"],
)
def test_what_is_no_rate_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_rate(text)
    assert str(refusal.value) == f"{text!r} is not a rate. Write for example 50/s, 3000/m, auto or unlimited."


@pytest.mark.parametrize("text", ["0.0416/h", "0.00001/s", f"0.{'0' * 308}1/s"])
def test_less_than_one_call_a_day_is_no_rate_to_keep(text: str) -> None:
    with pytest.raises(UsageError, match="The smallest rate is one call a day"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["50/s", "0.025/s", "auto", "unlimited"])
def test_a_plan_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_rate(text)) == text
