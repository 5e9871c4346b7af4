"""`worker/README.md` states each promise that code and tests cite by its number, and names files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "worker" / "README.md").read_text(encoding="utf-8")
STATED = {int(number) for number in re.findall(r"^(\d+)\. \*\*", README, re.MULTILINE)}
CITED = re.compile(r"\bpromises? (\d+(?:(?:, | and |/| to )\d+)*)", re.IGNORECASE)


def _cited() -> dict[int, str]:
    """Return each number that is cited, with a file that does."""
    found: dict[int, str] = {}
    for folder in ("worker", "jobs", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for numbers in CITED.findall(path.read_text(encoding="utf-8")):
                found |= {int(number): str(path.relative_to(ROOT)) for number in re.findall(r"\d+", numbers)}
    return found


def test_each_promise_that_is_cited_is_stated() -> None:
    cited = _cited()
    assert len(cited) > 10, "the citations are not found any more"
    assert {number: path for number, path in cited.items() if number not in STATED} == {}


def test_they_are_numbered_without_a_gap() -> None:
    assert sorted(STATED) == list(range(1, 14))


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:/|\.py))`", README))))
def test_what_it_names_is_there(named: str) -> None:
    assert any((ROOT / folder / named).exists() for folder in ("", "worker")), named
