"""Reading CSV: every dialect people have, and every way in which a row can be bad."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import sys
from pathlib import Path

import pytest

from worker.errors import InputError, UsageError
from worker.intake import InputOptions, digest, open_table
from worker.intake.text import LONGEST_LINE_CHARS
from worker.model import REPORT_COLUMNS, InputRow

if sys.version_info >= (3, 14):
    from compression.zstd import compress as zstd_packed
else:
    from zstandard import ZstdCompressor

    zstd_packed = ZstdCompressor().compress

GOOD = "user_id,identifier_id,note\nu-1,i-1,one\nu-2,i-2,two\n"


def read(tmp_path: Path, data: bytes | str, name: str = "in.csv", **options: object) -> list[InputRow]:
    return read_all(tmp_path, data, name, **options)[1]


def read_all(
    tmp_path: Path, data: bytes | str, name: str = "in.csv", **options: object
) -> tuple[tuple[str, ...], list[InputRow]]:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with open_table(path, InputOptions(**options)) as table:  # type: ignore[arg-type] - options by name
        rows = list(table.rows())
        assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == digest(path)
        return table.header, rows


def pairs(rows: list[InputRow]) -> list[tuple[str, str]]:
    return [(row.user_id, row.identifier_id) for row in rows if not row.error_code]


def faults(rows: list[InputRow]) -> list[tuple[int, str]]:
    return [(row.line, row.error_code) for row in rows if row.error_code]


BOTH = [("u-1", "i-1"), ("u-2", "i-2")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_dialects_are_detected(tmp_path: Path, encoding: str, end: str, delimiter: str) -> None:
    text = GOOD.replace(",", delimiter).replace("\n", end).replace("one", "é|漢")
    header, rows = read_all(tmp_path, text.encode(encoding))
    assert header == ("user_id", "identifier_id", "note")
    assert pairs(rows) == BOTH
    assert [row.line for row in rows] == [2, 3]
    assert rows[0].cells[2] == "é|漢"


def test_big_endian_utf16_with_its_mark(tmp_path: Path) -> None:
    assert pairs(read(tmp_path, b"\xfe\xff" + GOOD.encode("utf-16-be"))) == BOTH


def test_latin1_when_told_and_invalid_when_not(tmp_path: Path) -> None:
    data = GOOD.replace("one", "é").encode("latin-1")
    assert read(tmp_path, data, encoding="latin-1")[0].cells[2] == "é"
    rows = read(tmp_path, data)
    assert faults(rows) == [(2, "undecodable")]
    assert rows[0].cells == ["u-1", "i-1", "\\xe9"]
    assert pairs(rows) == BOTH[1:]


@pytest.mark.parametrize("told", ["tab", "\\t", "\t", "TAB"])
def test_a_told_tab(tmp_path: Path, told: str) -> None:
    assert pairs(read(tmp_path, GOOD.replace(",", "\t"), delimiter=told)) == BOTH


def test_delimiters_in_quotes_and_pipes_do_not_count(tmp_path: Path) -> None:
    text = 'user_id;identifier_id;"a,b,c,d|e|f|g"\nauth|1;x|2;n\n'
    assert pairs(read(tmp_path, text)) == [("auth|1", "x|2")]


def test_excel_names_its_separator(tmp_path: Path) -> None:
    rows = read(tmp_path, "sep=;\r\n" + GOOD.replace(",", ";"))
    assert pairs(rows) == BOTH
    assert rows[0].line == 3


def test_quotes_newlines_and_doubled_quotes(tmp_path: Path) -> None:
    rows = read(tmp_path, 'user_id,identifier_id,note\nu-1,"i-1","a ""b""\nc, d"\nu-2,i-2,\n')
    assert rows[0].cells == ["u-1", "i-1", 'a "b"\nc, d']
    assert pairs(rows) == BOTH
    assert [row.line for row in rows] == [2, 4]


@pytest.mark.parametrize(
    "header",
    [
        "User ID,Identifier-ID",
        "USERID,identifierId",
        "uid,email_id",
        "sub,Email Identifier",
        "subject,identifier",
    ],
)
def test_usual_names_in_any_order(tmp_path: Path, header: str) -> None:
    assert pairs(read(tmp_path, f"{header}\nu-1,i-1\n")) == [("u-1", "i-1")]
    first, second = header.split(",")
    assert pairs(read(tmp_path, f"x,{second},{first}\n0,i-1,u-1\n")) == [("u-1", "i-1")]


def test_the_documented_name_leaves_no_doubt(tmp_path: Path) -> None:
    assert pairs(read(tmp_path, "subject,user_id,identifier_id\nhello,u-1,i-1\n")) == [("u-1", "i-1")]


def test_columns_by_name_and_position(tmp_path: Path) -> None:
    text = "A Col,b,user_id,identifier_id\nu-1,i-1,x,y\n"
    assert pairs(read(tmp_path, text, user_column="a col", identifier_column="2")) == [("u-1", "i-1")]


def test_empty_lines_are_no_rows_but_lines(tmp_path: Path) -> None:
    rows = read(tmp_path, "\n\nuser_id,identifier_id\n\nu-1,i-1\n  \n\nu-2,i-2")
    assert [(row.number, row.line) for row in rows] == [(1, 5), (2, 8)]


def test_no_header(tmp_path: Path) -> None:
    header, rows = read_all(tmp_path, "u-1,i-1,x\nu-2,i-2,y\n", header=False)
    assert header == ("user_id", "identifier_id", "column_3")
    assert pairs(rows) == BOTH
    assert rows[0].line == 1
    header, rows = read_all(tmp_path, "x;i-1;u-1\n", header=False, user_column="3", identifier_column="2")
    assert header == ("column_1", "identifier_id", "user_id")
    assert pairs(rows) == BOTH[:1]


def test_a_bad_first_row_without_a_header_spoils_no_other(tmp_path: Path) -> None:
    rows = read(tmp_path, "a,b,c,d\nu-1,i-1\nu-2,i-2\n", header=False)
    assert faults(rows) == [(1, "wrong_column_count")]
    assert pairs(rows) == BOTH


@pytest.mark.parametrize("pack", [gzip.compress, zstd_packed])
def test_packed_files_are_told_by_their_bytes(tmp_path: Path, pack: object) -> None:
    packed = pack(GOOD.encode())  # type: ignore[operator] - either packer
    assert pairs(read(tmp_path, packed, "any.name")) == BOTH
    more = pack(b"u-3,i-3,three\n")  # type: ignore[operator] - either packer
    assert len(read(tmp_path, packed + more + b"\0" * 9)) == 3


@pytest.mark.parametrize("pack", [gzip.compress, zstd_packed])
@pytest.mark.parametrize("keep", [0.5, 0.95])
def test_a_truncated_packed_file_is_refused(tmp_path: Path, pack: object, keep: float) -> None:
    rows = "".join(f"u-{n * 7919 % 10007},i-{n * 31 % 997}\n" for n in range(20_000))
    packed = pack(f"user_id,identifier_id\n{rows}".encode())  # type: ignore[operator] - either packer
    with pytest.raises(InputError, match="copy it again"):
        read(tmp_path, packed[: int(len(packed) * keep)])


def test_a_corrupt_gzip_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(GOOD.encode() * 50))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(InputError, match="copy it again"):
        read(tmp_path, bytes(packed))


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (",i-9,x", "empty_user_id", "user_id is empty"),
        ("u-9,  ,x", "empty_identifier_id", "identifier_id is only white space"),
        (f"{'u' * 513},i-9,x", "too_long", "user_id has 513 bytes"),
        (f"u-9,{'é' * 257},x", "too_long", "identifier_id has 514 bytes"),
        ("u\x07-9,i-9,x", "control_character", "user_id holds the control character U\\+0007"),
        ("u-9,i\x85-9,x", "control_character", "identifier_id holds the control character U\\+0085"),
        ('u-9,"i-\n9",x', "control_character", "identifier_id"),
        (".,i-9,x", "dot_segment", "user_id"),
        ("\ufeffu-9,i-9,x", "byte_order_mark", "user_id .* joined"),
        ('\ufeff"u-9",i-9,x', "byte_order_mark", "user_id .* joined"),
        ("u-9,..,x", "dot_segment", "identifier_id"),
        ("u-9", "wrong_column_count", "1 columns, but the header has 3"),
        ("a fine day,i-9", "wrong_column_count", "2 columns, but the header has 3"),
        ("u-9,i-9,x,surplus", "wrong_column_count", "beyond them: 'surplus'"),
        ('u-9,"i-9,x', "broken_quoting", "quote"),
        ('u-9,"i-9"z,x', "broken_quoting", "quote"),
        ("u-9,i-9,x\0y", "control_character", "NUL"),
        (f"u-9,i-9,{'x' * (LONGEST_LINE_CHARS + 9)}", "too_long", "a cell has more than 1048576"),
        (f"u-9,i-9,{'x' * (LONGEST_LINE_CHARS + 300_000)}", "too_long", "the line has more than 1048576"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_bad_row_is_invalid_and_stops_no_other(
    tmp_path: Path, line: str, code: str, message: str, end: str
) -> None:
    text = f"user_id,identifier_id,note\nu-1,i-1,a\n{line}\nu-2,i-2,b\n".replace("\n", end)
    rows = read(tmp_path, text)
    assert pairs(rows) == BOTH
    assert faults(rows) == [(3, code)]
    assert [row.number for row in rows] == [1, 2, 3]
    assert rows[1].error_message
    assert re.search(message, rows[1].error_message)


def test_ids_are_never_trimmed(tmp_path: Path) -> None:
    assert pairs(read(tmp_path, "user_id,identifier_id\n u-1,i-1 \n")) == [(" u-1", "i-1 ")]


@pytest.mark.parametrize("length", [1, 128, 129, 512])
def test_ids_up_to_the_longest(tmp_path: Path, length: int) -> None:
    assert pairs(read(tmp_path, f"user_id,identifier_id\n{'u' * length},i\n")) == [("u" * length, "i")]


def test_an_unclosed_quote_swallows_nothing_of_a_long_file(tmp_path: Path) -> None:
    lines = [f"u-{number},i-{number},note {number}" for number in range(30_000)]
    lines[7] = 'u-7,i-7,"open'
    rows = read(tmp_path, "user_id,identifier_id,note\n" + "\n".join(lines) + "\n")
    assert len(rows) == 30_000
    assert faults(rows) == [(9, "broken_quoting")]
    assert rows[7].cells == ['u-7,i-7,"open']


def test_a_quote_that_closes_in_another_row_swallows_nothing(tmp_path: Path) -> None:
    text = 'user_id,identifier_id,note\nu-0,"i-0,x\nu-1,i-1,a\nu-2,i-2,"b"\n'
    rows = read(tmp_path, text)
    assert pairs(rows) == BOTH
    assert faults(rows) == [(2, "broken_quoting")]


@pytest.mark.parametrize(
    "record",
    [
        'u-1,i-1,"note\nu-9,i-9,x\nend",surplus',
        'u-1,"note\nu-9,i-9,x\nu-8,i-8,x"',
        '"note\nu-9,i-9,x\n"',
        f'u-1,"{"word" * 9}{"u-9,i-9,x".join(chr(10) * 2000)}"',
    ],
)
def test_no_line_inside_of_a_sound_quoted_cell_is_ever_a_row(tmp_path: Path, record: str) -> None:
    text = f"user_id,identifier_id,note\n{record}\nu-2,i-2,b\n"
    doubted = read(tmp_path, text)
    assert pairs(doubted) == BOTH[1:]
    lines = range(2, 3 + record.count("\n"))
    assert faults(doubted) == [(line, "broken_quoting") for line in lines]
    assert "--quoting rfc4180" in doubted[0].error_message
    rows = read(tmp_path, text, quoting="rfc4180")
    assert pairs(rows) == BOTH[1:]
    assert faults(rows) == [(2, "wrong_column_count")]
    assert "goes over several lines" in rows[0].error_message
    assert rows[0].cells == next(csv.reader(io.StringIO(record, newline="")))
    assert rows[1].line == 3 + record.count("\n")


@pytest.mark.parametrize("cell", ["x" * 200_000, "u-9,i-9,x\n" * 100_000])
def test_a_long_cell_is_read_as_json_lines_would(tmp_path: Path, cell: str) -> None:
    rows = read(tmp_path, f'{GOOD}u-3,i-3,"{cell}"\nu-4,i-4,d\n', quoting="rfc4180")
    assert pairs(rows) == [*BOTH, ("u-3", "i-3"), ("u-4", "i-4")]
    assert rows[2].cells[2] == cell


@pytest.mark.parametrize("cell", ["u-9,i-9,x\n" * 104_860, "x" * LONGEST_LINE_CHARS + "\nu-9,i-9,x\n"])
def test_a_sound_quoted_cell_that_is_too_long_is_one_invalid_row(tmp_path: Path, cell: str) -> None:
    rows = read(tmp_path, f'{GOOD}u-3,i-3,"{cell}"\nu-4,i-4,d\n')
    assert pairs(rows) == [*BOTH, ("u-4", "i-4")]
    assert faults(rows) == [(4, "too_long")]
    assert rows[-1].line == 5 + cell.count("\n")


@pytest.mark.parametrize(
    "cell",
    [
        'He said "no" to us\nu-9,i-9,x\nbye',
        'He said "no"\nu-9,i-9,x\nbye',
        'He said "no" to us\nu-9,i-9,x',
        'a 5" pipe\nu-9,i-9,x\nend',
        'x\nu-9,i-9,"no" said he',
        'open\nu-9,i-9,x\n"quoted", and more',
    ],
)
def test_no_line_is_a_row_that_may_be_inside_of_a_cell_with_bare_quotes(tmp_path: Path, cell: str) -> None:
    rows = read(tmp_path, f'user_id,identifier_id,note\nu-1,i-1,"{cell}"\nu-2,i-2,b\n')
    assert pairs(rows) == BOTH[1:]
    assert faults(rows) == [(line, "broken_quoting") for line in range(2, 3 + cell.count("\n"))]
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert {row.error_message for row in rows[1:-1]} == {
        "a quote that opened on line 2 may reach to here; mend the quote"
    }


def test_no_line_is_a_row_that_may_be_inside_of_a_cell_that_is_never_closed(tmp_path: Path) -> None:
    rows = read(tmp_path, 'user_id,identifier_id,note\nu-1,i-1,"note\nu-9,i-9,x\n\nthe end\nu-2,i-2,b\n')
    assert pairs(rows) == BOTH[1:]
    assert faults(rows) == [(2, "broken_quoting"), (3, "broken_quoting"), (5, "broken_quoting")]
    assert rows[1].cells == ["u-9", "i-9", "x"]  # mended by emptying its _error_code
    assert rows[2].cells == ["the end"]


def test_rows_far_enough_behind_a_broken_quote_are_rows(tmp_path: Path) -> None:
    lines = [f"u-{number},i-{number},note" for number in range(300)]
    lines[7], lines[20], lines[250] = 'u-7,i-7,"open', "too,few", "too,few"
    rows = read(tmp_path, "user_id,identifier_id,note\n" + "\n".join(lines) + "\n")
    assert [row.line for row in rows] == list(range(2, 302))
    doubted = [(line, "broken_quoting") for line in range(9, 23)]
    assert faults(rows) == [*doubted, (252, "wrong_column_count")]


def test_a_line_that_is_cut_leaves_no_row_out_of_a_quoted_cell(tmp_path: Path) -> None:
    long = "x" * (LONGEST_LINE_CHARS + 300_000)
    for cell in (f"{long}\nu-9,i-9,x\nend", f"one\nu-9,i-9,x\n{long}\nu-8,i-8,x\nend"):
        rows = read(tmp_path, f'{GOOD}u-3,i-3,"{cell}"\nu-4,i-4,d\n')
        assert pairs(rows) == [*BOTH, ("u-4", "i-4")]
        assert [row.line for row in rows] == list(range(2, len(rows) + 2))


def test_a_quoted_cell_may_span_blocks(tmp_path: Path) -> None:
    note = "\n".join("word " * 20 for _ in range(900))
    rows = read(tmp_path, GOOD + "".join(f'u-{n},i-{n},"{note}"\n' for n in range(5)))
    assert faults(rows) == []
    assert [row.cells[2] for row in rows[2:]] == [note] * 5
    assert rows[-1].line == 4 + 4 * 900


def test_a_header_without_rows_is_no_error(tmp_path: Path) -> None:
    assert read(tmp_path, "user_id,identifier_id") == []


def test_max_rows(tmp_path: Path) -> None:
    assert len(read(tmp_path, GOOD + "\n\n", max_rows=2)) == 2
    with pytest.raises(InputError, match="--max-rows"):
        read(tmp_path, GOOD, max_rows=1)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\n\r\n  \n", "empty lines"),
        (b"\xef\xbb\xbf", "empty lines"),
        (b"PK\x03\x04" + b"x" * 50, "Excel"),
        (b"PAR1abc", "Parquet"),
        (b"SQLite format 3\0", "SQLite"),
        (b"user_id,identifier_id\0\nu,i\n", "NUL"),
        (bytes(range(256)) * 9, "NUL"),
        (GOOD.encode("utf-16-le"), "--encoding utf-16-le"),
        (GOOD.encode("utf-16-be"), "--encoding utf-16-be"),
        (b"user_idd,identifier_id\n", "Was 'user_idd' meant.*Columns found"),
        (b"user_id,name\n", "--identifier-column"),
        (b"uid,sub,identifier_id\n", "--user-column"),
        (b"user_id,User Id,identifier_id\n", "--user-column"),
        (b'user_id,"identifier_id\nu,i\n', "broken quote"),
        (b"user_id,identifier_id,_outcome\n", "_row"),
        (b"user_id,identifier_id,pr\xe9nom\n", "--encoding"),
        (gzip.compress(b"", mtime=0), "unpacks to nothing"),
    ],
)
def test_a_bad_file_is_refused_with_a_sentence(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        read(tmp_path, data)
    assert "in.csv" in str(refused.value)


def test_missing_files_directories_and_odd_names(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none", "not exist"), (tmp_path, "is a folder"), (Path("a\0b"), "cannot")):
        with pytest.raises(InputError, match=says), open_table(path, InputOptions()):
            pass
        with pytest.raises(InputError, match=says):
            digest(path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"user_column": "nope"}, "no column 'nope'"),
        ({"user_column": "9"}, "no column '9'"),
        ({"user_column": "2"}, "both"),
        ({"header": False}, "leave --no-header out"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, GOOD, **options)


def test_no_header_and_too_few_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no separate column 2"):
        read(tmp_path, "only\none\n", header=False)


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ",,"},
        {"delimiter": '"'},
        {"encoding": "klingon"},
        {"encoding": "hex"},
        {"format": "xml"},
        {"header": False, "user_column": "user_id"},
    ],
)
def test_options_that_fit_no_file(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        read(tmp_path, GOOD, **options)


def test_a_mark_that_contradicts_the_told_encoding(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave --encoding out"):
        read(tmp_path, GOOD.encode("utf-8-sig"), encoding="latin-1")
    assert pairs(read(tmp_path, GOOD.encode("utf-8-sig"), encoding="utf-8")) == BOTH
    assert pairs(read(tmp_path, GOOD.encode("utf-16"), encoding="utf-16")) == BOTH


def test_a_report_is_read_as_the_input_it_was(tmp_path: Path) -> None:
    path = tmp_path / "failed.csv"
    own = ["x"] * len(REPORT_COLUMNS)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["'=note", "user_id", "identifier_id", *REPORT_COLUMNS])
        writer.writerow(["'=1+1", "-aB3_x", "''i", *own])
        writer.writerow(["plain", "u-2"])
    with open_table(path, InputOptions()) as table:
        rows = list(table.rows())
    assert table.header == ("=note", "user_id", "identifier_id")
    assert rows[0].cells == ["=1+1", "-aB3_x", "'i"]
    assert rows[1].error_code == "wrong_column_count"


def test_the_digest_is_not_there_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(GOOD + "u-3,i-3,three\n" * 200_000)
    with open_table(path, InputOptions()) as table, pytest.raises(RuntimeError):
        _ = table.sha256
    assert table.dialect["delimiter"] == ","
    assert table.dialect["compression"] == "none"


def test_a_row_that_a_report_had_to_reshape_stays_invalid_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "failed.csv"
    header = "user_id,identifier_id,_row,_outcome,_error_code\n"
    path.write_text(
        header + "u1,i1,1,invalid,wrong_column_count\nu2,i2,2,invalid,\nu3,i3,3,refused,http_409\n"
    )
    with open_table(path, InputOptions()) as table:
        rows = list(table.rows())
    assert [row.error_code for row in rows] == ["wrong_column_count", "", ""]
    assert "empty its _error_code" in rows[0].error_message
    assert [row.cells for row in rows] == [["u1", "i1"], ["u2", "i2"], ["u3", "i3"]]
