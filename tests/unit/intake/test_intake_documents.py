"""JSON that is not one object a line: arrays, objects over several lines, and what holds its rows deeper."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InputError
from worker.intake import InputOptions, open_table
from worker.intake.documents import values
from worker.model import InputRow

_ROWS = [{"user_id": f"u{n}", "identifier_id": f"e{n}", "note": 'a "[{\\'} for n in range(3)]
_CELLS = [list(row.values()) for row in _ROWS]


def read(path: Path, data: str | bytes) -> list[InputRow]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with open_table(path, InputOptions()) as table:
        return list(table.rows())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("in.json", json.dumps(_ROWS)),
        ("in.json", json.dumps(_ROWS, indent=2)),
        ("in.txt", "\n" + json.dumps(_ROWS, indent="\t")),
        ("in.jsonl", "[\n" + ",\n".join(map(json.dumps, _ROWS)) + "\n]\n"),
        ("in.json", "\n".join(json.dumps(row, indent=2) for row in _ROWS)),
        ("in.json", "".join(json.dumps([row]) + "\n" for row in _ROWS)),
        ("in.json.gz", gzip.compress(json.dumps(_ROWS).encode(), mtime=0)),
        ("in.json", "\ufeff" + json.dumps(_ROWS, ensure_ascii=False)),
        ("in.jsonl", "".join(json.dumps(row) + "\n" for row in _ROWS)),
    ],
)
def test_every_way_to_write_the_same_rows(tmp_path: Path, name: str, data: str | bytes) -> None:
    rows = read(tmp_path / name, data)
    assert [row.cells for row in rows] == _CELLS
    assert not any(row.error_code for row in rows)


def test_a_row_is_named_by_the_line_where_it_starts(tmp_path: Path) -> None:
    rows = read(tmp_path / "in.json", json.dumps(_ROWS, indent=2))
    assert [row.line for row in rows] == [2, 7, 12]


@pytest.mark.parametrize(
    "broken", ["[{1}", ',{"user_id":}]', '"x"]', "{}", '{"a":"b""}]', "", ",", "]]", "x"]
)
def test_a_document_that_is_broken_plans_nothing(tmp_path: Path, broken: str) -> None:
    """Where one row ends and the next begins is a guess then: no row may be swallowed."""
    start = "[" + ",".join(json.dumps(row, indent=1) for row in _ROWS)
    with pytest.raises(InputError, match="JSON breaks off on line"):
        read(tmp_path / "in.json", start + broken)


def test_a_value_that_is_no_object_is_an_invalid_row(tmp_path: Path) -> None:
    rows = read(tmp_path / "in.json", '[{"user_id":"u","identifier_id":"e"}, null, "x", [1], 7 ]')
    assert [row.error_code for row in rows] == ["", *["not_an_object"] * 4]


def test_bytes_that_do_not_decode_make_their_row_invalid(tmp_path: Path) -> None:
    data = b'[{"user_id":"u\xff","identifier_id":"e"},\n{"user_id":"u2","identifier_id":"e2"}]'
    assert [row.error_code for row in read(tmp_path / "in.json", data)] == ["undecodable", ""]


@pytest.mark.parametrize("number", ["1.5", "7.0", "6.001e+18", "-1", "1E5"])
def test_an_id_that_is_a_number_but_no_whole_digits_is_invalid(tmp_path: Path, number: str) -> None:
    (row,) = read(tmp_path / "in.jsonl", f'{{"user_id":{number},"identifier_id":"e"}}\n')
    assert row.error_code == "not_text"
    assert number in row.error_message


_SPLUNK = '{"preview":false,"result":{"user_id":"u0","identifier_id":"e0"}}'
_NESTED = {
    "in.json": json.dumps({"total": 1, "users": _ROWS}),
    "pretty.json": json.dumps({"users": _ROWS}, indent=1),
    "splunk.json": f"{_SPLUNK}\n{_SPLUNK}\n",
    "elastic.json": json.dumps({"hits": {"hits": [{"_source": row} for row in _ROWS]}}),
    "array.json": json.dumps([{"a-b": row} for row in _ROWS]),
    "index.json": json.dumps({str(n): row for n, row in enumerate(_ROWS)}),
    "large.json": json.dumps({"users": _ROWS * 8_000}),
    "with space.json": json.dumps({"users": _ROWS}),
}


@pytest.mark.parametrize("name", _NESTED)
def test_ids_that_are_nested_are_refused_with_a_command_that_works(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="holds the ids nested") as refusal:
        read(tmp_path / name, _NESTED[name])
    command = str(refusal.value).split("`")[1]
    if shutil.which("jq") is None:
        assert shlex.split(command)[:2] == ["jq", "-c"]
        return
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    rows = read(tmp_path / "again.jsonl", (tmp_path / "rows.jsonl").read_bytes())
    assert rows[0].user_id == "u0"
    assert not any(row.error_code for row in rows)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ('{"user_id":{"0":"u1"},"identifier_id":{"0":"e1"}}', "column by column"),
        ('{"user_id":["u1"],"identifier_id":["e1"]}', "column by column"),
        ('[["u1","e1"]]', "none of the first values is a JSON object"),
        ('["u1","e1"]\n["u2","e2"]\n', "none of the first values is a JSON object"),
        ("[]", "empty array"),
        ('{"columns":["user_id","identifier_id"],"data":[["u1","e1"]]}', "has no column user_id"),
    ],
)
def test_tables_of_other_shapes_are_refused(tmp_path: Path, data: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        read(tmp_path / "in.json", data)
    assert "--no-header" not in str(refusal.value)


def test_a_header_with_brackets_is_no_json(tmp_path: Path) -> None:
    rows = read(tmp_path / "in.txt", "[user_id],user_id,identifier_id\nx,u,e\n")
    assert rows[0].user_id == "u"


def test_a_large_array_on_one_line_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    with path.open("w") as file:
        row = json.dumps({"user_id": "u", "identifier_id": "e", "note": "n" * 4_000})
        file.write("[" + ",".join([row] * 800) + "]")
    tracemalloc.start()
    with open_table(path, InputOptions()) as table:
        assert sum(1 for _ in table.rows()) == 800
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 2


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{},: \n\u00e9'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(_JSON, max_size=6), st.sampled_from([None, 1]), st.integers(1, 7))
def test_no_value_is_lost_or_made_wherever_the_pieces_end(
    told: list[object], indent: int | None, size: int
) -> None:
    text = json.dumps(told, indent=indent)

    def pieces() -> Iterator[str]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    assert [json.loads(value) for _, value in values(pieces(), "in.json")] == told
