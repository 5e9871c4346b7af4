"""`bulk-unverify sandbox` as another process starts it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
_START = (
    "import typer; from worker.cli.sandbox import sandbox; app = typer.Typer(); app.command()(sandbox);"
    "app(prog_name='sandbox')"
)


def _command(*flags: str) -> list[str]:
    return [sys.executable, "-c", _START, *flags]


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT), "COLUMNS": "200", "NO_COLOR": "1", **more}


@contextmanager
def _running(*flags: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        _command(*flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(**environment),
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _status(url: str, key: str) -> int:
    request = urllib.request.Request(url, headers={"X-API-KEY": key})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_serves_and_ends_with_0(number: signal.Signals) -> None:
    with _running("--users", "100", "--trouble", "stall=0%", "--limit", "1000/s") as (process, said):
        assert said["domain"] == said["url"]
        assert said["pid"] == process.pid
        assert _status(f"{said['url']}/api/users", said["key"]) == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")


def test_a_key_from_the_environment_is_taken_and_not_told() -> None:
    with _running(BULK_UNVERIFY_SANDBOX_KEY="of-my-own") as (process, said):
        assert (said["key"], said["key_variable"]) == (None, "BULK_UNVERIFY_SANDBOX_KEY")
        url = f"{said['url']}/api/users"
        assert [_status(url, "of-my-own"), _status(url, "sandbox-key")] == [200, 401]
        process.terminate()
        assert "of-my-own" not in "".join(process.communicate(timeout=10)) + json.dumps(said)


def test_it_writes_a_matching_batch_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "batch.csv"
    staged = ["--rows", "300", "--bad", "7", "--duplicates", "11", "--vanished", "13", "--users", "500"]
    command = _command("--write-csv", str(path), "--write-only", *staged)
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=True)
    assert done.stdout == ""
    expected = {"succeeded": 269, "not_found": 13, "invalid": 7, "duplicate": 11}
    assert json.loads(done.stderr) == {"csv": str(path), "expected": expected}
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["user_id", "identifier_id", "email"]
    assert len(rows) == 301


def test_the_key_has_no_flag() -> None:
    done = subprocess.run(_command("--help"), capture_output=True, text=True, env=_environment(), check=True)
    assert "--tls-key" in done.stdout
    assert "--key" not in done.stdout
    assert "--api-key" not in done.stdout


def test_help_does_not_wait_for_aiohttp() -> None:
    code = "import sys, worker.cli.sandbox; print([m for m in ('aiohttp', 'pydantic') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=True)
    assert done.stdout.strip() == "[]"
