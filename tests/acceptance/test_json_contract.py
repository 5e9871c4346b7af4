"""With `--json` there is exactly one object on standard output, and nothing else, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acceptance.command_line import call

GOOD = "user_id,identifier_id\nu1,i1\nu2,i2\n"


def _call(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the object, and what was said on standard error."""
    done = call(folder, *words)
    assert done.stdout.count("\n") == 1, done
    told: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, told, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "good.csv", "--json", "--no-such-flag"], "--no-such-flag"),
        (["run", "--json"], "FILE...|RUN"),
        (["plan", "--json"], "argument"),
        (["run", "good.csv", "--json", "--concurrency", "many"], "--concurrency"),
        (["plan", "good.csv", "--max-rows", "-1", "--json"], "--max-rows"),
        (["run", "good.csv", "--json", "--rate"], "--rate"),
        (["runn", "good.csv", "--json"], "runn"),
        (["run", "good.csv", "--json", "--rate", "fast"], "fast"),
        (["status", "nope", "--json"], "nope"),
        (["doctor", "--json"], "connection"),
    ],
)
def test_exit_2_is_an_object_with_the_error(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    code, told, err = _call(tmp_path, *words)
    assert code == told["exit_code"] == 2
    assert said in told["error"]
    assert said in err
    assert "Traceback" not in err


def test_a_mistake_without_json_is_told_with_the_usage_and_nothing_on_standard_output(tmp_path: Path) -> None:
    for words in (["run", "--jsn"], ["run", "x.csv", "--nonsense", "--", "--json"]):
        done = call(tmp_path, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Usage: bulk-unverify run" in done.stderr
        assert "--help" in done.stderr


def test_a_dry_run_is_the_plan_and_its_first_calls(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    code, told, err = _call(tmp_path, "run", "good.csv", "--dry-run", "--json", "--runs", "other")
    assert code == told["exit_code"] == 0
    assert (told["rows"], told["outcomes"]["pending"], told["state"]) == (2, 2, "planned")
    assert [call["row"] for call in told["first_calls"]] == [1, 2]
    assert told["first_calls"][0]["url"].startswith("http://127.0.0.1:9/")
    assert told["first_calls"][0]["method"] == "POST"
    assert f"`bulk-unverify run {told['run_id']} --runs other`" in err


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"no database" * 1000), Path.unlink])
def test_a_broken_ledger_does_not_hide_the_other_runs(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    names = []
    for rows in range(3):
        (tmp_path / "good.csv").write_text(GOOD + f"u,{rows}\n")
        names.append(_call(tmp_path, "plan", "good.csv", "--json")[1]["run_id"])
    names.sort()
    spoil(tmp_path / "runs" / names[1] / "ledger.sqlite")
    code, told, _ = _call(tmp_path, "status", "--json")
    assert code == told["exit_code"] == 3
    assert [run["run_id"] for run in told["runs"]] == names
    assert ["error" in run for run in told["runs"]] == [False, True, False]
    done = call(tmp_path, "status")
    assert done.returncode == 3
    shown = done.stdout.splitlines()  # where `grep` and `less` find it
    assert [line.split()[:2] for line in shown] == [
        [names[0], "planned"], [names[1], "broken"], [names[2], "planned"]
    ]  # fmt: skip
    assert "ledger.sqlite" in shown[1]
