"""Names, reasons and cells that steer a terminal: they are shown, and steer none."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance.command_line import call

_EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202ecod"
_SHOWN = "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202ecod"


@pytest.fixture
def planned(tmp_path: Path) -> str:
    batch = tmp_path / f"{_EVIL}.csv"
    batch.write_text(f"user_id,identifier_id\nu1,i1\nu{_EVIL},i2\n", encoding="utf-8")
    done = call(tmp_path, "plan", batch.name, "--reason", f"because {_EVIL}", "--json")
    _is_tame(done.stdout, done.stderr)
    run: str = json.loads(done.stdout)["run_id"]
    return run


def _is_tame(*texts: str) -> None:
    for text in texts:
        assert not set(text) & set("\x1b\x07\x9b\u202e"), text


def test_a_terminal_gets_them_written_out(tmp_path: Path, planned: str) -> None:
    for words in (
        ["status"],
        ["status", planned],
        ["run", planned],
        ["plan", f"{_EVIL}.csv", "--reason", _EVIL],
        ["plan", f"no {_EVIL}"],
        ["status", f"no {_EVIL}"],
        ["run", f"{_EVIL}.csv", "--rate", _EVIL],
        ["run", f"{_EVIL}.csv", "--exclude", _EVIL],
    ):
        done = call(tmp_path, *words)
        _is_tame(done.stdout, done.stderr)
    assert f"no {_SHOWN}" in call(tmp_path, "plan", f"no {_EVIL}").stderr


def test_a_page_gets_them_written_out(tmp_path: Path, planned: str) -> None:
    # Everything is excluded, so the run ends without a call.
    (tmp_path / "keep.txt").write_text("u1\n", encoding="utf-8")
    flags = ["--yes", "--exclude", "keep.txt", "--min-rows", "0"]
    done = call(tmp_path, "run", planned, *flags, MONOCLOUD_MANAGEMENT_API_KEY="made-up-key-01234")
    assert done.returncode == 1, done.stderr  # a row is invalid
    [page] = (tmp_path / "runs").glob("*/report.html")
    text = page.read_text(encoding="utf-8")
    _is_tame(text)
    assert f"because {_SHOWN}" in text


def test_a_report_is_whole_in_a_file_and_tame_on_a_terminal(tmp_path: Path, planned: str) -> None:
    assert call(tmp_path, "report", planned, "-o", "out.csv").returncode == 0
    assert _EVIL in (tmp_path / "out.csv").read_text(encoding="utf-8")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "worker", "report", planned]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, cwd=tmp_path, env=env, stdout=theirs, check=True)
    os.close(theirs)
    told = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(ours, 65536):
            told += part
    os.close(ours)
    _is_tame(told.decode())
    assert f"u{_SHOWN}" in told.decode()
