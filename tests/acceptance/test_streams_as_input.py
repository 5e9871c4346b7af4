"""What can be read only once is planned like the file that it came from."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance.command_line import execute

GOOD = b"user_id,identifier_id\nu-1,i-1\nu-2,i-2\n"


def plan(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", script, "bash", sys.executable]
    return execute(folder, command, MONOCLOUD_MANAGEMENT_API_KEY="")  # planning needs none


@pytest.mark.parametrize(
    "script",
    [
        '"$1" -m worker plan <(zcat in.gz) --json',
        'zcat in.gz | "$1" -m worker plan - --json',
        'zcat in.gz | "$1" -m worker plan /dev/stdin --json',
        'zcat in.gz > in.csv; "$1" -m worker plan /dev/stdin --json < in.csv',
        'mkfifo pipe; zcat in.gz > pipe & "$1" -m worker plan pipe --json',
    ],
)
def test_a_stream_is_planned_and_bound_to_its_bytes(tmp_path: Path, script: str) -> None:
    (tmp_path / "in.gz").write_bytes(gzip.compress(GOOD, mtime=0))
    done = plan(tmp_path, script)
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    assert planned["rows"] == 2
    (tmp_path / "same.csv").write_bytes(GOOD)
    again = plan(tmp_path, '"$1" -m worker plan same.csv --json')
    assert json.loads(again.stdout)["run_id"] == planned["run_id"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [planned["run_id"]]


def test_a_device_without_an_end_is_refused(tmp_path: Path) -> None:
    done = plan(tmp_path, '"$1" -m worker plan /dev/zero')
    assert done.returncode == 2
    assert "/dev/zero is a device" in done.stderr


def test_a_protected_list_from_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(GOOD)
    done = plan(tmp_path, '"$1" -m worker plan in.csv --exclude <(echo u-1)')
    assert done.returncode == 2
    assert "write it to a file" in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("rows", [150, 20_000])
def test_a_disk_that_is_full_is_said_in_a_sentence_and_leaves_nothing(tmp_path: Path, rows: int) -> None:
    """A short stream is found not to fit only when the file is closed, a long one while it is written."""
    lines = "".join(f"user-{number},email-{number}\n" for number in range(rows))
    (tmp_path / "in.csv").write_text("user_id,identifier_id\n" + lines)
    done = plan(tmp_path, 'ulimit -f 1; cat in.csv | "$1" -m worker plan -')
    assert done.returncode == 2, done.stderr
    assert "Standard input could not be kept in runs" in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []
