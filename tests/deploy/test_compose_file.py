"""The compose file: hardened, no key in it, and its numbers agree. tests/brokers starts what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.sandbox.options import MADE_UP_KEY

_TOP = Path(__file__).parents[2]
_COMPOSE: dict[str, Any] = yaml.safe_load((_TOP / "deploy" / "compose.yaml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
_WORKERS = {name: service for name, service in _SERVICES.items() if service["command"][0] == "work"}


def _flag(service: dict[str, Any], flag: str) -> str:
    words: list[str] = service["command"]
    return words[words.index(flag) + 1]


@pytest.mark.parametrize("name", _SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", service["user"])
    assert ":" in service["image"] or service["build"]["dockerfile"] == "deploy/Containerfile"


def test_three_workers_share_the_rate_and_each_is_asked_at_its_own_port() -> None:
    assert len(_WORKERS) == 3
    assert {_flag(service, "--workers") for service in _WORKERS.values()} == {str(len(_WORKERS))}
    assert len({_flag(service, "--rate") for service in _WORKERS.values()}) == 1
    ports = {_flag(service, "--listen").rpartition(":")[2] for service in _WORKERS.values()}
    assert ports == {"9464", "9465", "9466"}
    for service in _WORKERS.values():
        port = _flag(service, "--listen").rpartition(":")[2]
        assert f"http://127.0.0.1:{port}/readyz" in service["healthcheck"]["test"][-1]


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for service in _SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:9464-9466:9464-9466"]


def test_redis_loses_nothing_that_it_has_confirmed() -> None:
    words = _SERVICES["redis"]["command"]
    assert words[words.index("--appendonly") + 1] == "yes"
    assert words[words.index("--appendfsync") + 1] == "always"
    assert "redis:/data" in _SERVICES["redis"]["volumes"]


def test_a_worker_has_the_time_that_it_needs_to_stop() -> None:
    assert {service["stop_grace_period"] for service in _WORKERS.values()} == {"60s"}


def test_the_key_is_a_file_and_the_one_that_is_shipped_opens_nothing() -> None:
    [(name, secret)] = _COMPOSE["secrets"].items()
    assert all(service["secrets"] == [name] for service in _WORKERS.values())
    assert (_TOP / "deploy" / secret["file"]).read_text() == f"{MADE_UP_KEY}\n"
    settings = {variable for service in _SERVICES.values() for variable in service.get("environment", {})}
    assert settings == {"MONOCLOUD_MANAGEMENT_DOMAIN", "BULK_UNVERIFY_QUEUE"}
