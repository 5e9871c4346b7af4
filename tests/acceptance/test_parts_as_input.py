"""A folder of part files is planned like a file, and is the same run when it is given again."""

from __future__ import annotations

import json
from pathlib import Path

from acceptance.command_line import call, refused


def _export(folder: Path) -> Path:
    parts = folder / "export"
    parts.mkdir()
    for number in (0, 1):
        (parts / f"part-{number}.csv").write_text(f"user_id,identifier_id\nu{number},e{number}\n,e\n")
    (parts / "_SUCCESS").touch()
    return parts


def test_a_folder_and_its_files_are_one_run(tmp_path: Path) -> None:
    _export(tmp_path)
    told = json.loads(call(tmp_path, "plan", "export", "--json").stdout)
    assert (told["rows"], told["outcomes"]["pending"]) == (4, 2)
    assert [each["message"][:10] for each in told["first_invalid"]] == ["part-0.csv", "part-1.csv"]
    again = call(tmp_path, "run", "export/part-0.csv", "export/part-1.csv", "--dry-run", "--json")
    assert json.loads(again.stdout)["run_id"] == told["run_id"]
    (tmp_path / "export" / "part-1.csv").write_text("user_id,identifier_id\nu9,e9\n")
    refused(call(tmp_path, "run", "export", "--yes"), told["run_id"], "other content")


def test_a_folder_that_is_no_input_and_no_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(call(tmp_path, "run", "empty", "--yes"), "empty")
    _export(tmp_path)
    (tmp_path / "export" / "notes.txt").touch()
    refused(call(tmp_path, "run", "export", "--yes"), "several kinds")
