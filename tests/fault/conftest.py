"""A sandbox in its own process, and the real command against it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECRET = "bUk-unv3rify/s3cret+key=="


@dataclasses.dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        assert self.out.startswith("{"), self
        told: dict[str, Any] = json.loads(self.out)
        return told

    @property
    def outcomes(self) -> dict[str, int]:
        return {name: count for name, count in self.summary["outcomes"].items() if count}


def wait_until(holds: Callable[[], object]) -> None:
    """Wait for another process, which tells nobody when it is so far."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "the other process is not so far"
        time.sleep(0.05)


class Tenant:
    """A sandbox tenant in its own process.

    Args:
        users: How many people it has.
    """

    def __init__(self, users: int = 2000) -> None:
        self.users = users
        command = [sys.executable, "-m", "worker", "sandbox", "--users", str(users)]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"BULK_UNVERIFY_SANDBOX_KEY": SECRET},
        )
        assert self._process.stdout is not None
        self.url: str = json.loads(self._process.stdout.readline())["url"]

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=20)

    def trouble(self, **trouble: object) -> None:
        self._post("reset", {})
        self.change(**trouble)

    def change(self, **trouble: object) -> None:
        """Make other trouble from now on; the record goes on."""
        self._post("trouble", trouble)

    def record(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/_sandbox/record") as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    def requests(self) -> list[dict[str, Any]]:
        """Return every request in order of arrival."""
        with urllib.request.urlopen(f"{self.url}/_sandbox/requests") as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def hold_up(self, for_s: float) -> None:
        """Let it see nothing for a while; what comes meanwhile waits in its sockets."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(for_s)
        self._process.send_signal(signal.SIGCONT)

    def _post(self, what: str, body: dict[str, object]) -> None:
        request = urllib.request.Request(
            f"{self.url}/_sandbox/{what}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()


@pytest.fixture(scope="session")
def running_tenant() -> Iterator[Tenant]:
    tenant = Tenant()
    yield tenant
    tenant.close()


@pytest.fixture
def tenant(running_tenant: Tenant) -> Tenant:
    running_tenant.trouble()
    return running_tenant


class Desk:
    """A folder with a batch, and the command line in it."""

    def __init__(self, folder: Path, tenant: Tenant) -> None:
        self.folder = folder
        self.tenant = tenant
        self.env = os.environ | {
            "MONOCLOUD_MANAGEMENT_API_KEY": SECRET,
            "MONOCLOUD_MANAGEMENT_DOMAIN": tenant.url,
            "BULK_UNVERIFY_LOCK_DIR": str(folder),
        }
        self._started: list[subprocess.Popen[str]] = []

    def close(self) -> None:
        """End what a test that failed left running, so that no other one meets it."""
        for process in self._started:
            if process.returncode is None:
                process.kill()
                process.communicate()

    def batch(self, rows: int) -> str:
        path = self.folder / "batch.csv"
        command = [sys.executable, "-m", "worker", "sandbox", "--users", "2000", "--write-only"]
        command += ["--write-csv", str(path), "--rows", str(rows)]
        subprocess.run(command, check=True, capture_output=True)
        return str(path)

    def popen(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        self._started.append(process)
        return process

    def call(self, *words: str) -> Ran:
        process = self.popen(*words)
        out, err = process.communicate(timeout=90)
        return Ran(process.returncode, out, err)

    def run(self, rows: int, *flags: str) -> Ran:
        return self.call("run", self.batch(rows), "--yes", "--json", "--rate", "1000/s", *flags)

    @property
    def run_folder(self) -> Path:
        [folder] = (self.folder / "runs").glob("[!.]*")
        return folder


@pytest.fixture
def desk(tmp_path: Path, tenant: Tenant) -> Iterator[Desk]:
    desk = Desk(tmp_path, tenant)
    yield desk
    desk.close()
