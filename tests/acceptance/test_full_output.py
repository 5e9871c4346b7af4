"""Standard output that takes nothing (`> /dev/full`, a full disk): a sentence, and a code that no outcome has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance.command_line import GOOD


def call_unheard(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    with Path("/dev/full").open("w") as full:
        return subprocess.run(
            [sys.executable, "-m", "worker", *words],
            cwd=folder,
            env=os.environ | {"MONOCLOUD_MANAGEMENT_DOMAIN": "http://127.0.0.1:9"},
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["plan", "good.csv", "--json"], 74),
        (["status", "--json"], 74),
        (["--help"], 74),
        (["--version"], 74),
        (["run", "missing.csv", "--json"], 2),
        (["no-such-command", "--json"], 2),
        (["plan"], 2),
    ],
)
def test_it_ends_in_a_sentence(tmp_path: Path, words: list[str], code: int) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    done = call_unheard(tmp_path, *words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert ("No space left on device" in done.stderr) == (code == 74)


def test_a_report_says_that_it_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("user_id,identifier_id\n" + "".join(f"u{n},i\n" for n in range(5000)))
    assert call_unheard(tmp_path, "plan", "good.csv").returncode == 0
    [run] = (tmp_path / "runs").iterdir()
    for kind in ("csv", "jsonl"):
        done = call_unheard(tmp_path, "report", run.name, "--format", kind)
        assert done.returncode == 3
        assert done.stderr.startswith("bulk-unverify: Standard output could not be written: No space left")
        assert "Exception ignored" not in done.stderr
