from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest
from unit.ledger.ledger_staging import BINDING, HEADER, look, pair, pairs, plan

from worker.errors import LedgerError, UsageError
from worker.ledger import (
    PlanDraft,
    RunFolder,
    facts,
    pending_rows,
    remove_stale_drafts,
    report_rows,
)
from worker.model import InputRow, Outcome
from worker.warned import Warned, Warnings

PLANNED = "SELECT row, planned, duplicate_of FROM rows ORDER BY row"


def bad(number: int, *cells: str, message: str = "no identifier") -> InputRow:
    return InputRow(number, number + 1, cells[0], "", list(cells), "missing", message)


def test_the_first_of_a_pair_is_called_and_the_others_name_it(tmp_path: Path) -> None:
    rows = [pair(1, "u", "i"), pair(2, "u", "j"), pair(3, "u", "i"), pair(4, "v", "i"), pair(5, "u", "i")]
    folder = plan(tmp_path, rows)
    assert look(folder, PLANNED) == [
        (1, None, None), (2, None, None), (3, "duplicate", 1), (4, None, None), (5, "duplicate", 1),
    ]  # fmt: skip
    assert [row.number for row in pending_rows(folder)] == [1, 2, 4]


def test_pairs_are_told_apart_by_both_ids_and_not_by_their_sum(tmp_path: Path) -> None:
    folder = plan(tmp_path, [pair(1, "ab", "c"), pair(2, "a", "bc"), pair(3, "A", "bc"), pair(4, "a ", "bc")])
    assert [planned for _, planned, _ in look(folder, PLANNED)] == [None] * 4


def test_a_guid_is_one_identifier_in_any_spelling_and_its_cell_stays_as_it_was(tmp_path: Path) -> None:
    guid = "6cec8047-6149-4d9b-8d99-91c83c22a9dc"
    spelt = [guid.upper(), guid, f"{{{guid.upper()}}}", guid.replace("-", ""), f"urn:uuid:{guid}"]
    folder = plan(tmp_path, [pair(number, "u", written) for number, written in enumerate(spelt, start=1)])
    assert [(planned, first) for _, planned, first in look(folder, PLANNED)] == [
        (None, None),
        *[("duplicate", 1)] * 4,
    ]
    assert [row.identifier_id for row in pending_rows(folder)] == [guid]
    assert [row.cells for row in report_rows(folder)] == [["u", written] for written in spelt]


def test_a_user_id_is_another_in_another_case(tmp_path: Path) -> None:
    guid = "6cec8047-6149-4d9b-8d99-91c83c22a9dc"
    folder = plan(tmp_path, [pair(1, guid, "i"), pair(2, guid.upper(), "i"), pair(3, guid, "I")])
    assert [row.user_id for row in pending_rows(folder)] == [guid, guid.upper(), guid]


@pytest.mark.parametrize(
    ("others", "warned"), [(["x"], False), (["6CEC8047-6149-4D9B-8D99-91C83C22A9DC"], True)]
)
def test_an_identifier_that_is_no_guid_is_warned_of_where_others_are(
    tmp_path: Path, others: list[str], warned: bool
) -> None:
    rows = [pair(1, "u", "i1"), bad(2, "x"), pair(3, "u", " i3 "), *(pair(4, "u", other) for other in others)]
    folder = plan(tmp_path, rows)
    assert [row.identifier_id for row in pending_rows(folder)][:2] == ["i1", " i3 "]
    told = [(each.code, each.count, each.lines) for each in folder.plan_summary().warnings]
    assert told == ([("not_a_guid", 2, (2, 4))] if warned else [])


def test_excluded_goes_before_duplicate_and_a_duplicate_of_an_excluded_is_excluded(tmp_path: Path) -> None:
    rows = [pair(1, "u", "i"), pair(2, "u", "i"), pair(3, "v", "i"), pair(4, "w", "k"), pair(5, "w", "k")]
    folder = plan(tmp_path, rows, protected=["u", "nobody"])
    assert look(folder, PLANNED) == [
        (1, "excluded", None), (2, "excluded", None), (3, None, None), (4, None, None), (5, "duplicate", 4),
    ]  # fmt: skip


def test_an_identifier_on_the_protected_list_excludes_too(tmp_path: Path) -> None:
    folder = plan(tmp_path, [pair(1, "u", "i"), pair(2, "v", "j")], protected=["j"])
    assert [planned for _, planned, _ in look(folder, PLANNED)] == [None, "excluded"]


def test_invalid_goes_before_excluded_and_an_invalid_row_is_no_ones_first(tmp_path: Path) -> None:
    rows = [
        InputRow(1, 2, "u", "i", ["u", "i", "x"], "columns", "3 cells"),
        pair(2, "u", "i"),
        InputRow(3, 4, "u", "i", ["u", "i", "x"], "columns", "3 cells"),
        InputRow(4, 5, "p", "i", ["p"], "missing", "no identifier"),
    ]
    folder = plan(tmp_path, rows, protected=["p"])
    assert look(folder, PLANNED) == [
        (1, "invalid", None), (2, None, None), (3, "invalid", None), (4, "invalid", None),
    ]  # fmt: skip


def test_the_summary_counts_users_to_call_and_keeps_the_first_invalid(tmp_path: Path) -> None:
    rows = [
        pair(1, "u", "i"), pair(2, "u", "j"), pair(3, "u", "i"), pair(4, " v", "i"), pair(5, "w", "i"),
        pair(6, "p", "i"), *(bad(number, f"x{number}") for number in range(7, 15)),
    ]  # fmt: skip
    summary = plan(tmp_path, rows, protected=["p"]).plan_summary()
    assert summary.users == 3  # u, " v" and w: p is excluded, the x are invalid
    assert summary.first_invalid == tuple((number, number + 1, "no identifier") for number in range(7, 12))


def test_the_summary_keeps_what_the_input_was_warned_of(tmp_path: Path) -> None:
    warnings = Warnings()
    warnings.add("edge_white_space", 3)
    draft = PlanDraft(tmp_path, "r", BINDING, operator="", reason="", planned_at=1.0)
    with draft:
        draft.add(pairs(1))
        draft.finish(header=HEADER, warnings=warnings)
        folder = draft.publish()
    assert folder.plan_summary().warnings == (Warned("edge_white_space", 1, (3,)),)
    assert facts(folder).warnings == folder.plan_summary().warnings


@pytest.mark.parametrize(("counted", "warned"), [("0", ()), ("2", (Warned("edge_white_space", 2, ()),))])
def test_a_plan_of_an_older_version_tells_what_that_counted(
    tmp_path: Path, counted: str, warned: tuple[Warned, ...]
) -> None:
    folder = plan(tmp_path, 1)
    with contextlib.closing(sqlite3.connect(folder.ledger, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE meta SET name = 'edge_whitespace', value = ? WHERE name = 'warnings'", (counted,)
        )
    assert folder.plan_summary().warnings == warned


def test_only_plain_pairs_are_stored_without_their_cells(tmp_path: Path) -> None:
    rows = [
        pair(1, "u", "i"), pair(2, "u", "k", "more"), InputRow(3, 4, "u", "l", ["l", "u"]),
        InputRow(4, 5, "v", "v", ["v", "v"]), bad(5, "only"),
    ]  # fmt: skip
    folder = plan(tmp_path, rows)
    stored = look(folder, "SELECT row FROM rows WHERE cells IS NULL ORDER BY row")
    assert stored == [(1,), (4,)]
    assert [row.cells for row in report_rows(folder)] == [row.cells for row in rows]


def test_what_utf8_cannot_hold_is_kept_as_escapes(tmp_path: Path) -> None:
    folder = plan(tmp_path, [bad(1, "a\udcff", message="undecodable \udcff")])
    (row,) = report_rows(folder)
    assert (row.outcome, row.cells, row.error_message) == (
        Outcome.INVALID, ["a\\udcff"], "undecodable \\udcff",
    )  # fmt: skip
    assert folder.plan_summary().first_invalid == ((1, 2, "undecodable \\udcff"),)


def test_a_plan_of_nothing_is_a_plan(tmp_path: Path) -> None:
    folder = plan(tmp_path, [])
    assert folder.meta()["rows"] == "0"
    assert folder.plan_summary().users == 0


def test_rows_come_in_batches_and_from_several_calls(tmp_path: Path) -> None:
    rows = pairs(10_000)
    draft = PlanDraft(tmp_path, "r", BINDING, operator="", reason="", planned_at=1.0)
    with draft:
        draft.add(rows[:9000])
        draft.add(iter(rows[9000:]))
        draft.finish(header=HEADER)
        draft.publish()
    assert look(draft.folder, "SELECT count(*), min(row), max(row) FROM rows") == [(10_000, 1, 10_000)]
    assert draft.folder.meta()["rows"] == "10000"


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_the_owner_may_look(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = plan(tmp_path, 3)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [folder.path, *folder.path.iterdir()]}
    assert modes == {"run-1": 0o700, "inbox": 0o700, "ledger.sqlite": 0o600, "lock": 0o600}


def test_what_is_not_published_leaves_nothing(tmp_path: Path) -> None:
    draft = PlanDraft(tmp_path, "r", BINDING, operator="", reason="", planned_at=1.0)
    with draft:
        draft.add(pairs(3))
        draft.finish(header=HEADER)
        assert RunFolder.all(tmp_path) == []  # not a run before it is published
    assert list(tmp_path.iterdir()) == []


def test_a_finished_plan_stays_and_its_lock_is_free(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["run-1"]
    assert not folder.owned
    with folder.lock():
        assert folder.owned


def test_the_folder_for_sorting_is_given_back(tmp_path: Path) -> None:
    plan(tmp_path, 3)
    connection = sqlite3.connect(":memory:")
    assert connection.execute("PRAGMA temp_store_directory").fetchall() in ([], [("",)])
    connection.close()


def test_a_name_that_is_taken_is_refused_and_keeps_the_run(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    with pytest.raises(LedgerError, match="could not be kept"):
        plan(tmp_path, 5)
    assert folder.meta()["rows"] == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["run-1"]


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot look into the folder"):
        plan(tmp_path / "missing", 3)


def test_a_draft_in_the_making_is_not_stale_and_a_left_one_is(tmp_path: Path) -> None:
    with PlanDraft(tmp_path, "r", BINDING, operator="", reason="", planned_at=1.0):
        remove_stale_drafts(tmp_path)
        assert [path.name[:11] for path in tmp_path.iterdir()] == [".planning-r"]
    (tmp_path / ".planning-dead").mkdir()
    (tmp_path / ".planning-dead" / "lock").touch()
    (tmp_path / ".planning-deader").mkdir()
    plan(tmp_path, 1)
    remove_stale_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run-1"]


def test_rows_out_of_a_broken_order_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be used"):
        plan(tmp_path, [pair(1, "u", "i"), pair(1, "v", "i")])
    assert list(tmp_path.iterdir()) == []
