"""Whatever program wrote a table: no row is lost, none is invented, and each id is exact or its row is invalid."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.intake import InputOptions, open_table
from worker.model import InputRow

Row = tuple[str, str, str]

ENDINGS: Final = ["", "", "", "", "\\", "\\\\", "\\n", ",x", '"', "|y", "a b"]
WORDS: Final = [
    '"',
    '""',
    '\\"',
    "\\",
    "\\\\",
    "\\n",
    "\\N",
    "\t",
    ",",
    ";",
    "\n",
    "\r\n",
    "\r",
    "x",
    "word",
    'say "no"',
    "'",
    " ",
]
NOTES: Final = st.lists(st.sampled_from(WORDS), max_size=6).map("".join)


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    count = draw(st.integers(1, 12))
    rows = []
    for number in range(1, count + 1):
        user, identifier = (draw(st.sampled_from(ENDINGS)) for _ in range(2))
        rows.append((f"user{number:02}{user}", f"mail{number:02}{identifier}", draw(NOTES)))
    return rows


def rfc4180(delimiter: str, quoting: int) -> Callable[[list[Row]], str]:
    """The writers that quote: polars, DuckDB, PostgreSQL's CSV, R's write.csv, Go, Ruby, Perl, csv-stringify, ..."""

    def write(rows: list[Row]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, lineterminator="\r\n", quoting=quoting).writerows(rows)  # type: ignore[arg-type] - one of its constants
        return text.getvalue()

    return write


def escaped(delimiter: str, *, always: bool, doubles: bool) -> Callable[[list[Row]], str]:
    """Quotes that a backslash escapes: Spark, MariaDB with ENCLOSED BY, PostgreSQL with ESCAPE, fwrite, ..."""

    def cell(value: str) -> str:
        if not always and not set(value) & set(f'{delimiter}"\n\r'):
            return value
        inner = value.replace("\\", "\\\\") if doubles else value
        return '"' + inner.replace('"', '\\"') + '"'

    return lambda rows: "".join(delimiter.join(map(cell, row)) + "\n" for row in rows)


def bare(escapes: dict[str, str]) -> Callable[[list[Row]], str]:
    """TSV without quotes: what is in `escapes` is escaped, the rest stands as it is."""

    def cell(value: str) -> str:
        return "".join(escapes.get(each, each) for each in value)

    return lambda rows: "".join("\t".join(map(cell, row)) + "\n" for row in rows)


LETTERS: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
EXPORTERS: Final[dict[str, tuple[str, str, Callable[[list[Row]], str]]]] = {
    "csv": (",", "rfc4180", rfc4180(",", csv.QUOTE_MINIMAL)),
    "csv, all quoted": (",", "rfc4180", rfc4180(",", csv.QUOTE_ALL)),
    "tsv, quoted": ("\t", "rfc4180", rfc4180("\t", csv.QUOTE_MINIMAL)),
    "semicolons": (";", "rfc4180", rfc4180(";", csv.QUOTE_MINIMAL)),
    "spark": (",", "backslash", escaped(",", always=False, doubles=True)),
    "spark, all quoted": (",", "backslash", escaped(",", always=True, doubles=True)),
    "spark, tab": ("\t", "backslash", escaped("\t", always=False, doubles=True)),
    "mariadb, enclosed": (",", "backslash", escaped(",", always=True, doubles=True)),
    "r write.table": (",", "", escaped(",", always=True, doubles=False)),
    "clickhouse, postgres text, jq": ("\t", "backslash", bare(LETTERS)),
    "mariadb --batch": ("\t", "backslash", bare({each: LETTERS[each] for each in "\\\t\n"})),
    "mariadb outfile": ("\t", "backslash", bare({"\\": "\\\\", "\t": "\\\t", "\n": "\\\n"})),
    "psql -A, sqlite3 -tabs": ("\t", "none", bare({"\t": " ", "\n": " ", "\r": " "})),
}


def read(text: str, quoting: str | None) -> list[InputRow]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.txt"
        path.write_text(text, newline="")
        with open_table(path, InputOptions(quoting=quoting)) as table:
            return list(table.rows())


@pytest.mark.parametrize("name", EXPORTERS)
@settings(max_examples=150, deadline=None)
@given(rows=tables())
def test_no_row_is_lost_or_invented_and_each_id_is_exact_or_invalid(name: str, rows: list[Row]) -> None:
    delimiter, told, write = EXPORTERS[name]
    text = delimiter.join(("user_id", "identifier_id", "note")) + "\n" + write(rows)
    found = read(text, None)
    valid = [(row.user_id, row.identifier_id) for row in found if not row.error_code]
    truth = [(user, identifier) for user, identifier, _ in rows]
    assert [pair for pair in truth if pair in valid] == valid
    assert len(found) >= len(rows)
    if told:
        exact = [(row.user_id, row.identifier_id) for row in read(text, told) if not row.error_code]
        if name == "spark, tab" and '"' not in text:  # nothing tells it from ClickHouse's
            return
        if (
            told == "backslash"
        ):  # where no cell has to be quoted, nothing tells whether backslashes are doubled
            truth = [pair for pair in truth if pair in exact or "\\" not in "".join(pair)]
        assert exact == truth
