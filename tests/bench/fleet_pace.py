"""The pace of four workers that share one rate in Redis, by the sandbox's own record."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from figures import Figure
from processes import SERVER_CORE, BenchError, finish, script, serving
from product import COMMAND

_KEY: Final = "sandbox-key"
_RATES: Final = (50, 500, 2_000)
_WORKERS: Final = 4
_TOLERANCE: Final = 0.01
_PATIENCE_S: Final = 120.0


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return for each rate how near four workers together kept it, and the fullest second."""
    duration_s = 5 if quick else 20
    figures = []
    for rate in _RATES:
        record = _record(folder / str(rate), rate, duration_s)
        kept = (record["requests"] - 1) / record["span_s"]
        most, allowed = record["most_in_one_second"], max(rate + 1, int(rate * 1.02))
        off = abs(kept / rate - 1)
        what = f"{_WORKERS} workers, {rate:,}/s"
        notes = f"{kept:,.2f}/s; {record['requests']:,} calls over {record['span_s']:.2f} s"
        figures += [
            Figure("fleet", f"{what}: off by", "within 1%", f"{off:.2%}", off <= _TOLERANCE, notes),
            Figure(
                "fleet", f"{what}: most in any second", f"at most {allowed:,}", f"{most:,}", most <= allowed
            ),
        ]
    return figures


def _record(folder: Path, rate: int, duration_s: int) -> dict[str, Any]:
    """Have four workers empty a queue at `rate`; return what the sandbox says of it."""
    folder.mkdir()
    batch = folder / "batch.csv"
    with (
        _redis(folder) as redis_port,
        serving(script("serve_sandbox.py", batch, rate * duration_s, "{}"), SERVER_CORE) as server,
    ):
        tenant = f"http://127.0.0.1:{server.port}"
        env = os.environ | {
            "MONOCLOUD_MANAGEMENT_API_KEY": _KEY,
            "MONOCLOUD_MANAGEMENT_DOMAIN": tenant,
            "BULK_UNVERIFY_QUEUE": f"redis://127.0.0.1:{redis_port}/0?stream=bench",
        }
        finish([COMMAND, "enqueue", str(batch), "--runs", str(folder / "runs")], env=env)
        _work(["work", "--until-empty", "--rate", f"{rate}/s", "--concurrency", "16"], env)
        with urllib.request.urlopen(f"{tenant}/_sandbox/record", timeout=30) as reply:
            value = json.load(reply)
    assert isinstance(value, dict)
    return value


def _work(words: list[str], env: dict[str, str]) -> None:
    """Run the workers until the queue is empty.

    Raises:
        BenchError: One of them failed, or did not end.
    """
    workers = [
        subprocess.Popen([COMMAND, *words], env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(_WORKERS)
    ]
    try:
        for worker in workers:
            _, said = worker.communicate(timeout=_PATIENCE_S)
            if worker.returncode:
                raise BenchError(f"a worker ended with {worker.returncode}: {said.decode()}")
    except subprocess.TimeoutExpired as error:
        raise BenchError("a worker did not end") from error
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[int]:
    """Start a redis-server that keeps nothing; give its port.

    Raises:
        BenchError: It is not installed, or does not answer.
    """
    binary = shutil.which("redis-server")
    if binary is None:
        raise BenchError("redis-server is missing: install it (Debian: apt-get install redis-server)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise BenchError("redis-server does not answer") from None
            time.sleep(0.02)
        else:
            return
