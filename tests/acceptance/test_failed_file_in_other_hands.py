"""A failed file that another program has saved: no id that it changed, and no row that was broken, is ever called."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acceptance.command_line import call

from worker.compose.origins import origins
from worker.compose.planning import PlanRequest, plan_run
from worker.compose.reporting import report
from worker.connection import load_tenant
from worker.intake import InputOptions, open_table
from worker.ledger import RunFolder
from worker.model import InputRow

Lines = list[dict[str, str]]

_TRUTH = [
    ("007", "e1", "plain"),
    ("12345678901234567890", "e2", "long"),
    ("'quoted", "=e3", "+escaped"),
    ("@at", "-e4_x", "'note"),
    ("u5", "e5", "5\r\nlines"),
]
_BROKEN = "u6, John,e6,broken\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A planned run of the truth, one broken row and one with an empty id, with its reports."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["user_id", "identifier_id", "note"])
    writer.writerows(_TRUTH)
    text.write(_BROKEN + ",e7,empty\n")
    (tmp_path / "in.csv").write_text(text.getvalue(), newline="")
    monkeypatch.setenv("MONOCLOUD_MANAGEMENT_DOMAIN", "http://127.0.0.1:9")
    request = PlanRequest(
        tmp_path / "in.csv",
        InputOptions(),
        load_tenant(None),
        "unverify-email",
        tmp_path / "runs",
        again=False,
        exclude=None,
        reason="T-1",
    )
    folder = plan_run(request)
    with folder.lock():
        report(folder, accept=frozenset())
    return folder


def _rows(run: RunFolder, name: str = "report.csv") -> Lines:
    with (run.path / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _as_csv(lines: Lines) -> tuple[str, str]:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    return "back.csv", text.getvalue()


def _as_json_lines(lines: Lines) -> tuple[str, str]:
    return "back.jsonl", "".join(json.dumps(line) + "\n" for line in lines)


def _as_json_array(lines: Lines) -> tuple[str, str]:
    return "back.json", json.dumps(lines, indent=1)


def _as_r(lines: Lines) -> tuple[str, str]:
    renamed = [{f"X{k}" if k.startswith("_") else k: v or "NA" for k, v in line.items()} for line in lines]
    return _as_csv([{"": str(n), **line} for n, line in enumerate(renamed, start=1)])


def _reordered(lines: Lines) -> tuple[str, str]:
    return _as_csv([dict(reversed(line.items())) for line in lines])


SAVERS = [_as_csv, _as_json_lines, _as_json_array, _as_r, _reordered]


def back(run: RunFolder, saved: tuple[str, str], *, known: bool = True) -> tuple[list[InputRow], list[str]]:
    name, content = saved
    path = run.path.parent.parent / name
    path.write_text(content, newline="", encoding="utf-8")
    runs = run.path.parent if known else run.path.parent / "none"
    with origins(runs) as there, open_table(path, InputOptions(), there) as table:
        rows = list(table.rows())
        return rows, [each.code for each in table.warnings.all()]


@pytest.mark.parametrize("save", SAVERS)
def test_what_was_only_saved_again_is_what_it_was(
    run: RunFolder, save: Callable[[Lines], tuple[str, str]]
) -> None:
    rows, _ = back(run, save(_rows(run)))
    valid = [(row.user_id, row.identifier_id) for row in rows if not row.error_code]
    assert valid == [(user, identifier) for user, identifier, _ in _TRUTH]
    notes = [next(cell for cell in row.cells if cell in {truth[2] for truth in _TRUTH}) for row in rows[:5]]
    assert notes == [truth[2] for truth in _TRUTH]
    assert len(rows) == 7


def _spoilt(cell: str) -> Iterator[str]:
    yield from (cell.lstrip("0"), f"{cell}.0", cell.replace("1", "2"), f"{cell} ", cell.upper(), "6.0E+18")


@pytest.mark.parametrize("save", SAVERS)
def test_an_id_that_a_program_changed_is_never_valid(
    run: RunFolder, save: Callable[[Lines], tuple[str, str]]
) -> None:
    """Each id of each row, changed in each way, through each program."""
    for field, index in (("user_id", 0), ("identifier_id", 1)):
        for number, truth in enumerate(_TRUTH):
            for changed in {*_spoilt(truth[index])} - {truth[index], f"'{truth[index]}"}:
                lines = _rows(run)
                lines[number][field] = changed
                row = back(run, save(lines))[0][number]
                assert (row.user_id, row.identifier_id) == truth[:2] or row.error_code, changed


def test_a_changed_id_says_what_it_was_and_how_to_accept_it(run: RunFolder) -> None:
    lines = _rows(run)
    lines[0]["user_id"] = "7"
    row = back(run, _as_csv(lines))[0][0]
    assert row.error_code == "changed_id"
    assert "user_id was '007' and is '7'" in row.error_message
    assert "as text" in row.error_message
    assert "empty the row's _row cell" in row.error_message
    lines[0]["_row"] = ""
    assert back(run, _as_csv(lines))[0][0].error_code == ""


def test_a_row_that_the_run_called_invalid_may_be_mended_freely(run: RunFolder) -> None:
    lines = _rows(run, "invalid.csv")
    assert [line["_error_code"] for line in lines] == ["wrong_column_count", "empty_user_id"]
    lines[0] |= {"user_id": "u6", "identifier_id": "e6", "_error_code": ""}
    lines[1] |= {"user_id": "u7"}
    rows, warned = back(run, _as_csv(lines))
    assert [(row.user_id, row.identifier_id, row.error_code) for row in rows] == [
        ("u6", "e6", ""),
        ("u7", "e7", ""),
    ]
    assert warned == []


def test_a_broken_row_carries_no_ids_but_all_that_was_read_of_it(run: RunFolder) -> None:
    for name in ("failed.csv", "invalid.csv"):
        broken = _rows(run, name)[0]
        assert (broken["user_id"], broken["identifier_id"], broken["note"]) == ("", "", "")
        assert json.loads(broken["_broken_row"]) == ["u6", " John", "e6", "broken"]


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("known", [True, False])
def test_a_broken_row_is_never_called(
    run: RunFolder, save: Callable[[Lines], tuple[str, str]], known: bool
) -> None:
    """Of the report the guard keeps it invalid; of the failed file that holds also where our columns are cut off."""
    rows, _ = back(run, save(_rows(run)), known=known)
    assert rows[5].error_code == "wrong_column_count"
    cut = [
        {name: line[name] for name in ("user_id", "identifier_id", "note")}
        for line in _rows(run, "failed.csv")
    ]
    rows, _ = back(run, _as_csv(cut), known=known)
    assert all(row.error_code for row in rows)


def test_a_run_that_is_not_there_is_warned_of(run: RunFolder) -> None:
    rows, warned = back(run, _as_csv(_rows(run)), known=False)
    assert [row.user_id for row in rows[:4]] == [truth[0] for truth in _TRUTH[:4]]
    assert warned == ["unknown_run"]
    rows, warned = back(run, _as_json_lines(_rows(run)), known=False)
    assert rows[2].user_id == "''quoted"
    assert warned == ["unknown_run", "escaped_id"]


@pytest.mark.parametrize("number", ["99", "x", "1.5", "9" * 30])
def test_a_row_number_that_the_run_does_not_have_is_invalid(run: RunFolder, number: str) -> None:
    lines = _rows(run)
    lines[0]["_row"] = number
    row = back(run, _as_csv(lines))[0][0]
    assert (row.error_code, "has no row" in row.error_message) == ("changed_id", True)


def test_the_command_line_compares_too(run: RunFolder) -> None:
    lines = _rows(run)
    lines[0]["user_id"] = "7"
    folder = run.path.parent.parent
    (folder / "back.csv").write_text(_as_csv(lines)[1], newline="")
    told = json.loads(call(folder, "plan", "back.csv", "--json").stdout)
    assert any("was '007' and is '7'" in each["message"] for each in told["first_invalid"])
