"""What holds for every table: what was written is read, damage stays on its line, nothing else is raised."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import InputError
from worker.intake import InputOptions, open_table
from worker.intake.delimited import Record, RecordParser
from worker.intake.dialects import Dialect
from worker.intake.escaped import unescape
from worker.intake.text import Block
from worker.model import InputRow

IDS = st.from_regex(r"[A-Za-z0-9_|.~-]{3,20}", fullmatch=True)
NOTES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ROWS = st.lists(st.tuples(IDS, IDS, NOTES), max_size=12)
QUICK = settings(max_examples=150, deadline=None)


def read(data: bytes, options: InputOptions | None = None) -> list[InputRow]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        path.write_bytes(data)
        with open_table(path, options or InputOptions()) as table:
            return list(table.rows())


@QUICK
@given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_was_written_is_read(
    rows: list[tuple[str, str, str]], delimiter: str, end: str, encoding: str, quoting: int
) -> None:
    text = io.StringIO()
    if end != "\r\n":
        # Before Python 3.13 csv.writer leaves line ends other than its own unquoted, which nobody can read.
        quoting = csv.QUOTE_ALL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([("user_id", "identifier_id", "note"), *rows])
    found = read(text.getvalue().encode(encoding))
    assert [tuple(row.cells) for row in found] == rows
    assert [row.number for row in found] == list(range(1, len(rows) + 1))
    assert not any(row.error_code for row in found)


@QUICK
@given(
    count=st.integers(2, 12),
    data=st.data(),
    damage=st.binary(max_size=12).filter(lambda each: not set(each) & set(b"\r\n")),
    quoted=st.booleans(),
)
def test_damage_to_one_line_changes_no_other(
    count: int, data: st.DataObject, damage: bytes, quoted: bool
) -> None:
    mark = '"' if quoted else ""
    lines = [f"u-{n},{mark}i-{n}{mark},{mark}note {n}{mark}".encode() for n in range(count)]
    victim = data.draw(st.integers(0, count - 1))
    at = data.draw(st.integers(0, len(lines[victim])))
    lines[victim] = lines[victim][:at] + damage + lines[victim][at:]
    found = read(b"user_id,identifier_id,note\n" + b"\n".join(lines) + b"\n")
    sound = {row.line: row for row in found if not row.error_code}
    for number in set(range(count)) - {victim}:
        assert sound[number + 2].cells == [f"u-{number}", f"i-{number}", f"note {number}"]
    assert len(found) == count


LINES = st.sampled_from(["u-9,i-9,x", "bye", 'say "no"', '"q","r","s"', "", "a,b", '"', 'u,i,"o'])
CELLS = st.lists(LINES, max_size=4).map("\n".join)


@QUICK
@given(
    table=st.lists(st.lists(CELLS, min_size=2, max_size=4).filter(any), max_size=6),
    lines_a_block=st.sampled_from([1, 2, 999]),
)
def test_a_record_with_sound_quotes_is_one_record_whatever_it_holds(
    table: list[list[str]], lines_a_block: int
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    assert [cells for _, cells, _ in cut(text.getvalue(), lines_a_block)] == table


@QUICK
@given(text=st.lists(st.one_of(LINES, st.just("u-1,i-1,x")), max_size=14).map("\n".join))
def test_where_a_block_ends_changes_nothing(text: str) -> None:
    found = cut(text, 999)
    assert found == cut(text, 1) == cut(text, 2)
    numbers = [line for line, _, _ in found]
    assert numbers == sorted(set(numbers))


def cut(text: str, lines_a_block: int) -> list[Record]:
    lines = io.StringIO(text, newline="").readlines()
    blocks = (
        Block(lines[start : start + lines_a_block], suspect=False)
        for start in range(0, len(lines), lines_a_block)
    )
    return list(RecordParser(Dialect(","), width=3).records(blocks))


@QUICK
@given(
    head=st.sampled_from(
        [b"", b"user_id,identifier_id\n", b"\xff\xfe", b"\xef\xbb\xbf", b'{"user_id":1', b"\x1f\x8b"]
    ),
    body=st.one_of(
        st.binary(max_size=300), st.text(alphabet="\",;\t\n\r'{}[]a1\0é", max_size=80).map(str.encode)
    ),
    encoding=st.sampled_from([None, "utf-8", "utf-16", "utf-16-le", "latin-1", "utf-7", "shift_jis", "idna"]),
    header=st.booleans(),
)
def test_no_bytes_raise_anything_else(head: bytes, body: bytes, encoding: str | None, header: bool) -> None:
    try:
        rows = read(head + body, InputOptions(encoding=encoding, header=header))
    except InputError:
        return
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert bool(row.error_code) == bool(row.error_message)
        "".join(row.cells).encode()


def escape(cell: str) -> str:
    """Promise 10, stated once more."""
    harmless = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
    runs = cell[:1] in {"=", "+", "@", "'", "\t", "\r"} or (cell[:1] == "-" and not set(cell) <= harmless)
    return f"'{cell}" if runs and cell else cell


@given(cell=st.one_of(st.text(), st.text(alphabet="=+@'\t\r-a1_.", max_size=6)))
def test_the_escape_is_undone_exactly(cell: str) -> None:
    assert unescape(escape(cell)) == cell
