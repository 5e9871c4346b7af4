"""What the compose file starts, started: its own commands, settings and health checks, without the containers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from brokers.outside import Outside, wait_until
from brokers.servers import free_port

_DEPLOY = Path(__file__).parents[2] / "deploy"
_COMPOSE: dict[str, Any] = yaml.safe_load((_DEPLOY / "compose.yaml").read_text())
_WORKERS = ("worker-1", "worker-2", "worker-3")


class Composed:
    """The services as processes: ports that are free for those that are named, a folder for the volumes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("redis", "data", "secrets"):
            (folder / name).mkdir()
        [(name, secret)] = _COMPOSE["secrets"].items()
        shutil.copy(_DEPLOY / secret["file"], folder / "secrets" / name)
        self.ports = {port: free_port() for port in (6379, 8089, 9464, 9465, 9466)}
        self._running: list[subprocess.Popen[str]] = []

    def there(self, text: str) -> str:
        """Return `text` with the ports and folders of here, and Redis on loopback."""
        text = text.replace("redis://redis:", "redis://127.0.0.1:").replace(
            "/data", str(self._folder / "data")
        )
        return re.sub(
            r"\b(6379|8089|946[456])\b(?=/|'|$)", lambda match: str(self.ports[int(match[0])]), text
        )

    def start(self, name: str, *words: str) -> subprocess.Popen[str]:
        service = _COMPOSE["services"][name]
        program = [] if name == "redis" else [sys.executable, "-m", "worker"]
        process = subprocess.Popen(
            [*program, *map(self.there, service["command"]), *words],
            env=self._settings(service),
            cwd=self._folder / ("redis" if name == "redis" else "data"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        return process

    def is_healthy(self, name: str) -> bool:
        kind, *check = _COMPOSE["services"][name]["healthcheck"]["test"]
        assert kind in {"CMD", "CMD-SHELL"}
        if kind == "CMD-SHELL":
            command = ["sh", "-c", check[0].replace("redis-cli", f"redis-cli -p {self.ports[6379]}")]
        else:
            command = [sys.executable if check[0] == "python" else check[0], *map(self.there, check[1:])]
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0

    def _settings(self, service: dict[str, Any]) -> dict[str, str]:
        given = {name: self.there(value) for name, value in service.get("environment", {}).items()}
        if "secrets" in service:
            given["CREDENTIALS_DIRECTORY"] = str(self._folder / "secrets")  # read in the way of /run/secrets
        ours = ("BULK_UNVERIFY_", "MONOCLOUD_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return inherited | given

    def close(self) -> None:
        for process in reversed(self._running):
            process.kill()
            process.communicate()


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    composed = Composed(tmp_path)
    yield composed
    composed.close()


def test_the_fleet_comes_up_shares_a_batch_and_stops(composed: Composed) -> None:
    composed.start("redis", "--port", str(composed.ports[6379]), "--bind", "127.0.0.1")
    composed.start("sandbox")
    for name in ("redis", "sandbox"):
        wait_until(lambda name=name: composed.is_healthy(name))
    workers = [composed.start(name) for name in _WORKERS]
    for name in _WORKERS:
        wait_until(lambda name=name: composed.is_healthy(name))
    published, err = composed.start("enqueue").communicate(timeout=60)
    assert "Published  3,000 rows" in published + err
    outsides = [Outside(composed.ports[port]) for port in (9464, 9465, 9466)]
    wait_until(lambda: sum(outside.rows() for outside in outsides) > 300)
    assert all(outside.rows() > 0 for outside in outsides)
    workers[0].terminate()
    wait_until(lambda: not composed.is_healthy(_WORKERS[0]))
    assert workers[0].wait(20) == 0
    for worker in workers[1:]:
        worker.terminate()
        assert worker.wait(20) == 0
