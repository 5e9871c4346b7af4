"""Reading JSON lines as one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import InputError
from worker.intake import InputOptions, open_table
from worker.intake.objects import MOST_COLUMNS
from worker.model import InputRow
from worker.nesting import DEEPEST


def read(tmp_path: Path, data: str | bytes, name: str = "in.jsonl") -> tuple[tuple[str, ...], list[InputRow]]:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with open_table(path, InputOptions()) as table:
        rows = list(table.rows())
        return table.header, rows


def test_keys_that_vary_and_nest_make_one_table(tmp_path: Path) -> None:
    header, rows = read(
        tmp_path,
        '{"user_id":"u-1","identifier_id":"i-1"}\n\n'
        '{"tags":{"a": [1, 2]},"identifier_id":"i-2","user_id":12345678901234567890123,"x":null,"y":true}\n',
        "in.txt",
    )
    assert header == ("user_id", "identifier_id", "tags", "x", "y")
    assert rows[0].cells[:2] == ["u-1", "i-1"]
    assert rows[1].cells == ["12345678901234567890123", "i-2", '{"a": [1, 2]}', "", "true"]
    assert [(row.number, row.line, row.error_code) for row in rows] == [(1, 1, ""), (2, 3, "")]


def test_a_key_that_appears_late_ends_in_the_header(tmp_path: Path) -> None:
    lines = ['{"user_id":"u-1","identifier_id":"i-1"}'] * 9000 + [
        '{"late":"1","user_id":"u","identifier_id":"i"}'
    ]
    header, rows = read(tmp_path, "\n".join(lines))
    assert header == ("user_id", "identifier_id", "late")
    assert rows[-1].cells == ["u", "i", "1"]


@pytest.mark.parametrize("key", ["_row", "_outcome"])
def test_a_key_of_ours_that_appears_late_is_refused(tmp_path: Path, key: str) -> None:
    """The next report would hold it twice."""
    good = '{"user_id":"u-1","identifier_id":"i-1"}\n'
    with pytest.raises(InputError, match=f"in.jsonl: line 9002 has the column {key}, which reports add"):
        read(tmp_path, good * 9000 + "\n" + good.replace("}", f',"{key}":1}}') + good)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("[1]", "not_an_object"),
        ("nonsense", "not_an_object"),
        ('{"user_id":"u"', "not_an_object"),
        ('{"user_id":"\\ud800","identifier_id":"i"}', "not_an_object"),
        ('{"a":' + "[" * 100_000, "not_an_object"),
        ('{"user_id":"u","identifier_id":"i","a":' + "[" * DEEPEST + "]" * DEEPEST + "}", "not_an_object"),
        ('{"identifier_id":"i"}', "missing_user_id"),
        ('{"user_id":"u","identifier_id":null}', "missing_identifier_id"),
        ('{"user_id":"","identifier_id":"i"}', "empty_user_id"),
        ('{"user_id":{"a":1},"identifier_id":"i"}', "not_text"),
        ('{"user_id":"u","user_id":"v","identifier_id":"i"}', "repeated_key"),
        ('{"user_id":"u","user\\u005fid":"v","identifier_id":"i"}', "repeated_key"),
        ('{"user_id":"u\\u0000","identifier_id":"i"}', "control_character"),
    ],
)
def test_a_bad_line_is_invalid_and_stops_no_other(tmp_path: Path, line: str, code: str) -> None:
    good = '{"user_id":"u-1","identifier_id":"i-1"}'
    _, rows = read(tmp_path, f"{good}\n{line}\n{good}\n")
    assert [row.error_code for row in rows] == ["", code, ""]
    assert rows[1].error_message


def test_an_id_inside_of_a_nested_value_repeats_nothing(tmp_path: Path) -> None:
    line = '{"user_id":"u","identifier_id":"i","was":{"user_id":"\\"","n":' + "9" * 5000 + "}}"
    _, rows = read(tmp_path, line)
    assert [(row.user_id, row.error_code) for row in rows] == [("u", "")]


def test_undecodable_bytes(tmp_path: Path) -> None:
    _, rows = read(
        tmp_path, b'{"user_id":"u-1","identifier_id":"i-1"}\n{"user_id":"\xff","identifier_id":"i"}\n'
    )
    assert [row.error_code for row in rows] == ["", "undecodable"]
    assert "\\xff" in rows[1].cells[0]


def test_keys_that_are_data_do_not_grow_without_end(tmp_path: Path) -> None:
    lines = [f'{{"user_id":"u","identifier_id":"i","k{number}":1}}' for number in range(2 * MOST_COLUMNS)]
    header, rows = read(tmp_path, "\n".join(lines))
    assert len(header) == MOST_COLUMNS
    assert {row.error_code for row in rows} == {"", "wrong_column_count"}


def test_a_report_loses_its_own_columns(tmp_path: Path) -> None:
    header, rows = read(tmp_path, '{"user_id":"\'u","identifier_id":"i","_row":1,"_outcome":"refused"}\n')
    assert header == ("user_id", "identifier_id")
    assert rows[0].cells == ["'u", "i"]


@pytest.mark.parametrize("data", ['{\n"user_id": "u"\n}\n', '{"name":"x"}\n'])
def test_no_table(tmp_path: Path, data: str) -> None:
    with pytest.raises(InputError):
        read(tmp_path, data)


@pytest.mark.parametrize("number", ["1.5e3", "60012345.0", "-5", "1E5", "6.001234568e+18"])
def test_a_number_that_is_not_whole_digits_is_no_id(tmp_path: Path, number: str) -> None:
    text = f'{{"user_id":{number},"identifier_id":"i-1"}}\n{{"user_id":12345678901234567890,"identifier_id":7}}\n'
    rows = read(tmp_path, text)[1]
    assert [(row.user_id, row.error_code) for row in rows] == [
        (number, "not_text"),
        ("12345678901234567890", ""),
    ]
    assert number in rows[0].error_message
