"""What a person may set, what it becomes for the record, and the sentence for what may not be set."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.compose.options import parse_outcomes, steering
from worker.errors import UsageError
from worker.model import FAILURES, Outcome
from worker.pacing import RatePlan, parse_rate

RATE = parse_rate("25/s")


def test_defaults_are_those_that_the_help_names() -> None:
    assert steering(rate=RATE).as_text() == {
        "rate": "25/s",
        "concurrency": "32",
        "attempts": "5",
        "row_time_limit": "15m00s",
        "timeout": "10s",
        "max_failures": "0.2",
        "accept": "",
        "outage_patience": "15m00s",
        "deadline": "none",
        "exclude": "",
        "share_tenant": "false",
        "reason": "",
    }


def test_every_setting_is_kept_as_evidence() -> None:
    chosen = steering(
        rate=RatePlan(None, adaptive=True),
        concurrency=1,
        attempts=100,
        row_time_limit_s=90.0,
        timeout_s=0.5,
        max_failures=1 / 3,
        accept=frozenset({Outcome.REFUSED, Outcome.NOT_FOUND}),
        outage_patience_s=7200.0,
        deadline_s=5400.0,
        exclude=Path("/etc/lists/protected.txt"),
        share_tenant=True,
        reason="T-7",
    )
    assert chosen.as_text() == {
        "rate": "auto",
        "concurrency": "1",
        "attempts": "100",
        "row_time_limit": "1m30s",
        "timeout": "0.5s",
        "max_failures": "0.3333",
        "accept": "not_found,refused",
        "outage_patience": "2h00m",
        "deadline": "1h30m",
        "exclude": "protected.txt",
        "share_tenant": "true",
        "reason": "T-7",
    }


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("concurrency", 0, "--concurrency: Input should be greater than or equal to 1 (got 0)."),
        ("concurrency", 1001, "--concurrency: Input should be less than or equal to 1000 (got 1001)."),
        ("attempts", 0, "--attempts: Input should be greater than or equal to 1 (got 0)."),
        ("attempts", 101, "--attempts: Input should be less than or equal to 100 (got 101)."),
        ("timeout_s", 600.5, "--timeout: Input should be less than or equal to 600 (got 600.5)."),
        ("timeout_s", 0.0, "--timeout: Input should be greater than 0 (got 0.0)."),
        ("row_time_limit_s", 0.0, "--row-time-limit: Input should be greater than 0 (got 0.0)."),
        ("max_failures", 1.5, "--max-failures: Input should be less than or equal to 1 (got 1.5)."),
        (
            "outage_patience_s",
            -1.0,
            "--outage-patience: Input should be greater than or equal to 0 (got -1.0).",
        ),
        ("deadline_s", 0.0, "--deadline: Input should be greater than 0 (got 0.0)."),
    ],
)
def test_a_value_out_of_range_names_its_flag(name: str, value: float, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        steering(rate=RATE, **{name: value})
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", ["row_time_limit_s", "outage_patience_s", "deadline_s"])
def test_a_time_without_end_is_refused_and_not_told_as_a_defect_later(name: str) -> None:
    with pytest.raises(UsageError, match="Input should be a finite number"):
        steering(rate=RATE, **{name: float("inf")})


@pytest.mark.parametrize(
    ("name", "value"),
    [("concurrency", 1000), ("attempts", 100), ("timeout_s", 600), ("max_failures", 0), ("max_failures", 1)],
)
def test_the_ends_of_a_range_belong_to_it(name: str, value: float) -> None:
    assert getattr(steering(rate=RATE, **{name: value}), name) == value


def test_outcomes_are_read_in_any_case_and_spacing() -> None:
    wanted = parse_outcomes(" Not_Found, refused,,", allowed=FAILURES, flag="--accept")
    assert wanted == {Outcome.NOT_FOUND, Outcome.REFUSED}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("succeeded", "succeeded"), ("refused,zebra,ant", "ant, zebra"), ("", "nothing"), (" , ", "nothing")],
)
def test_what_the_flag_does_not_take_is_named_with_what_it_takes(text: str, wrong: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_outcomes(text, allowed=FAILURES, flag="--only")
    assert str(caught.value) == (
        f"--only takes exhausted, not_found, refused, unconfirmed, separated by commas; not {wrong}."
    )
