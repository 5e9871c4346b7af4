"""What a message tells to type is right for a run that does not lie in `runs`."""

from __future__ import annotations

import json
import re
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
        done = call(tmp_path, "run", planned, "--runs", "my runs", "--yes", "--min-rows", "0")
        assert done.returncode == 1, done.stderr
    assert f"`bulk-unverify retry {planned} --runs 'my runs'`" in done.stderr


def test_the_failed_file_is_fed_back_with_the_runs_operation(tmp_path: Path, planned: str) -> None:
    shown = call(tmp_path, "run", planned, "--runs", "my runs", "--yes", "--min-rows", "0").stderr
    [line] = [line for line in shown.splitlines() if "invalid.csv, then run that file:" in line]
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
        done = call(tmp_path, "run", planned, "--runs", "my runs", "--yes", "--min-rows", "0")
    assert done.returncode == 2
    assert f"`bulk-unverify status {planned} --runs 'my runs'`" in done.stderr
    assert f"resume with: bulk-unverify run {planned} --runs 'my runs'\n" in done.stderr


def test_on_another_tenant_the_pending_rows_are_planned_and_no_others(tmp_path: Path) -> None:
    """What the message says is done, word by word."""
    (tmp_path / "batch.csv").write_text("who,identifier_id,note\nu1,i1,a\nu1,i1,b\nu2,i2,c\nu3,i3,d\n")
    (tmp_path / "keep.csv").write_text("u2\n")
    flags = [
        "--runs",
        "my runs",
        "--operation",
        "verify-email",
        "--user-column",
        "who",
        "--exclude",
        "keep.csv",
    ]
    run_id = json.loads(call(tmp_path, "plan", "batch.csv", *flags, "--json").stdout)["run_id"]
    other = {"MONOCLOUD_MANAGEMENT_DOMAIN": "acme.example"}
    done = call(tmp_path, "run", run_id, "--runs", "my runs", "--yes", **other)
    assert done.returncode == 2, done.stderr
    report, run = re.findall("`(bulk-unverify .*?)`", done.stderr)
    written = call(tmp_path, *shlex.split(report)[1:], **other)
    assert written.returncode == 0, written.stderr
    planned = call(tmp_path, *shlex.split(run)[1:], "--dry-run", "--json", **other)
    assert planned.returncode == 0, planned.stderr
    told = json.loads(planned.stdout)
    assert (told["tenant"], told["operation"], told["rows"]) == ("acme.example", "verify-email", 2)
    urls = [each["url"] for each in told["first_calls"]]
    assert urls == [f"https://acme.example/api/users/u{n}/emails/i{n}/verify" for n in (1, 3)]
    again = call(tmp_path, "run", run_id, "--runs", "my runs", "--dry-run")
    assert again.returncode == 0, "the run itself is as it was"
