"""What a limit tells, form by form."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from worker.sandbox.headers import rate_headers
from worker.sandbox.limits import Standing
from worker.sandbox.options import HeaderForm, Limit

_NOW = 1_800_000_000.25


def _told(form: HeaderForm, wait_s: float = 2.4) -> dict[str, str]:
    limit = Limit(requests=40, per_s=10.0, headers=(form,))
    return rate_headers([Standing(limit, remaining=3, wait_s=wait_s, reset_s=7.2)], _NOW)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (HeaderForm.NONE, {}),
        (HeaderForm.RETRY_AFTER_SECONDS, {"Retry-After": "3"}),
        (HeaderForm.RETRY_AFTER_ZERO, {"Retry-After": "0"}),
        (HeaderForm.RETRY_AFTER_FRACTION, {"Retry-After": "2.400"}),
        (HeaderForm.RETRY_AFTER_HUGE, {"Retry-After": "1000000000000"}),
        (HeaderForm.RETRY_AFTER_MALFORMED, {"Retry-After": "soon; try=later"}),
        (
            HeaderForm.RATELIMIT_DRAFT,
            {"RateLimit": '"default";r=3;t=8', "RateLimit-Policy": '"default";q=40;w=10'},
        ),
        (
            HeaderForm.RATELIMIT_DRAFT_7,
            {"RateLimit": "limit=40, remaining=3, reset=8", "RateLimit-Policy": "40;w=10"},
        ),
        (
            HeaderForm.RATELIMIT_OLDER,
            {"RateLimit-Limit": "40", "RateLimit-Remaining": "3", "RateLimit-Reset": "8"},
        ),
        (
            HeaderForm.X_RATELIMIT_EPOCH,
            {"X-RateLimit-Limit": "40", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "1800000008"},
        ),
        (
            HeaderForm.X_RATELIMIT_RELATIVE,
            {"X-RateLimit-Limit": "40", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "8"},
        ),
    ],
)
def test_each_form_tells_its_headers(form: HeaderForm, told: dict[str, str]) -> None:
    assert _told(form) == told


@pytest.mark.parametrize(
    ("form", "seconds"), [(HeaderForm.RETRY_AFTER_DATE, 3), (HeaderForm.RETRY_AFTER_PAST, -3600)]
)
def test_dates_are_http_dates(form: HeaderForm, seconds: int) -> None:
    text = _told(form)["Retry-After"]
    assert text.endswith(" GMT")
    assert parsedate_to_datetime(text).timestamp() == int(_NOW) + seconds


@pytest.mark.parametrize("form", [form for form in HeaderForm if form.startswith("retry-after")])
def test_retry_after_comes_with_a_refusal_alone(form: HeaderForm) -> None:
    assert _told(form, wait_s=0.0) == {}
