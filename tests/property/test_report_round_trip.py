"""Whatever a cell holds: it comes back as it was, and no spreadsheet runs it."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from worker.model import Outcome
from worker.report.cells import escape, unescape
from worker.report.csv_report import write_csv
from worker.reportable import ReportRow

CELLS = st.text(st.one_of(st.sampled_from("=+-@'\t\r\n\",;aB3_.é"), st.characters(exclude_categories=["Cs"])))


@given(CELLS)
def test_unescape_undoes_escape(cell: str) -> None:
    assert unescape(escape(cell)) == cell


@given(CELLS)
def test_no_cell_starts_a_formula(cell: str) -> None:
    shown = escape(cell)
    assert shown[:1] not in set("=+@\t\r")
    if shown.startswith("-"):
        assert all(letter.isascii() and (letter.isalnum() or letter in "_-.") for letter in shown)


@given(st.from_regex(r"-?[A-Za-z0-9_][A-Za-z0-9_.-]*", fullmatch=True))
def test_ids_stay_as_they_are(cell: str) -> None:
    assert escape(cell) == cell


@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=20),
    st.lists(CELLS, min_size=2, max_size=2),
    CELLS,
)
def test_a_report_gives_its_cells_back(table: list[list[str]], header: list[str], message: str) -> None:
    out = io.BytesIO()
    rows = (
        ReportRow(cells, number, Outcome.REFUSED, error_message=message)
        for number, cells in enumerate(table, 1)
    )
    assert write_csv(out, header, rows, "r") == len(table)
    lines = list(csv.reader(io.StringIO(out.getvalue().decode(), newline="")))
    assert [[unescape(cell) for cell in line[:2]] for line in lines] == [header, *table]
    assert all(unescape(line[6]) == message for line in lines[1:])
