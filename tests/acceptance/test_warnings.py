"""What looks wrong is planned and told, in the terminal and in JSON; `--strict` lets none of it pass."""

from __future__ import annotations

import json
from pathlib import Path

from acceptance.command_line import call, refused

_ODD = "user_id,identifier_id\nu1,i1\n u2,i2\nu3,i3\u200b\nu4,i4\n"
_TOLD = [{"code": "edge_white_space", "count": 2, "lines": [3, 4]}]


def test_a_plan_names_the_lines_that_look_wrong(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(_ODD)
    done = call(tmp_path, "plan", "in.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert "Warning    2 rows: an id begins or ends with white space" in done.stderr
    assert "(lines 3, 4)" in done.stderr
    assert json.loads(done.stdout)["warnings"] == _TOLD


def test_a_clean_input_has_no_warnings_and_may_be_strict(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("user_id,identifier_id\nu1,i1\n")
    done = call(tmp_path, "plan", "in.csv", "--json", "--strict")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["warnings"] == []


def test_strict_leaves_no_plan(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(_ODD)
    for words in (("plan", "in.csv"), ("run", "in.csv", "--yes")):
        done = call(tmp_path, *words, "--strict", "--json")
        refused(done, "--strict", "lines 3, 4", "Nothing was planned")
        assert json.loads(done.stdout)["warnings"] == _TOLD
        assert not any(path.name[0] != "." for path in (tmp_path / "runs").iterdir())


def test_strict_carries_no_plan_out_that_was_made_without_it(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(_ODD)
    run_id = json.loads(call(tmp_path, "plan", "in.csv", "--json").stdout)["run_id"]
    for target in (run_id, "in.csv"):
        refused(call(tmp_path, "run", target, "--yes", "--strict"), run_id, "lines 3, 4")
    assert json.loads(call(tmp_path, "status", run_id, "--json").stdout)["state"] == "planned"


def test_a_dry_run_tells_them_too(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(_ODD)
    done = call(tmp_path, "run", "in.csv", "--dry-run", "--json")
    assert json.loads(done.stdout)["warnings"] == _TOLD


def test_enqueue_publishes_nothing_of_a_strict_input(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(_ODD)
    done = call(tmp_path, "enqueue", "in.csv", "--queue", "redis://127.0.0.1:9", "--strict", "--json")
    refused(done, "Nothing was published", "lines 3, 4")
    assert json.loads(done.stdout)["warnings"] == _TOLD
