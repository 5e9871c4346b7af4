"""Trouble as it is written on a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import UsageError
from worker.sandbox.flags import make_options, parse_limit, parse_trouble
from worker.sandbox.options import HeaderForm, Kind, Limit, LimitKind, Outage, OutageKind, Trouble


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("40/s", Limit(requests=40)),
        ("600/m", Limit(requests=600, per_s=60.0)),
        ("5/10s,kind=fixed-window", Limit(requests=5, per_s=10.0, kind=LimitKind.FIXED_WINDOW)),
        (
            "40/s,burst=5,headers=ratelimit-draft+retry-after-date",
            Limit(requests=40, burst=5, headers=(HeaderForm.RATELIMIT_DRAFT, HeaderForm.RETRY_AFTER_DATE)),
        ),
    ],
)
def test_limits(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["", "40", "fast", "0/s", "40/s,burst", "40/s,kind=leaky", "40/s,heads=x"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="limit"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("flag", "trouble"),
    [
        ("server-error=5%", Trouble(server_error=0.05)),
        ("stall", Trouble(stall=1.0)),
        ("slow-s=2.5", Trouble(slow_s=2.5)),
        ("key-revoked-after=500", Trouble(key_revoked_after=500)),
        ("server-error-statuses=500,520", Trouble(server_error_statuses=(500, 520))),
        ("redirect-status=302", Trouble(redirect_status=302)),
        ("unprocessable-form=other", Trouble(unprocessable_form="other")),
        ("outage=503,for=5", Trouble(outages=(Outage(for_s=5.0),))),
        (
            "outage=refuse,from=100,for=2",
            Trouble(outages=(Outage(kind=OutageKind.REFUSE, from_request=100, for_s=2.0),)),
        ),
        ("for-user=not-found:a:b", Trouble(for_users={"a:b": Kind.NOT_FOUND})),
    ],
)
def test_flags(flag: str, trouble: Trouble) -> None:
    assert parse_trouble([flag], [], None) == trouble


@pytest.mark.parametrize(
    "flag",
    [
        "nonsense=1",
        "stall=2",
        "stall=x",
        "outage=503",
        "outage=fire,for=1",
        "redirect-status=200",
        "for-user=x:y",
    ],
)
def test_wrong_flags_are_refused(flag: str) -> None:
    with pytest.raises(UsageError):
        parse_trouble([flag], [], None)


def test_flags_go_over_the_file_and_limits_are_added(tmp_path: Path) -> None:
    file = tmp_path / "trouble.json"
    file.write_text('{"server_error": 0.1, "slow": 0.2, "limits": [{"requests": 9}]}', encoding="utf-8")
    trouble = parse_trouble(["slow=0.3"], ["40/s"], file)
    assert trouble == Trouble(server_error=0.1, slow=0.3, limits=(Limit(requests=9), Limit(requests=40)))


@pytest.mark.parametrize("text", ["{", '{"typo": 1}', "[]"])
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "trouble.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"trouble\.json"):
        parse_trouble([], [], file)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.json"):
        parse_trouble([], [], tmp_path / "absent.json")


def test_half_a_certificate_is_refused() -> None:
    with pytest.raises(UsageError, match="certificate"):
        make_options(tls_cert=Path("cert.pem"))


def test_the_key_is_in_no_options_text() -> None:
    assert "a-made-up-one" not in repr(make_options(api_key="a-made-up-one"))
