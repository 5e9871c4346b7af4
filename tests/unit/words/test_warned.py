"""Warnings are counted by code, in bounded memory."""

from __future__ import annotations

import pytest

from worker.intake.check import has_unseen_edge
from worker.warned import MOST_LINES, Warned, Warnings


def test_the_first_lines_are_kept_and_all_rows_are_counted() -> None:
    warnings = Warnings()
    for line in range(2, 10_002):
        warnings.add("edge_white_space", line)
    (warned,) = warnings.all()
    assert warned == Warned("edge_white_space", 10_000, (2, 3, 4, 5, 6))
    assert len(warned.lines) == MOST_LINES
    assert warned.sentence() == (
        "10,000 rows: an id begins or ends with white space or an invisible character, and is sent as it is"
        " (lines 2, 3, 4, 5, 6 and more)"
    )


def test_a_line_of_a_part_is_named_with_it() -> None:
    warnings = Warnings()
    warnings.part = "part-00001.csv"
    warnings.add("edge_white_space", 3)
    (warned,) = warnings.all()
    assert warned.sentence().startswith("1 row: ")
    assert warned.sentence().endswith("(line part-00001.csv:3)")
    assert warned.as_object() == {"code": "edge_white_space", "count": 1, "lines": ["part-00001.csv:3"]}


def test_what_is_known_only_at_the_end_is_put_or_dropped() -> None:
    warnings = Warnings()
    warnings.add("a_newer_code", 7)
    warnings.put("edge_white_space", 2, [4, 5])
    assert [each.code for each in warnings.all()] == ["edge_white_space", "a_newer_code"]
    warnings.put("edge_white_space", 0, [])
    warnings.drop("a_newer_code")
    assert warnings.all() == ()


@pytest.mark.parametrize(
    "edge",
    [" ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u200e", "\u2060", "\ufeff", "\u00ad", "\u2028", "\u3164"],
)
def test_an_edge_that_nobody_sees_is_noticed(edge: str) -> None:
    assert has_unseen_edge(f"u1{edge}")
    assert has_unseen_edge(f"{edge}u1")
    assert not has_unseen_edge(f"u{edge}1")
    assert not has_unseen_edge("")
