"""Whoever watched a run went away: it goes on, and ends with its report and its own exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.fault

_STREAM_IS_GONE = """
import os, sys
from worker.cli import progress
progress._LINE_EVERY_S = 0.05
from worker.__main__ import main
main()
"""


def _words(desk: Any, rows: int) -> list[str]:
    return [
        sys.executable, "-c", _STREAM_IS_GONE, "run", desk.batch(rows), "--yes", "--json", "--rate", "60/s"
    ]  # fmt: skip


def _ended_well(desk: Any, process: subprocess.Popen[bytes], rows: int) -> None:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert desk.tenant.record()["named"] == rows
    assert len((desk.run_folder / "report.csv").read_text().splitlines()) == rows + 1
    assert b'"state": "finished"' in out
    assert "not_shown_any_more" not in (desk.run_folder / "run.log").read_text()


def test_the_reader_of_the_lines_went_away(desk: Any) -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        _words(desk, 40), env=desk.env, cwd=desk.folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=writing,
    )  # fmt: skip
    os.close(writing)
    assert os.read(reading, 1)
    os.close(reading)
    _ended_well(desk, process, 40)


def test_the_terminal_of_the_live_bar_was_closed(desk: Any) -> None:
    """Without a hang-up signal, as under `setsid` or `disown`: each write to the terminal is an EIO."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        _words(desk, 40), env=desk.env | {"TERM": "xterm"}, cwd=desk.folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    assert os.read(ours, 1)
    os.close(ours)
    _ended_well(desk, process, 40)


@pytest.mark.parametrize("words", [["status", "nope", "--json"], ["run", "--json", "--no-such-flag"]])
def test_a_mistake_that_nobody_reads_keeps_its_exit_code(desk: Any, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "worker", *words]
    for streams in ({"stderr": writing}, {"stdout": writing}, {"stdout": writing, "stderr": writing}):
        done = subprocess.run(command, env=desk.env, cwd=desk.folder, check=False, **streams)
        assert done.returncode == 2, streams
    os.close(writing)


def test_a_reader_of_the_report_that_went_away_ends_it_as_a_pipe_does(desk: Any) -> None:
    desk.run(30)
    with desk.popen("report", desk.run_folder.name) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 141
