"""What a message tells to type is right for a run that does not lie in `runs`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from acceptance.command_line import call

from worker.ledger import RunFolder


@pytest.fixture
def planned(tmp_path: Path) -> str:
    (tmp_path / "batch.csv").write_text("user_id,identifier_id\nu1,\n")
    done = call(tmp_path, "plan", "batch.csv", "--runs", "my runs", "--operation", "verify-email", "--json")
    run_id: str = json.loads(done.stdout)["run_id"]
    return run_id


def test_a_finished_run_names_retry(tmp_path: Path, planned: str) -> None:
    for _ in range(2):
        done = call(tmp_path, "run", planned, "--runs", "my runs", "--yes")
        assert done.returncode == 1, done.stderr
    assert f"`bulk-unverify retry {planned} --runs 'my runs'`" in done.stderr


def test_the_failed_file_is_fed_back_with_the_runs_operation(tmp_path: Path, planned: str) -> None:
    shown = call(tmp_path, "run", planned, "--runs", "my runs", "--yes").stderr
    [line] = [line for line in shown.splitlines() if "failed.csv, then run that file:" in line]
    words = shlex.split(line.partition("that file: ")[2])
    assert words[0] == "bulk-unverify"
    again = call(tmp_path, *words[1:], "--dry-run")
    assert again.returncode == 0, again.stderr
    assert "Operation  verify-email" in again.stderr
    assert len(list((tmp_path / "my runs").glob("2*"))) == 2


def test_steering_a_run_that_nobody_works_on_names_its_status(tmp_path: Path, planned: str) -> None:
    done = call(tmp_path, "pause", planned, "--runs", "my runs")
    assert done.returncode == 2
    assert f"`bulk-unverify status {planned} --runs 'my runs'`" in done.stderr


def test_a_run_that_another_process_works_on_names_status_and_how_to_go_on(
    tmp_path: Path, planned: str
) -> None:
    with RunFolder.open(tmp_path / "my runs", planned).lock():
        done = call(tmp_path, "run", planned, "--runs", "my runs", "--yes")
    assert done.returncode == 2
    assert f"`bulk-unverify status {planned} --runs 'my runs'`" in done.stderr
    assert f"resume with: bulk-unverify run {planned} --runs 'my runs'\n" in done.stderr
