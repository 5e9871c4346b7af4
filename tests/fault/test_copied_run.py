"""A copy of a run's folder is told from the run, and a ledger that lost its log from a fresh plan."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fault.conftest import wait_until
from unit.ledger.ledger_staging import look, tamper

from worker.ledger import RunFolder

pytestmark = pytest.mark.fault


@pytest.fixture
def killed(desk: Any) -> RunFolder:
    """A run that was killed at work."""
    desk.batch(30)
    process = desk.popen("run", "batch.csv", "--yes", "--rate", "20/s")
    wait_until(lambda: desk.tenant.record()["named"] >= 5)
    process.kill()
    process.communicate()
    return RunFolder(desk.run_folder)


def resume(desk: Any, runs: str, name: str, *flags: str) -> Any:
    return desk.call("run", name, "--yes", "--rate", "500/s", "--runs", runs, *flags)


def test_a_copy_is_asked_about_and_the_original_is_not(desk: Any, killed: RunFolder) -> None:
    """Both were resumed without a word: 1,340 of 2,000 pairs were called twice."""
    shutil.copytree(desk.folder / "runs", desk.folder / "copies")
    before = desk.tenant.record()["named"]
    refused = resume(desk, "copies", killed.run_id)
    assert refused.code == 2, refused
    assert f"last worked on at {killed.path}, where it still is" in refused.err
    assert desk.tenant.record()["named"] == before
    assert resume(desk, "runs", killed.run_id).code == 0


def test_moved_answers_it_once(desk: Any, killed: RunFolder) -> None:
    shutil.copytree(desk.folder / "runs", desk.folder / "copies")
    halted = resume(desk, "copies", killed.run_id, "--moved", "--deadline", "100ms", "--rate", "1/s")
    assert halted.code == 3, halted
    assert resume(desk, "copies", killed.run_id).code == 0, "it is at home there now"


def test_a_copied_plan_is_asked_about_too(desk: Any) -> None:
    desk.batch(5)
    name = desk.call("plan", "batch.csv", "--json").summary["run_id"]
    shutil.copytree(desk.folder / "runs", desk.folder / "copies")
    assert resume(desk, "copies", name).code == 2
    assert resume(desk, "runs", name).code == 0


@pytest.mark.parametrize("how", ["renamed", "copied and removed", "linked"])
def test_a_folder_that_was_moved_is_not_asked_about(desk: Any, killed: RunFolder, how: str) -> None:
    there = desk.folder / "elsewhere"
    if how == "renamed":
        (desk.folder / "runs").rename(there)
    elif how == "linked":
        there.symlink_to(desk.folder / "runs")
    else:
        shutil.copytree(desk.folder / "runs", there)
        shutil.rmtree(desk.folder / "runs")
    assert resume(desk, "elsewhere", killed.run_id).code == 0


def test_a_folder_of_another_host_is_asked_about(desk: Any) -> None:
    desk.batch(5)
    folder = RunFolder(desk.folder / desk.call("plan", "batch.csv", "--json").summary["run_dir"])
    [(kept,)] = look(folder, "SELECT value FROM meta WHERE name = 'place'")
    other = json.dumps(json.loads(kept) | {"host": "other", "boot": "other"})
    tamper(folder, f"UPDATE meta SET value = '{other}' WHERE name = 'place'")
    refused = resume(desk, "runs", folder.run_id)
    assert refused.code == 2, refused
    assert "on the host other, which cannot be looked at" in refused.err
    assert resume(desk, "runs", folder.run_id, "--moved").code == 0


@pytest.mark.parametrize("left", [None, b""])
def test_a_ledger_without_its_log_is_no_fresh_plan(desk: Any, killed: RunFolder, left: bytes | None) -> None:
    """Copied alone it said "planned, 0 of 600", and the 222 that were done would have been called again."""
    other = desk.folder / "runs2" / killed.run_id
    other.mkdir(parents=True)
    shutil.copy(killed.ledger, other)
    if left is not None:
        Path(other, "ledger.sqlite-wal").write_bytes(left)
    before = desk.tenant.record()["named"]
    for _ in range(2):  # looking at it mends nothing
        refused = resume(desk, "runs2", killed.run_id, "--moved")
        assert refused.code == 3, refused
        assert "Copy the whole folder" in refused.err
        assert desk.call("status", killed.run_id, "--runs", "runs2").code == 3
    assert desk.tenant.record()["named"] == before


def test_a_killed_run_whose_ledger_was_written_to_is_resumed(desk: Any, killed: RunFolder) -> None:
    """Whoever is last to close a ledger takes its log away."""
    assert desk.call("plan", "batch.csv", "--reason", "INC-1").code == 0
    assert desk.call("retry", killed.run_id, "--only", "refused", "--yes").code in (3, 130)
    assert desk.call("status", killed.run_id).code == 0
    assert resume(desk, "runs", killed.run_id).code == 0
