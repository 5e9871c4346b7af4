"""Protected is protected, at every place that asks, however an id's edges are written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from unit.ledger.ledger_staging import look, pair, plan, session

from worker.ledger import foreseen, pending_rows
from worker.model import Outcome
from worker.protection import EDGES

UNSEEN = [" u2", "u2 ", "\u00a0u2", "u2\u200b", "\ufeffu2", " \u2060 u2"]


def test_the_edges_are_all_white_space_there_is() -> None:
    assert {mark for mark in map(chr, range(sys.maxunicode + 1)) if mark.isspace()} < set(EDGES)


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
    assert foreseen(folder)[Outcome.EXCLUDED] == 1
    async with session(folder) as ledger:
        assert [row.number for row in await ledger.claim(9)] == [1, 3]


def test_an_id_that_nobody_can_see_is_compared_as_it_is_written(tmp_path: Path) -> None:
    folder = plan(tmp_path, [pair(1, "\u200b", "i1"), pair(2, "\ufeff", "i2")], protected=["\u200b"])
    assert look(folder, "SELECT row FROM rows WHERE planned = 'excluded'") == [(1,)]
