"""Parquet and Excel as input: an id is text or a whole number, or its row is invalid."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import io
import tarfile
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xlsxwriter
from pyarrow import parquet

from worker.errors import InputError, UsageError
from worker.intake import InputOptions, as_parts, digest, open_table
from worker.model import InputRow

_UUID = uuid.UUID(int=7)
_DATE = dt.date(2026, 5, 6)
_MOMENT = dt.datetime(2026, 5, 6, 7, tzinfo=dt.UTC)


def read(*paths: Path, options: InputOptions | None = None) -> list[InputRow]:
    with (
        as_parts(paths, paths[0].parent) as parts,
        open_table(parts, options or InputOptions()) as table,
    ):
        rows = list(table.rows())
        if len(paths) == 1:
            assert table.sha256 == digest(paths[0])
        return rows


def write_parquet(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path, row_group_size=2)
    return path


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (["007", "12345678901234567890"], ["007", "12345678901234567890"]),
        ([7, 2**62 + 1], ["7", str(2**62 + 1)]),
        ([7.0, float(2**53)], ["7", str(2**53)]),
        ([decimal.Decimal(12345678901234567890), decimal.Decimal(7)], ["12345678901234567890", "7"]),
        ([b"u-1", b"u-2"], ["u-1", "u-2"]),
        (pa.array(["a-1", "a-1"]).dictionary_encode(), ["a-1", "a-1"]),
        (pa.array([_UUID.bytes, _UUID.bytes], pa.uuid()), [str(_UUID)] * 2),
    ],
)
def test_parquet_ids_are_exact(tmp_path: Path, values: Any, texts: list[str]) -> None:
    rows = read(write_parquet(tmp_path / "in.parquet", user_id=values, identifier_id=["e-1", "e-2"]))
    assert [(row.user_id, row.line, row.error_code) for row in rows] == [(texts[0], 1, ""), (texts[1], 2, "")]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (6.001234567890124e18, "imprecise_number"),
        (7.5, "not_whole"),
        (-7, "not_whole"),
        (decimal.Decimal("1.5"), "not_whole"),
        (_DATE, "not_text"),
        (_MOMENT, "not_text"),
        (True, "not_text"),
        (["u1"], "not_text"),
        (None, "empty_user_id"),
        (float("nan"), "empty_user_id"),
        (b"\xff\xfe-", "undecodable"),
    ],
)
def test_parquet_values_that_are_no_ids_are_invalid(tmp_path: Path, value: object, code: str) -> None:
    (row,) = read(write_parquet(tmp_path / "in.parquet", user_id=[value], identifier_id=["e-1"]))
    assert row.error_code == code, row


def test_parquet_keeps_other_columns_and_parts_are_one_input(tmp_path: Path) -> None:
    one = write_parquet(
        tmp_path / "a", user_id=["u-1"], identifier_id=["e-1"], when=[_DATE], tags=[["x", "y"]]
    )
    two = write_parquet(tmp_path / "b", user_id=["u-2"], identifier_id=["e-2"], when=[None], tags=[None])
    rows = read(one, two)
    assert [row.cells for row in rows] == [["u-1", "e-1", "2026-05-06", '["x", "y"]'], ["u-2", "e-2", "", ""]]
    other = write_parquet(tmp_path / "c", identifier_id=["e-3"], user_id=["u-3"])
    with pytest.raises(InputError, match="does not begin with the columns"):
        read(one, other)


def test_parquet_that_is_broken_or_packed_or_without_names_says_so(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "in.parquet", user_id=["u-1"], identifier_id=["e-1"])
    with pytest.raises(UsageError, match="leave --no-header out"):
        read(path, options=InputOptions(header=False))
    (tmp_path / "in.parquet.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="unpack it"):
        read(tmp_path / "in.parquet.gz")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="cannot be read"):
        read(path)


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    """A sheet that begins at B3, with a hidden sheet of the same columns before it."""
    path = tmp_path / "in.xlsx"
    with xlsxwriter.Workbook(path) as book:
        hidden, sheet = book.add_worksheet("old"), book.add_worksheet("Data")
        hidden.write_row(0, 0, ["user_id", "identifier_id"])
        hidden.hide()
        sheet.activate()
        date = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(2, 1, ["user_id", "identifier_id", "note"])
        sheet.write_row(3, 1, ["007", "e-1"])
        sheet.write_datetime(3, 3, dt.date(2026, 5, 6), date)
        sheet.write_formula(4, 1, '="u"&"2"', None, "u2")
        sheet.write_row(4, 2, ["e-2"])
        sheet.write_row(6, 1, [12345678901234567890, "e-3"])
        sheet.write_row(7, 1, [42, "e-4", 1.5])
        sheet.write_datetime(8, 1, dt.date(2024, 5, 1), date)
        sheet.write_row(8, 2, ["e-5"])
        sheet.write_row(9, 1, ["u-6", "e-6"])
        sheet.write_formula(9, 3, "=1+1", None, 2)
        sheet.write_row(10, 1, [True, "e-7"])
        sheet.write_row(11, 1, ["u-8"])
    return path


def test_a_workbooks_rows_are_its_sheets_rows(workbook: Path) -> None:
    rows = read(workbook)
    assert [(row.line, row.user_id, row.error_code) for row in rows] == [
        (4, "007", ""),
        (5, "u2", "formula"),
        (7, "1.234567890123457e+19", "imprecise_number"),
        (8, "42", ""),
        (9, "2024-05-01", "not_text"),
        (10, "u-6", ""),
        (11, "true", "not_text"),
        (12, "u-8", "empty_identifier_id"),
    ]
    assert rows[0].cells == ["007", "e-1", "2026-05-06"]
    assert rows[5].cells[2] == "2"


def test_two_sheets_that_may_be_meant_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.xlsx"
    with xlsxwriter.Workbook(path) as book:
        for name in ("May", "June"):
            book.add_worksheet(name).write_row(0, 0, ["user_id", "identifier_id"])
    with pytest.raises(InputError, match="'May' and 'June' both have the columns"):
        read(path)


def test_a_workbook_that_is_broken_says_so(workbook: Path) -> None:
    data = workbook.read_bytes()
    workbook.write_bytes(data.replace(b"xl/worksheets/sheet2.xml", b"xl/worksheets/sheetX.xml"))
    with pytest.raises(InputError, match="cannot be read"):
        read(workbook)
    workbook.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="zip archive"):
        read(workbook)


def test_a_tar_archive_says_what_to_do(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("in.csv")
        archive.addfile(member, io.BytesIO(b""))
    (tmp_path / "in.tar.gz").write_bytes(packed.getvalue())
    with pytest.raises(InputError, match="tar archive: unpack it"):
        read(tmp_path / "in.tar.gz")


def test_a_pipe_separates_where_it_alone_finds_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("user_id|identifier_id|note\nu-1|e-1|a,b\n")
    assert read(path)[0].cells == ["u-1", "e-1", "a,b"]
    path.write_text("user_id,identifier_id\na|b-1,e-1\n")
    assert read(path)[0].user_id == "a|b-1"
