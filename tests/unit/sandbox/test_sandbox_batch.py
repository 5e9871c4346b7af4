"""The batch that matches a sandbox."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import UsageError
from worker.sandbox.batch import HEADER, BatchOutcome, BatchPlan, write_batch
from worker.sandbox.people import People

_PEOPLE = People(1, 2000)


def _kind(cells: list[str], seen: set[tuple[str, str]]) -> str:
    if len(cells) != 3 or not all(cells) or ".." in cells[1:2] or "\x07" in cells[0] or len(cells[0]) > 512:
        return "invalid"
    pair = (cells[0], cells[1])
    if pair in seen:
        return "duplicate"
    seen.add(pair)
    return "succeeded" if _PEOPLE.find(cells[0]) else "not_found"


@settings(max_examples=40, deadline=None)
@given(
    good=st.integers(1, 60),
    bad=st.integers(0, 15),
    duplicates=st.integers(0, 15),
    vanished=st.integers(0, 15),
    seed=st.integers(0, 5),
)
def test_the_outcome_foretold_is_that_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, good: int, bad: int, duplicates: int, vanished: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("batch") / "batch.csv"
    plan = BatchPlan(good + bad + duplicates + vanished, bad, duplicates, vanished)
    outcome = write_batch(path, _PEOPLE, plan, seed)
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert tuple(header) == HEADER
    seen: set[tuple[str, str]] = set()
    kinds = [_kind(cells, seen) for cells in rows]
    counted = {name: kinds.count(name) for name in ("succeeded", "not_found", "invalid", "duplicate")}
    assert outcome == BatchOutcome(**counted)
    assert outcome.rows == len(rows) == plan.rows


def test_staged_rows_are_mixed_in(tmp_path: Path) -> None:
    write_batch(tmp_path / "a.csv", _PEOPLE, BatchPlan(1000, vanished=100), 1)
    rows = list(csv.reader((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()))[1:]
    places = [number for number, row in enumerate(rows) if _PEOPLE.find(row[0]) is None]
    assert len(places) == 100
    assert places[0] < 100
    assert places[-1] > 900


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write_batch(tmp_path / name, _PEOPLE, BatchPlan(100, 5, 5, 5), 1)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    "plan",
    [
        BatchPlan(10, bad=11),
        BatchPlan(-1),
        BatchPlan(10, bad=-1),
        BatchPlan(2, duplicates=2),
        BatchPlan(2001),
    ],
)
def test_a_plan_that_does_not_add_up_is_refused(tmp_path: Path, plan: BatchPlan) -> None:
    with pytest.raises(UsageError):
        write_batch(tmp_path / "a.csv", _PEOPLE, plan, 1)


def test_a_place_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent.*a\.csv"):
        write_batch(tmp_path / "absent" / "a.csv", _PEOPLE, BatchPlan(3), 1)
