"""Where `report -o` may write: anywhere but over what proves a run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from acceptance.command_line import GOOD, call, refused


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Return the folder of a run whose input is good.csv and whose protected list is protected.txt."""
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "protected.txt").write_text("u1\n")
    done = call(
        tmp_path, "run", "good.csv", "--exclude", "protected.txt", "--yes", "--json", "--min-rows", "0"
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / json.loads(done.stdout)["run_dir"]


def bytes_of(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("{run}/ledger.sqlite", "its evidence"),
        ("{run}/manifest.json", "its evidence"),
        ("{run}/mine.csv", "its evidence"),
        ("{run}/inbox/mine.csv", "its evidence"),
        ("link-to-run/report.csv", "its evidence"),
        ("link-to-ledger", "its evidence"),
        ("good.csv", "is the run's input"),
        ("link-to-input", "is the run's input"),
        ("protected.txt", "is a protected list"),
        ("circle", "circle"),
        (".", "is a folder"),
        ("nowhere/mine.csv", "does not exist"),
        ("x" * 300, "File name too long"),
        ("good.csv/mine.csv", "good.csv"),
    ],
)
def test_evidence_is_never_replaced(tmp_path: Path, run_dir: Path, output: str, said: str) -> None:
    (tmp_path / "link-to-run").symlink_to(run_dir)
    (tmp_path / "link-to-ledger").symlink_to(run_dir / "ledger.sqlite")
    (tmp_path / "link-to-input").symlink_to("good.csv")
    (tmp_path / "circle").symlink_to("circle")
    before = bytes_of(tmp_path)
    refused(call(tmp_path, "report", run_dir.name, "-o", output.format(run=run_dir)), said)
    assert bytes_of(tmp_path) == before


def test_a_report_may_take_the_place_of_an_older_one(tmp_path: Path, run_dir: Path) -> None:
    for content in ("", "of old\n"):
        (tmp_path / "mine.csv").write_text(content)
        done = call(tmp_path, "report", run_dir.name, "-o", "mine.csv")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "mine.csv").read_bytes() == (run_dir / "report.csv").read_bytes()


def test_a_device_is_written_to(tmp_path: Path, run_dir: Path) -> None:
    done = call(tmp_path, "report", run_dir.name, "-o", "/dev/stdout")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (run_dir / "report.csv").read_text()
