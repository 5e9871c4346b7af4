"""A ledger of rows that came from a queue: each once by its name, and never more complete than it is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.ledger.ledger_staging import look, result, tamper

from worker.errors import LedgerError
from worker.ledger import (
    CollectedRow,
    Collection,
    RunFolder,
    add_collected,
    facts,
    known_of,
    open_collected,
    report_rows,
    snapshot,
    try_collected,
    verify,
)
from worker.model import Outcome, Row, RunState

COLLECTION = Collection("b", False, "acme.example", "unverify-email")


def opened(runs: Path, collection: Collection = COLLECTION) -> RunFolder:
    return open_collected(runs, collection, source="queue q", operator="ann@host", now=1000.0)


def rows(
    numbers: Iterable[int], batch: str = "b", outcome: Outcome = Outcome.SUCCEEDED
) -> list[CollectedRow]:
    return [
        CollectedRow(batch, number, "w", result(Row(0, f"u{number}", f"i{number}"), outcome))
        for number in numbers
    ]


def test_rows_appear_with_their_outcome(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    assert add_collected(folder, rows([7, 3]), 2) == 2
    verify(folder)
    known = facts(folder)
    assert (known.rows, known.outcomes[Outcome.SUCCEEDED], known.state) == (2, 2, RunState.FINISHED)
    assert [(row.number, row.cells) for row in report_rows(folder)] == [
        (1, ["u7", "i7", "b", "7", "w"]),
        (2, ["u3", "i3", "b", "3", "w"]),
    ]


def test_a_part_of_a_batch_says_what_is_missing(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    add_collected(folder, rows([1]), 3)
    verify(folder)
    known = facts(folder)
    assert (known.rows, known.outcomes[Outcome.PENDING], known.state) == (3, 2, RunState.HALTED)
    assert known.halt_reason == "2 of the batch's 3 rows have not been collected yet"
    add_collected(folder, rows([2, 3]), 3)
    known = facts(folder)
    assert (known.outcomes[Outcome.PENDING], known.state, known.halt_reason) == (0, RunState.FINISHED, "")


def test_how_many_there_are_is_remembered(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    add_collected(folder, rows([1]), 3)
    add_collected(folder, rows([2]), None)
    assert facts(folder).outcomes[Outcome.PENDING] == 1


def test_a_batch_that_is_called_like_the_queue_is_another_collection(tmp_path: Path) -> None:
    loose = Collection("b", True, "acme.example", "unverify-email")
    assert opened(tmp_path, loose).path != opened(tmp_path).path


def test_an_addition_waits_for_no_reader(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    add_collected(folder, rows([1]), None)
    with snapshot(folder) as before:
        assert before.facts().rows == 1
        add_collected(folder, rows([2]), None)
        before.verify()
        assert len(list(before.rows())) == before.facts().rows == 1


def test_the_first_outcome_of_a_name_stays(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    assert add_collected(folder, rows([1]) + rows([1], outcome=Outcome.REFUSED), None) == 1
    assert add_collected(folder, rows([1], outcome=Outcome.REFUSED), None) == 0
    assert look(folder, "SELECT outcome FROM outcomes") == [("succeeded",)]


def test_a_number_is_a_name_within_its_batch(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    assert add_collected(folder, rows([1], "1-0") + rows([1], "2-0"), None) == 2
    assert known_of(folder, "2-0", range(5)) == {1}
    assert known_of(folder, "3-0", range(5)) == frozenset()


def test_tenants_and_operations_do_not_mix(tmp_path: Path) -> None:
    others = [
        Collection("b", False, "other.example", "unverify-email"),
        Collection("b", False, "acme.example", "verify-email"),
    ]
    folders = {opened(tmp_path, each).path for each in (COLLECTION, COLLECTION, *others)}
    assert len(folders) == 3


def test_a_planned_run_may_have_no_rows_missing(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    add_collected(folder, rows([1]), 3)
    selection = '{"user_column": "collected"}'
    tamper(folder, f"UPDATE meta SET value = '{selection}' WHERE name = 'selection'")
    with pytest.raises(LedgerError, match="does not add up"):
        verify(folder)


@settings(max_examples=30)  # each has a ledger of its own on the disk
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=10), max_size=8))
def test_whatever_comes_however_often_each_name_is_one_row(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[int]]
) -> None:
    folder = opened(tmp_path_factory.mktemp("runs"))
    added = sum(add_collected(folder, rows(group), None) for group in groups)
    names = set().union(*groups)
    verify(folder)
    assert added == len(names)
    assert {row.cells[0] for row in report_rows(folder)} == {f"u{number}" for number in names}


def test_a_folder_in_which_nothing_can_be_made_keeps_no_outcomes(tmp_path: Path) -> None:
    try_collected(tmp_path, now=1000.0)
    assert list(tmp_path.iterdir()) == []
    tmp_path.rmdir()
    for attempt in (lambda: try_collected(tmp_path, now=1000.0), lambda: opened(tmp_path)):
        with pytest.raises(LedgerError, match=r"^Outcomes cannot be kept\. .*No such file"):
            attempt()
