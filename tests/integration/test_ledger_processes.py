"""The ledger as several processes have it: killed at any instant, contended for, out of space."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.ledger.ledger_staging import look, plan, result, session

from worker.errors import RunBusyError
from worker.ledger import RunFolder, facts, remove_stale_drafts, tenant_lock, verify
from worker.model import Outcome, RunState

REPOSITORY = Path(__file__).parents[2]

STAGE = """
import asyncio, contextlib, sys, time
from pathlib import Path
from unit.ledger.ledger_staging import *
from worker.errors import BulkUnverifyError
from worker.ledger import *
home = Path(sys.argv[1])
def say(*words):
    print(*words, flush=True)
"""

PLANNING = """
def endless():
    number = 0
    while True:
        number += 1
        if number == 20_000:
            say("planning")
        yield pair(number, f"u{number}", "i")
plan(home, endless())
"""

HOLDING = """
with RunFolder.open(home, "run-1").lock(), tenant_lock("acme.example", run_id="run-1", share=len(sys.argv) > 2):
    say("held")
    time.sleep(60)
"""

RECORDING = """
async def main():
    folder = RunFolder.open(home, "run-1")
    recorded = []
    with folder.lock():
        async with session(folder) as ledger:
            def told(counts):
                for number in [recorded.pop(0) for _ in range(sum(counts.values()))]:
                    say(number)
            ledger.on_commit = told
            while rows := await ledger.claim(64):
                for row in rows:
                    recorded.append(row.number)
                    ledger.record(result(row))
                    await asyncio.sleep(0)
                await ledger.room()
asyncio.run(main())
"""

FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    folder = RunFolder.open(home, "run-1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    async with session(folder) as ledger:
        ledger.on_commit = lambda counts: say("recorded", sum(counts.values()))
        while rows := await ledger.claim(100):
            for row in rows:
                ledger.record(result(row))
            await ledger.flush()
try:
    asyncio.run(main())
except BulkUnverifyError as error:
    say(type(error).__name__, error)
"""

FULL_PLANNING = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    plan(home, 100_000)
except BulkUnverifyError as error:
    say(type(error).__name__, error)
"""


@contextlib.contextmanager
def process(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start a Python of its own; it is killed at the end if it still runs."""
    child = subprocess.Popen(
        [sys.executable, "-c", STAGE + program, *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def heard(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_a_killed_planner_leaves_no_plan_and_its_draft_goes(tmp_path: Path) -> None:
    with process(PLANNING, tmp_path) as child:
        assert heard(child) == "planning"
        remove_stale_drafts(tmp_path)
        assert [path.name[:15] for path in tmp_path.iterdir()] == [".planning-run-1"]
    assert RunFolder.all(tmp_path) == []
    assert [path.name[:15] for path in tmp_path.iterdir()] == [".planning-run-1"]
    remove_stale_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_locks_hold_between_processes_and_fall_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULK_UNVERIFY_LOCK_DIR", str(tmp_path))
    folder = plan(tmp_path, 3)
    with process(HOLDING, tmp_path) as child:
        assert heard(child) == "held"
        assert folder.owned
        with pytest.raises(RunBusyError, match=rf"Run run-1 is being worked on by process {child.pid} "):
            folder.lock().__enter__()
        for share in (False, True):
            with pytest.raises(RunBusyError, match=rf"process {child.pid} .*\(run run-1\)"):
                tenant_lock("acme.example", run_id="run-2", share=share).__enter__()
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not folder.owned
        with folder.lock(), tenant_lock("acme.example", run_id="run-2", share=False):
            pass
    with process(HOLDING, tmp_path, "share") as child:
        assert heard(child) == "held"
        with tenant_lock("acme.example", run_id="run-2", share=True):
            pass
        with pytest.raises(RunBusyError):
            tenant_lock("acme.example", run_id="run-2", share=False).__enter__()


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(5))
async def test_what_was_told_survives_a_kill_at_any_moment(tmp_path: Path, seed: int) -> None:
    folder = plan(tmp_path, 100_000)
    with process(RECORDING, tmp_path) as child:
        told = [heard(child)]
        await asyncio.sleep(
            random.Random(seed).uniform(0.0, 0.4)
        )  # the moment of the kill is what is staged here
        child.kill()
        assert child.stdout is not None
        told += child.stdout.read().splitlines()
    done = {row for (row,) in look(folder, "SELECT row FROM outcomes")}
    assert {int(number) for number in told} <= done
    flying = {row for (row,) in look(folder, "SELECT row FROM in_flight")}
    assert not flying & done
    assert facts(folder).state is RunState.INTERRUPTED
    verify(folder)
    async with session(folder) as ledger:
        again = {row.number: row.maybe_sent for row in await ledger.claim(len(flying) + 10)}
    assert {number for number, maybe in again.items() if maybe} == flying
    assert not set(again) & done
    assert sum(facts(folder).outcomes.values()) == 100_000


async def test_a_full_disk_stops_the_run_and_it_resumes_when_there_is_space(tmp_path: Path) -> None:
    folder = plan(tmp_path, 20_000)
    with process(FULL, tmp_path, 1_500_000) as child:
        assert child.stdout is not None
        told = child.stdout.read().splitlines()
    assert told[-1].startswith(f"LedgerError The ledger {folder.ledger} cannot be used: ")
    assert "free some space" in told[-1]
    recorded = sum(int(line.split()[1]) for line in told[:-1])
    assert 0 < recorded < 20_000
    assert facts(folder).outcomes[Outcome.SUCCEEDED] == recorded
    verify(folder)
    async with session(folder) as ledger:
        while rows := await ledger.claim(1000):
            for row in rows:
                ledger.record(result(row))
            await ledger.flush()
        await ledger.end_session(RunState.FINISHED)
    assert facts(folder).outcomes[Outcome.SUCCEEDED] == 20_000
    assert look(folder, "SELECT count(*) FROM outcomes WHERE resent") <= [(100,)]


@pytest.mark.parametrize("missing", [4096, 1_000_000, 3_000_000])
def test_a_plan_without_space_is_a_sentence_and_leaves_nothing(tmp_path: Path, missing: int) -> None:
    (tmp_path / "ample").mkdir()
    (tmp_path / "short").mkdir()
    space = plan(tmp_path / "ample", 100_000).ledger.stat().st_size - missing
    with process(FULL_PLANNING, tmp_path / "short", space) as child:
        assert child.stdout is not None
        told = child.stdout.read()
    assert told.startswith("LedgerError The ledger ")
    assert list((tmp_path / "short").iterdir()) == []


def test_a_plan_without_any_space_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with process(FULL_PLANNING, tmp_path, 2000) as child:
        assert child.stdout is not None
        told = child.stdout.read()
    assert told.startswith("LedgerError The ledger ")
    assert list(tmp_path.iterdir()) == []
