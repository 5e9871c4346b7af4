"""The real command, killed with SIGKILL at random moments and resumed, against a sandbox in its own process."""

from __future__ import annotations

import collections
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

CONCURRENCY = 16
RATE_PER_S = 300
ROWS = 3000
"""More than the rate allows until the last kill, however fast the machine is: 9.5 s at most."""
KILLS_A_RUN = 10
UNRECORDED_S = 0.05
"""Calls of the commit group being written: at most these many seconds of calls (promise 3)."""


class Stage:
    """A sandbox and the command that runs against it."""

    def __init__(self, folder: Path, *trouble: str) -> None:
        self.folder = folder
        self.batch = folder / "batch.csv"
        command = [
            sys.executable,
            "-m",
            "worker",
            "sandbox",
            "--write-csv",
            str(self.batch),
            "--rows",
            str(ROWS),
        ]
        command += ["--bad", "5", "--duplicates", "15", "--vanished", "20"]
        for each in trouble:
            command += ["--trouble", each]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        hello = json.loads(self.process.stdout.readline())
        self.url = hello["url"]
        self.env = os.environ | {"MONOCLOUD_MANAGEMENT_API_KEY": hello["key"]}

    def start(self, *flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "worker", "run", str(self.batch), "--yes", "--json"]
        command += ["--tenant", self.url, "--runs", str(self.folder / "runs")]
        command += ["--concurrency", str(CONCURRENCY), "--rate", f"{RATE_PER_S}/s", *flags]
        return subprocess.Popen(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finish(self, *flags: str) -> dict[str, object]:
        process = self.start("--rate", "1000/s", *flags)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 1, err  # vanished and bad rows were staged
        summary: dict[str, object] = json.loads(out)
        return summary

    def calls(self) -> collections.Counter[tuple[str, str]]:
        """Return the sandbox's own count of requests for each pair."""
        with urllib.request.urlopen(f"{self.url}/_sandbox/pairs") as answer:
            entries = [json.loads(line) for line in answer]
        return collections.Counter(
            {(entry["user_id"], entry["identifier_id"]): entry["requests"] for entry in entries}
        )

    def runs(self) -> list[Path]:
        return sorted((self.folder / "runs").glob("[!.]*"))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, "server-error=2%", "reset-after=1%", "slow=20%", "slow-s=0.03")
    yield stage
    stage.process.terminate()
    stage.process.communicate(timeout=20)


def _report(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _unescaped(row: dict[str, str]) -> tuple[str, str]:
    return row["user_id"].removeprefix("'"), row["identifier_id"].removeprefix("'")


@pytest.fixture
def rough(tmp_path: Path) -> Iterator[Stage]:
    """A tenant where a third of the calls fail: hundreds of rows wait in the ledger at any moment."""
    stage = Stage(tmp_path, "server-error=30%", "reset-after=3%", "slow=20%", "slow-s=0.03")
    yield stage
    stage.process.terminate()
    stage.process.communicate(timeout=20)


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_moment_no_row_is_lost_or_told_twice(stage: Stage, seed: int) -> None:
    _kill_and_finish(stage, seed, KILLS_A_RUN)


@pytest.mark.parametrize("seed", range(2))
def test_killed_while_many_rows_wait_in_the_ledger_none_is_lost_or_told_twice(
    rough: Stage, seed: int
) -> None:
    """Charges and last errors of rows that wait survive each kill with them."""
    _kill_and_finish(rough, seed, 5, "--attempts", "40")
    [folder] = rough.runs()
    attempts = [int(row["_attempts"]) for row in _report(folder) if row["_outcome"] == "succeeded"]
    assert sum(count > 1 for count in attempts) > ROWS // 5, "too few rows waited to prove anything"


def _kill_and_finish(stage: Stage, seed: int, most_kills: int, *flags: str) -> None:
    """Kill a run at random moments, finish it, and compare what it tells with what the sandbox counted."""
    moments = random.Random(seed)
    kills = 0
    while kills < most_kills:
        process = stage.start(*flags)
        time.sleep(moments.uniform(0.05, 1.6))  # the moment of the kill is what is random here
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed: the batch is too small"
        kills += 1
    assert len(stage.runs()) <= 1, "a killed planner left half a plan"
    summary = stage.finish(*flags)

    [folder] = stage.runs()
    rows = _report(folder)
    assert [int(row["_row"]) for row in rows] == list(range(1, ROWS + 1))
    with stage.batch.open(newline="", encoding="utf-8") as lines:
        batch = list(csv.reader(lines))[1:]
    assert [row["user_id"].removeprefix("'") for row in rows] == [cells[0] for cells in batch]
    outcomes = collections.Counter(row["_outcome"] for row in rows)
    assert {name: count for name, count in summary["outcomes"].items() if count} == dict(outcomes)
    assert outcomes == {"succeeded": ROWS - 40, "not_found": 20, "invalid": 5, "duplicate": 15}
    _compare(rows, stage.calls(), kills)


def _compare(rows: list[dict[str, str]], calls: collections.Counter[tuple[str, str]], kills: int) -> None:
    """Compare the report with what the sandbox counted, row by row."""
    unexplained = 0
    for row in rows:
        made = calls.pop(_unescaped(row), 0) if row["_outcome"] in ("succeeded", "not_found") else 0
        told = int(row["_attempts"])
        assert made >= told, f"{row} tells of calls that nobody got"
        if row["_outcome"] in ("succeeded", "not_found"):
            assert made >= 1
            assert row["_sent"] == "yes"
        if made > told:
            assert row["_resent"] == "yes", f"{row} was called {made} times, and the report does not say so"
            unexplained += made - told
    assert not calls, "the sandbox was called for what is not in the file"
    most = kills * (CONCURRENCY + RATE_PER_S * UNRECORDED_S)
    assert unexplained <= most


def test_interrupted_in_good_order_leaves_nothing_in_doubt(stage: Stage) -> None:
    process = stage.start()
    while sum(stage.calls().values()) < 100:
        time.sleep(0.05)  # until it is well under way, as the sandbox sees it
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    summary = json.loads(out)
    assert summary["state"] == "interrupted"
    [folder] = stage.runs()
    rows = _report(folder)
    assert 0 < summary["outcomes"]["pending"] < ROWS
    assert "maybe" not in {row["_sent"] for row in rows}
    assert sum(stage.calls().values()) == sum(int(row["_attempts"]) for row in rows) == summary["calls"]
    stage.finish()
    rows = _report(folder)
    assert {row["_resent"] for row in rows} == {""}
    assert sum(stage.calls().values()) == sum(int(row["_attempts"]) for row in rows)


def test_interrupted_before_the_first_call_is_an_interruption_too(stage: Stage) -> None:
    process = stage.start()
    time.sleep(0.4)  # while it imports or plans
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGTERM), "neither in good order nor before Python was up"
    stage.finish()
