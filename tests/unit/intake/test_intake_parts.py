"""Several files, or a folder of part files, as one input."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from worker.errors import InputError
from worker.intake import InputOptions, as_parts, digest, digest_of, open_table
from worker.model import InputRow
from worker.warned import Warned

_DEFAULT = InputOptions()
_HEADER = "user_id,identifier_id,note\n"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_csv", ".csv")).write_text(content)


def read(
    tmp_path: Path, *given: Path, options: InputOptions = _DEFAULT
) -> tuple[list[InputRow], tuple[Warned, ...]]:
    with as_parts(given, tmp_path / "runs") as parts, open_table(parts, options) as table:
        rows = list(table.rows())
        assert table.sha256 == digest_of(parts)
        return rows, table.warnings.all()


def test_the_folder_that_spark_writes_is_one_input(tmp_path: Path) -> None:
    folder = tmp_path / "export.csv"
    write(folder, p0_csv=_HEADER + "u1,e1,a\n", p1_csv=_HEADER + "u2,e2,b\nu3\n u4,e4,d\n", p2_csv=_HEADER)
    for hidden in ("_SUCCESS", "._SUCCESS.crc", ".p0.csv.crc"):
        (folder / hidden).write_bytes(b"\0\1")
    rows, warned = read(tmp_path, folder)
    assert [(row.number, row.line, row.user_id) for row in rows] == [
        (1, 2, "u1"), (2, 2, "u2"), (3, 3, ""), (4, 4, " u4"),
    ]  # fmt: skip
    assert rows[2].error_message.startswith("p1.csv: the row has 1 columns")
    assert warned == (Warned("edge_white_space", 1, ("p1.csv:4",)),)


def test_files_are_read_in_the_order_given_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(_HEADER + "u2,e2,\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"user_id;identifier_id;note\nu1;e1;\n", mtime=0))
    rows, _ = read(tmp_path, tmp_path / "b.csv", tmp_path / "a.csv.gz")
    assert [row.user_id for row in rows] == ["u2", "u1"]


def test_the_digest_covers_all_parts_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, a_csv=_HEADER + "u1,e1,\n", b_csv=_HEADER + "u2,e2,\n")
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"

    def digest_as(*given: Path) -> str:
        with as_parts(given, tmp_path) as parts:
            return digest_of(parts)

    assert digest_as(a) == digest(a) == hashlib.sha256(a.read_bytes()).hexdigest()
    assert len({digest_as(a), digest_as(a, b), digest_as(b, a), digest_as(a, a)}) == 4


def test_an_empty_part_is_warned_of_and_files_without_any_are_refused(tmp_path: Path) -> None:
    write(tmp_path, a_csv="", b_csv=_HEADER + "u2,e2,\n", c_csv="")
    a, b, c = (tmp_path / f"{name}.csv" for name in "abc")
    rows, warned = read(tmp_path, a, b, c)
    assert [row.user_id for row in rows] == ["u2"]
    assert warned == (Warned("empty_part", 2, ("a.csv", "c.csv")),)
    assert warned[0].sentence() == "2 parts: it holds nothing (a.csv, c.csv)"
    with pytest.raises(InputError, match="Every one of these files is empty"):
        read(tmp_path, a, c)
    with pytest.raises(InputError, match="is empty"):
        read(tmp_path, a)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (
            "u2,e2,b\n",
            r"b.csv does not begin with the columns of .*a.csv .*'u2', 'e2', 'b'.*join them with cat",
        ),
        ("identifier_id,user_id,note\ne2,u2,b\n", "the same columns in the same order"),
        ("user_id,identifier_id\nu2,e2\n", "the same columns"),
    ],
)
def test_a_part_with_other_columns_is_refused_by_name(tmp_path: Path, second: str, says: str) -> None:
    write(tmp_path, a_csv=_HEADER + "u1,e1,a\n", b_csv=second)
    with pytest.raises(InputError, match=says):
        read(tmp_path, tmp_path / "a.csv", tmp_path / "b.csv")


def test_parts_without_a_header_have_equally_many_columns(tmp_path: Path) -> None:
    write(tmp_path, a_csv="u1,e1\n", b_csv="u2,e2\n", c_csv="u3,e3,x\n")
    a, b, c = (tmp_path / f"{name}.csv" for name in "abc")
    rows, _ = read(tmp_path, a, b, options=InputOptions(header=False))
    assert [row.user_id for row in rows] == ["u1", "u2"]
    with pytest.raises(InputError, match=r"c.csv has 3 columns, but .*a.csv has 2"):
        read(tmp_path, a, c, options=InputOptions(header=False))


def test_json_lines_in_parts_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"user_id":"u1","identifier_id":"e1"}\n')
    (tmp_path / "b.jsonl").write_text('{"identifier_id":"e2","late":"x","user_id":"u2"}\n')
    rows, _ = read(tmp_path, tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert [row.cells for row in rows] == [["u1", "e1"], ["u2", "e2", "x"]]
    (tmp_path / "c.csv").write_text("user_id,identifier_id\nu3,e3\n")
    with pytest.raises(InputError, match=r"c.csv is csv, but .*a.jsonl is jsonl"):
        read(tmp_path, tmp_path / "a.jsonl", tmp_path / "c.csv")


def test_the_limit_of_rows_holds_for_all_parts(tmp_path: Path) -> None:
    write(tmp_path, a_csv=_HEADER + "u1,e1,\n", b_csv=_HEADER + "u2,e2,\n")
    given = (tmp_path / "a.csv", tmp_path / "b.csv")
    read(tmp_path, *given, options=InputOptions(max_rows=2))
    with pytest.raises(InputError, match="more than 1 rows"):
        read(tmp_path, *given, options=InputOptions(max_rows=1))


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ([], "without files"),
        (["_SUCCESS"], "without files"),
        (["a.csv", "_temporary/"], "still being written"),
        (["day=1/"], "holds folders"),
        (["a.csv", "b.jsonl"], "several kinds"),
    ],
)
def test_a_folder_that_is_no_batch_says_why(tmp_path: Path, inside: Sequence[str], says: str) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    for name in inside:
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).write_text(_HEADER)
    with pytest.raises(InputError, match=says):
        read(tmp_path, folder)
