"""Durations and shares as people write them."""

from __future__ import annotations

import pytest

from worker.errors import UsageError
from worker.units import format_duration, parse_duration_s, parse_share


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("15m", 900),
        ("2h", 7200),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        (" 1 D ", 86400),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "0s", "-1s", "1x", "1h30", "ten minutes", "1s!"])
def test_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0s"),
        (9.94, "9.9s"),
        (12.4, "12s"),
        (185, "3m05s"),
        (7800, "2h10m"),
        (3 * 86400 + 4 * 3600, "3d04h"),
    ],
)
def test_a_duration_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "share"), [("20%", 0.2), ("0.2", 0.2), ("0", 0), ("100%", 1), ("1", 1), (" 5 %", 0.05)]
)
def test_a_share(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "twenty", "101%", "-1%", "1.1", "nan", "20%%"])
def test_no_share(text: str) -> None:
    with pytest.raises(UsageError, match="not a share"):
        parse_share(text)
