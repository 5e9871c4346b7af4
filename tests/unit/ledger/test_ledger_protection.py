"""Protected is protected, at every place that asks, however an id's edges are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.ledger.ledger_staging import listed, look, pair, plan, session, tamper

from worker.ledger import add, foreseen, pending_rows
from worker.model import Outcome

GUID = "6cec8047-6149-4d9b-8d99-91c83c22a9dc"
SPELT = [
    GUID.upper(),
    f"{{{GUID}}}",
    f"({GUID.upper()})",
    GUID.replace("-", ""),
    f"urn:uuid:{GUID}",
    f"\u00a0{GUID}",
]
UNSEEN = [" u2", "u2 ", "\u00a0u2", "u2\u200b", "\ufeffu2", " \u2060 u2"]


@pytest.mark.parametrize("written", UNSEEN)
@pytest.mark.parametrize("column", ["user", "identifier"])
def test_the_plan_excludes_it(tmp_path: Path, written: str, column: str) -> None:
    ids = (written, "x") if column == "user" else ("x", written)
    folder = plan(tmp_path, [pair(1, "u1", "i1"), pair(2, *ids), pair(3, "u 2", "i3")], protected=["u2"])
    assert look(folder, "SELECT row FROM rows WHERE planned = 'excluded'") == [(2,)]


@pytest.mark.parametrize("written", UNSEEN)
@pytest.mark.parametrize("column", ["user", "identifier"])
async def test_a_list_that_grew_excludes_it(tmp_path: Path, written: str, column: str) -> None:
    ids = (written, "x") if column == "user" else ("x", written)
    folder = plan(tmp_path, [pair(1, "u1", "i1"), pair(2, *ids), pair(3, "u 2", "i3")])
    async with session(folder) as ledger:
        await ledger.protect(frozenset({"u2"}))
    assert [row.number for row in pending_rows(folder)] == [1, 3]
    assert foreseen(folder).outcomes[Outcome.EXCLUDED] == 1
    async with session(folder) as ledger:
        assert [row.number for row in await ledger.claim(9)] == [1, 3]


def test_an_id_that_nobody_can_see_is_compared_as_it_is_written(tmp_path: Path) -> None:
    folder = plan(tmp_path, [pair(1, "\u200b", "i1"), pair(2, "\ufeff", "i2")], protected=["\u200b"])
    assert look(folder, "SELECT row FROM rows WHERE planned = 'excluded'") == [(1,)]


@pytest.mark.parametrize("written", SPELT)
@pytest.mark.parametrize("on_list", [GUID, *SPELT])
def test_a_guid_is_protected_in_any_spelling(tmp_path: Path, written: str, on_list: str) -> None:
    rows = [pair(1, "u1", GUID[::-1]), pair(2, "u2", written)]
    folder = plan(tmp_path, rows, protected=[on_list])
    assert look(folder, "SELECT row FROM rows WHERE planned = 'excluded'") == [(2,)]


@pytest.mark.parametrize("written", SPELT)
async def test_a_ledger_of_an_older_version_protects_a_guid_in_any_spelling(
    tmp_path: Path, written: str
) -> None:
    """It kept rows and ids as they were written, and what it found to be duplicates stays what it is."""
    folder = plan(tmp_path, [pair(1, "u1", "i1"), pair(2, "u2", GUID), pair(3, "u2", "i3")])
    tamper(folder, f"UPDATE rows SET identifier_id = '{written}' WHERE row = 2")
    tamper(folder, f"INSERT INTO protected (id) VALUES ('{GUID.upper()}')")
    assert [row.number for row in pending_rows(folder)] == [1, 3]
    assert foreseen(folder).outcomes[Outcome.EXCLUDED] == 1
    async with session(folder) as ledger:
        assert [row.number for row in await ledger.claim(9)] == [1, 3]


def test_it_is_counted_how_many_ids_of_each_list_occur(tmp_path: Path) -> None:
    rows = [pair(1, "u1", "i1"), pair(2, "u1", "i2"), pair(3, "u3", GUID), pair(4, "u4", "i4")]
    first, second = listed("u1", GUID.upper(), "nobody"), listed("u9", path=Path("/lists/more.txt"))
    counted = plan(tmp_path, rows, lists=[first, second]).plan_summary().lists
    assert [(each.path, each.ids, each.in_file) for each in counted] == [
        ("/lists/keep.txt", 3, 2),
        ("/lists/more.txt", 1, 0),
    ]


def test_an_id_that_differs_from_a_protected_one_in_case_alone_is_warned_of(tmp_path: Path) -> None:
    rows = [pair(1, "U1", "i1"), pair(2, "u2", "i2"), pair(3, "u3", "I9"), pair(4, "u1", "i4")]
    folder = plan(tmp_path, rows, protected=["u1", "i9"])
    (warned,) = folder.plan_summary().warnings
    assert (warned.code, warned.count, warned.lines) == ("case_of_protected", 2, (2, 4))
    assert look(folder, "SELECT row FROM rows WHERE planned = 'excluded'") == [(4,)]


def test_a_list_that_is_added_later_is_counted_and_warned_of_as_well(tmp_path: Path) -> None:
    folder = plan(tmp_path, [pair(1, "U1", "i1"), pair(2, "u2", "i2")])
    assert add(folder, lists=[listed("u1", "u2")], reason="").ids == 2
    summary = folder.plan_summary()
    assert [(each.ids, each.in_file) for each in summary.lists] == [(2, 1)]
    assert [(each.code, each.lines) for each in summary.warnings] == [("case_of_protected", (2,))]
    assert not add(folder, lists=[listed("u1", "u2")], reason="")
