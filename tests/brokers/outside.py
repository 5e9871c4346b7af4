"""What a test sees of a worker from outside."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from brokers.servers import free_port
from prometheus_client.parser import text_string_to_metric_families


class Outside:
    """The listener of a worker that is started with its flags."""

    def __init__(self, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.flags = ("--listen", f"127.0.0.1:{self.port}")

    def ask(self, path: str) -> tuple[int, str]:
        """Return status and body; status 0 where nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def readiness(self) -> tuple[int, str]:
        """Return the status of /readyz and the reason that it gives."""
        status, body = self.ask("/readyz")
        told: dict[str, Any] = json.loads(body) if body else {}
        return status, told.get("reason", "")

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Return what /metrics says, by name and label values."""
        return {
            (sample.name.removeprefix("bulk_unverify_"), *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.ask("/metrics")[1])
            for sample in family.samples
        }

    def rows(self) -> float:
        """Return how many rows have an outcome."""
        return sum(count for name, count in self.metrics().items() if name[0] == "rows_total")

    def queue(self) -> tuple[float | None, float | None]:
        """Return how many messages wait and are taken."""
        told = self.metrics()
        return told.get(("queue_messages", "waiting")), told.get(("queue_messages", "taken"))

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.readiness() == (200, ""))

    def wait_for_reason(self, part: str) -> None:
        """Return once /readyz says 503 and `part`; /healthz is not concerned."""
        wait_until(lambda: self.readiness()[0] == 503 and part in self.readiness()[1])
        assert self.ask("/healthz")[0] == 200


def wait_until(holds: Callable[[], bool], *, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)
