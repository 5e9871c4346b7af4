"""Workers as their operator starts them, on a real broker and a sandbox in its own process."""

from __future__ import annotations

import asyncio
import collections
import csv
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from brokers.queues import bodies
from brokers.servers import Server
from fault.conftest import SECRET, Tenant

from worker.brokers import QueueAddress, open_queue
from worker.model import Depth
from worker.ports import WorkQueue
from worker.queueing import FoundRow, decode_findings

ROWS = 300
T = TypeVar("T")


class Fleet:
    """Workers on one queue and one tenant."""

    def __init__(self, folder: Path, server: Server, tenant: Tenant) -> None:
        self.folder = folder
        self.tenant = tenant
        self.server = server
        self.url = server.url(f"fleet-{secrets.token_hex(4)}")
        self.key_file = folder / "key"
        self.key_file.write_text(SECRET)
        self.key_file.chmod(0o600)
        self.env = os.environ | {
            "MONOCLOUD_MANAGEMENT_API_KEY_FILE": str(self.key_file),
            "MONOCLOUD_MANAGEMENT_DOMAIN": tenant.url,
            "BULK_UNVERIFY_QUEUE": self.url,
        }
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        self._running.append(process)
        return process

    def call(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=90)
        return process.returncode, out, err

    def work(self, *words: str) -> subprocess.Popen[str]:
        return self.start(
            "work", "--lease", f"{self.server.worker_lease_s}s", "--rate", "400/s", "--json", *words
        )

    def file(self, rows: int = ROWS, *staged: str) -> list[tuple[str, str]]:
        """Write `batch.csv` with so many of the sandbox's people, and return its pairs."""
        path = self.folder / "batch.csv"
        command = [sys.executable, "-m", "worker", "sandbox", "--users", str(self.tenant.users)]
        command += ["--write-only", "--write-csv", str(path), "--rows", str(rows), *staged]
        subprocess.run(command, check=True, capture_output=True)
        with path.open(newline="") as file:
            return [(row["user_id"], row["identifier_id"]) for row in csv.DictReader(file)]

    def batch(self, rows: int = ROWS, *, rows_per_message: int = 7) -> list[tuple[str, str]]:
        """Publish a batch of the sandbox's people, and return its pairs."""
        pairs = self.file(rows)
        words = ["enqueue", "batch.csv", "--rows-per-message", str(rows_per_message), "--json"]
        _, out, err = self.call(*words)
        assert json.loads(out)["messages"] > 0, err
        return pairs

    def via(self, *words: str) -> subprocess.Popen[str]:
        """Begin to run `batch.csv` by the workers."""
        flags = ["--via", "queue", "--yes", "--json", "--lease", "1s", "--rows-per-message", "7"]
        return self.start("run", "batch.csv", *flags, *words)

    def depth(self, of: Literal["work", "results"] = "work") -> Depth:
        async def look(queue: WorkQueue) -> Depth:
            return await (queue if of == "work" else queue.results()).depth()

        return asyncio.run(self.ask(look))

    def wait_for_run(self) -> None:
        """Wait until some outcome was collected."""
        deadline = time.monotonic() + 60
        while not list(self.folder.glob("runs/collected-*/ledger.sqlite")):
            assert time.monotonic() < deadline, "nothing was collected"
            time.sleep(0.01)

    def collect_all(self, least: int) -> dict[str, Any]:
        """Collect until every row is there, and return the one run's summary."""
        deadline = time.monotonic() + 60
        while True:
            _, out, err = self.call("collect", "--json")
            assert out.startswith("{"), err
            [folder] = self.folder.glob("runs/collected-*")
            summary: dict[str, Any] = json.loads((folder / "summary.json").read_bytes())
            if summary["complete"] and summary["rows"] >= least:
                return summary
            assert time.monotonic() < deadline, summary

    def results(self) -> list[FoundRow]:
        async def read(queue: WorkQueue) -> list[FoundRow]:
            return [found for body in await bodies(queue.results()) for found in decode_findings(body)]

        return asyncio.run(self.ask(read))

    def calls(self) -> collections.Counter[tuple[str, str]]:
        """Return how often the sandbox was asked for each pair."""
        with urllib.request.urlopen(f"{self.tenant.url}/_sandbox/pairs") as answer:
            pairs = map(json.loads, answer.read().splitlines())
        return collections.Counter(
            {(each["user_id"], each["identifier_id"]): each["requests"] for each in pairs}
        )

    def wait_for_messages(self, least: int) -> None:
        deadline = time.monotonic() + 60
        while (depth := self.depth()).waiting < least:
            assert time.monotonic() < deadline, f"there are {depth} and no more"
            time.sleep(0.05)

    def wait_for_log(self, event: str) -> None:
        """Wait until the one run's log tells of `event`."""
        deadline = time.monotonic() + 60
        while event not in "".join(log.read_text() for log in self.folder.glob("runs/*/run.log")):
            assert time.monotonic() < deadline, f"the log does not tell of {event}"
            time.sleep(0.05)

    def wait_for_calls(self, least: int) -> None:
        before, deadline = -1, 0.0
        while (made := self.tenant.record()["requests"]) < least:
            if made > before:  # as long as it goes on, it may take as long as this machine needs
                before, deadline = made, time.monotonic() + 60
            assert time.monotonic() < deadline, f"the workers made {made} calls and no more"
            time.sleep(0.05)

    def wait_for_refusal(self) -> None:
        deadline = time.monotonic() + 60
        while not self.tenant.record()["throttled"]:
            assert time.monotonic() < deadline, "the limit was never met"
            time.sleep(0.05)

    async def ask(self, what: Callable[[WorkQueue], Awaitable[T]]) -> T:
        queue = open_queue(QueueAddress.parse(self.url), "test")
        try:
            return await what(queue)
        finally:
            await queue.aclose()

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()


def every_row_once(fleet: Fleet, rows: list[tuple[str, str]]) -> None:
    """Ask of the results that each row has one outcome, and of the queue that nothing is left.

    Where a broker does not remember rows, one that two workers did has two results, and the first one counts.
    """
    results = fleet.results()
    assert {(each.user_id, each.identifier_id) for each in results} <= set(rows)
    names = [(each.batch, each.index) for each in results]
    assert len(set(names)) == len(rows)
    if fleet.server.remembers_rows:
        assert len(names) == len(rows)
    assert fleet.depth() == Depth(0, 0)
