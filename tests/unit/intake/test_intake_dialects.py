"""Files that do not quote as RFC 4180: found, told, or in doubt; lines that are no rows; ids that no export meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import UsageError
from worker.intake import InputOptions, open_table
from worker.intake.table import Table
from worker.model import InputRow

HEADER = "user_id,identifier_id,note\n"


def read(
    tmp_path: Path, text: str, name: str = "in.csv", quoting: str | None = None
) -> tuple[Table, list[InputRow]]:
    path = tmp_path / name
    path.write_text(text, newline="")
    with open_table(path, InputOptions(quoting=quoting)) as table:
        return table, list(table.rows())


def ids(rows: list[InputRow]) -> list[tuple[str, str]]:
    return [(row.user_id, row.identifier_id) for row in rows if not row.error_code]


def codes(rows: list[InputRow]) -> list[str]:
    return [row.error_code for row in rows]


def warned(table: Table) -> list[tuple[str, int, tuple[int | str, ...]]]:
    return [(each.code, each.count, each.lines) for each in table.warnings.all()]


def tabbed(*lines: str) -> str:
    return "".join(f"{line}\n" for line in ("user_id,identifier_id,note", *lines)).replace(",", "\t")


DITTO = tabbed("u01,e01,x", 'u02,e02,"', 'u03,e03,"', "u04,e04,z")


def test_ditto_marks_lose_no_row(tmp_path: Path) -> None:
    _, rows = read(tmp_path, DITTO)
    assert codes(rows) == ["", "broken_quoting", "broken_quoting", ""]
    assert "lines 3 to 4" in rows[1].error_message
    for told, expected in (("none", 4), ("rfc4180", 3)):
        assert f"--quoting {told}" in rows[1].error_message
        assert codes(read(tmp_path, DITTO, quoting=told)[1]) == [""] * expected


@pytest.mark.parametrize("note", ['5" screen', '"starts with', '"both" ends', '"'])
def test_a_file_that_shows_that_it_never_quotes_is_read_so(tmp_path: Path, note: str) -> None:
    text = tabbed("u01,e01,x", f"u02,e02,{note}", 'u03,e03,a 6" one', "u04,e04,z")
    table, rows = read(tmp_path, text)
    assert table.dialect["quoting"] == "none"
    assert codes(rows) == [""] * 4
    assert rows[1].cells[2] == note


def test_a_sound_file_with_rows_in_a_note_is_in_doubt_until_it_is_declared(tmp_path: Path) -> None:
    text = f'{HEADER}u01,e01,"see:\nu09,e09,x\nthat is all"\nu02,e02,b\n'
    _, rows = read(tmp_path, text)
    assert codes(rows) == ["broken_quoting"] * 3 + [""]
    _, declared = read(tmp_path, text, quoting="rfc4180")
    assert ids(declared) == [("u01", "e01"), ("u02", "e02")]


def test_notes_of_several_lines_are_no_rows(tmp_path: Path) -> None:
    notes = [
        "Dear Sir,\nthanks, see you, bye",
        "a\nb\n\nc",
        "1) x, y\n2) z, w",
        'he said ""no"", twice\nok, fine,',
    ]
    text = HEADER + "".join(f'u{n:02},e{n:02},"{note}"\n' for n, note in enumerate(notes))
    _, rows = read(tmp_path, text)
    assert [row.cells[2] for row in rows] == [note.replace('""', '"') for note in notes]


@pytest.mark.parametrize("note", [",Hello", "\\nHello", 'Hello, \\"you\\"\\n'])
def test_spark_escapes_quotes_with_a_backslash(tmp_path: Path, note: str) -> None:
    note = note.replace("\\n", "\n")
    text = f'{HEADER}u01,e01,"6\\""\nu02,e02,x\nu03,e03,"{note}"\nu04,e04,y\n'
    table, rows = read(tmp_path, text)
    assert table.dialect["quoting"] == "backslash"
    assert ids(rows) == [(f"u0{n}", f"e0{n}") for n in range(1, 5)]
    assert rows[2].cells[2] == note.replace('\\"', '"')


def test_escapes_without_quotes_are_found_and_undone(tmp_path: Path) -> None:
    text = tabbed("usr\\\\c6,em\\\\nc6,x", 'u02,e02,line1\\nline2 6"')
    table, rows = read(tmp_path, text)
    assert table.dialect["quoting"] == "backslash"
    assert codes(rows) == ["unclear_escape", ""]
    assert ids(read(tmp_path, text, quoting="backslash")[1]) == [("usr\\c6", "em\\nc6"), ("u02", "e02")]
    assert rows[1].cells[2] == 'line1\nline2 6"'


def test_a_line_end_behind_a_backslash_ends_no_row(tmp_path: Path) -> None:
    _, rows = read(tmp_path, tabbed("u01,e01,a\\\n b", "u02,e02,x\\,y", "u03,e03,\\N"))
    assert [(row.line, row.cells[2]) for row in rows] == [(2, "a\n b"), (4, "x\ty"), (5, "\\N")]


@pytest.mark.parametrize(
    ("name", "id_", "told"),
    [
        ("in.tsv", "em\\\\c6", "em\\c6"),
        ("in.tsv", "em\\nc6", "em\nc6"),
        ("in.csv", "em\\\\c6", "em\\\\c6"),
    ],
)
def test_an_id_that_may_be_escaped_is_in_doubt_until_it_is_told(
    tmp_path: Path, name: str, id_: str, told: str
) -> None:
    text = f"user_id,identifier_id\nu01,{id_}\nu02,e02\n"
    text = text.replace(",", "\t") if name == "in.tsv" else text
    _, rows = read(tmp_path, text, name)
    assert codes(rows) == ["unclear_escape", ""]
    assert "--quoting backslash" in rows[0].error_message
    assert ids(read(tmp_path, text, name, "rfc4180")[1])[0] == ("u01", id_)
    row = read(tmp_path, text, name, "backslash")[1][0]
    assert (row.identifier_id, bool(row.error_code)) == (told, told != "em\\c6")


def test_a_single_backslash_in_a_csv_is_itself(tmp_path: Path) -> None:
    assert ids(read(tmp_path, 'user_id,identifier_id\nAD\\bob,"e\\1"\n')[1]) == [("AD\\bob", "e\\1")]


def test_a_broken_quote_names_the_dialect(tmp_path: Path) -> None:
    filler = "".join(f"u{n},e{n},note\n" for n in range(100_000))
    _, rows = read(tmp_path, f'{HEADER}{filler}u-1,e-1,"say \\"no\\" more"\n')
    assert codes(rows)[-1] == "broken_quoting"
    assert (
        "quotes are escaped with a backslash (Spark, MariaDB): --quoting backslash" in rows[-1].error_message
    )


def test_an_unknown_quoting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none, rfc4180 or backslash"):
        read(tmp_path, HEADER, quoting="spark")


def test_a_lone_return_is_a_part_of_its_cell(tmp_path: Path) -> None:
    for note, cell in (("cr\rhere", "cr\rhere"), ('"a\rb"', "a\rb")):
        _, rows = read(tmp_path, f"{HEADER}u01,e01,{note}\nu02,e02,x\n")
        assert [(row.line, row.cells[2]) for row in rows] == [(2, cell), (3, "x")]
    assert codes(read(tmp_path, f"{HEADER}u\r01,e01,x\n")[1]) == ["control_character"]
    assert ids(read(tmp_path, f"{HEADER}u01,e01,x\r\nu02,e02,y\r")[1]) == [("u01", "e01"), ("u02", "e02")]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("user_id,identifier_id,note", "header_again"),
        ("\ufeffUser ID,identifier-id,note", "header_again"),
        ("Nullable(String),LowCardinality(String),String", "types_line"),
        ("UInt64,UInt64,DateTime64(3)", "types_line"),
        ("-----,-----------------------------------,---", "rule_line"),
        ("Total,2,", "totals_line"),
        ("# a comment,x,y", "comment_line"),
        ("(1 row)", "footer"),
        ("20 rows in set (0.01 sec)", "footer"),
    ],
)
def test_a_line_that_is_no_row_is_named_and_spoils_no_other(tmp_path: Path, line: str, code: str) -> None:
    _, rows = read(tmp_path, f"{HEADER}u01,e01,x\n{line}\nu02,e02,y\n")
    assert codes(rows) == ["", code, ""]


@pytest.mark.parametrize(
    "again",
    [
        "identifier_id,user_id,note",
        "\ufeffidentifier_id,user_id,note",
        "note,user_id,identifier_id",
        "user_id,identifier_id",
        "user_id;identifier_id",
    ],
)
def test_after_a_header_with_other_columns_all_is_in_doubt(tmp_path: Path, again: str) -> None:
    _, rows = read(
        tmp_path, f"{HEADER}u01,e01,x\n{again}\ne02,u02,y\nuser_id,identifier_id,note\nu03,e03,z\n"
    )
    assert codes(rows) == ["", "header_again", "columns_changed", "header_again", ""]


def test_what_stands_for_nothing_or_for_text(tmp_path: Path) -> None:
    _, rows = read(tmp_path, f'{HEADER}\\N,e01,x\nu02,\\N,x\n"=""007""",="0012",x\n')
    assert codes(rows) == ["missing_user_id", "missing_identifier_id", ""]
    assert ids(rows) == [("007", "0012")]


def test_a_short_row_is_filled_where_its_ids_are_there(tmp_path: Path) -> None:
    _, rows = read(tmp_path, f"{HEADER}u01,e01,x\nu02,e02\nnot a row,at all\nu04\nu05,e05")
    assert codes(rows) == ["", "", "wrong_column_count", "wrong_column_count", "wrong_column_count"]
    assert rows[1].cells == ["u02", "e02", ""]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["〃,i1", "u2,″", "u3,''"], ("placeholder", 3, (2, 3, 4))),
        (["u1,NULL", "u2,nan", "#N/A,i3", "ᴺᵁᴸᴸ,i4", "None,i5"], ("placeholder", 5, (2, 3, 4, 5, 6))),
        (
            ["6.001234567890124e+18,i1", "7.0,i2", "1e+05,i3", "6001234567890124e3,i4"],
            ("rounded_number", 4, (2, 3, 4, 5)),
        ),
        (["u1,i1", "u2,i2", "u3,i3", "i4,u4"], ("swapped_ids", 1, (5,))),
        (["6001,a001", "6002,a002", "6003,a003", "a004,6004"], ("swapped_ids", 1, (5,))),
        (["6cec8047-6149-4d9b-8d99-91c83c22a9dc,user9912", "u1,i1"], ("swapped_ids", 1, (2,))),
        ([f"u{n},same" for n in range(10)], ("crowded_identifier", 10, (2, 3, 4, 5, 6))),
    ],
)
def test_ids_that_no_export_meant_are_warned_of(
    tmp_path: Path, rows: list[str], expected: tuple[str, int, tuple[int, ...]]
) -> None:
    table, found = read(tmp_path, "user_id,identifier_id\n" + "\n".join(rows) + "\n")
    assert codes(found) == [""] * len(rows)
    assert warned(table) == [expected]


def test_an_id_that_was_cut_at_the_end_is_warned_of(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "identifier_id,user_id\ni1,60012345\ni2,6001")
    assert warned(table) == [("cut_off_id", 1, (3,))]
    for whole in ("identifier_id,user_id\ni1,60012345\ni2,6001\n", "user_id,identifier_id\nu1,i1\nu2,i2"):
        assert warned(read(tmp_path, whole)[0]) == []


def test_ordinary_ids_are_not_warned_of(tmp_path: Path) -> None:
    users = [
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "12345e67",
        "60012345",
        "bob@example.com",
        "u-1",
        "aB3_x-9",
        "12e5abcd",
    ]
    lines = [f"{user},6cec8047-6149-4d9b-8d99-91c83c22a9d{n}\n" for n, user in enumerate(users)]
    table, rows = read(tmp_path, "user_id,identifier_id\n" + "".join(lines))
    assert codes(rows) == [""] * len(users)
    assert warned(table) == []


def test_a_line_before_one_with_too_few_cells_is_warned_of_where_nothing_is_quoted(tmp_path: Path) -> None:
    text = tabbed("u01,e01,x", "u02,e02,see:", "u09,e09,x", "that is all", "u03,e03,y")
    table, rows = read(tmp_path, text, quoting="none")
    assert codes(rows) == ["", "", "", "wrong_column_count", ""]
    assert warned(table) == [("torn_row", 1, (4,))]
    assert warned(read(tmp_path, text)[0]) == []
