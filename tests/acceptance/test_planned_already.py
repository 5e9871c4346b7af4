"""An input that is planned already: what may be said of it later, and what is refused because it would go twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from acceptance.command_line import GOOD, call, refused
from unit.ledger.ledger_staging import tamper

from worker.ledger import RunFolder


def planned(folder: Path, *flags: str) -> dict[str, Any]:
    done = call(folder, "plan", "good.csv", "--json", *flags)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def runs(folder: Path) -> list[RunFolder]:
    return RunFolder.all(folder / "runs")


@pytest.mark.parametrize(
    ("first", "second", "flag"),
    [
        ([], ["--delimiter", ";"], "--delimiter"),
        ([], ["--encoding", "cp1252"], "--encoding"),
        ([], ["--user-column", "2", "--identifier-column", "1"], "--user-column and --identifier-column"),
        (["--no-header"], [], "--no-header"),
        (["--max-rows", "5"], ["--max-rows", "6"], "--max-rows"),
    ],
)
def test_the_same_input_read_otherwise_is_no_second_run(
    tmp_path: Path, first: list[str], second: list[str], flag: str
) -> None:
    (tmp_path / "good.csv").write_text("u1,i1\nu2,i2\n" if "--no-header" in first else GOOD)
    run_id = planned(tmp_path, *first)["run_id"]
    refused(call(tmp_path, "plan", "good.csv", *second), run_id, f" {flag} otherwise", "--again")
    assert len(runs(tmp_path)) == 1


@pytest.mark.parametrize("flag", ["--yes", "--dry-run"])
def test_nor_is_it_when_it_is_run_unless_asked_for(tmp_path: Path, flag: str) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    run_id = planned(tmp_path)["run_id"]
    refused(call(tmp_path, "run", "good.csv", flag, "--max-rows", "5"), run_id, "--max-rows", "--again")
    assert len(runs(tmp_path)) == 1
    assert planned(tmp_path, "--again", "--max-rows", "5")["run_id"] != run_id
    assert planned(tmp_path)["run_id"] == run_id, "the newest that was read in the same way"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["--encoding", "latin1"], ["--encoding", "ISO-8859-1"]),
        (["--delimiter", "tab"], ["--delimiter", "\\t"]),
        (["--delimiter", "\\t"], ["--delimiter", "\t"]),
    ],
)
def test_what_means_the_same_is_the_same_run(tmp_path: Path, first: list[str], second: list[str]) -> None:
    content = "user_id\tidentifier_id\nu1\ti1\n" if "--delimiter" in first else GOOD
    (tmp_path / "good.csv").write_text(content)
    run_id = planned(tmp_path, *first)["run_id"]
    assert planned(tmp_path, *second)["run_id"] == run_id
    assert call(tmp_path, "run", run_id, "--dry-run", *second).returncode == 0


def test_a_selection_that_an_older_version_kept_as_it_was_typed_is_understood(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("user_id\tidentifier_id\nu1\ti1\n")
    flags = ["--delimiter", "tab", "--encoding", "latin1"]
    run_id = planned(tmp_path, *flags)["run_id"]
    old = json.dumps({"header": "True", "delimiter": "tab", "encoding": "latin1"})
    tamper(runs(tmp_path)[0], f"UPDATE meta SET value = '{old}' WHERE name = 'selection'")
    assert planned(tmp_path, *flags)["run_id"] == run_id
    refused(call(tmp_path, "plan", "good.csv"), run_id, "--delimiter and --encoding")


def test_another_operation_or_tenant_is_a_run_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    planned(tmp_path)
    planned(tmp_path, "--operation", "verify-email")
    planned(tmp_path, "--tenant", "http://127.0.0.1:10")
    assert len(runs(tmp_path)) == 3
