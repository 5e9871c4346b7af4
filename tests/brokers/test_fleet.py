"""A fleet at its worst: four workers, two killed and replaced, the broker restarted, a limit that nobody told."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

import pytest
from brokers.fleet import Fleet, every_row_once
from brokers.servers import RedisServer
from fault.conftest import Tenant

ROWS = 20_000
RATE = 1200
SHARE = RATE / 4
CONCURRENCY = 16
UNRECORDED_S = 0.2
"""Outcomes wait for the broker for less."""


@pytest.fixture(scope="module")
def running_tenant() -> Iterator[Tenant]:
    tenant = Tenant(users=ROWS)
    yield tenant
    tenant.close()


def test_every_row_has_one_outcome_and_the_rate_is_kept(fleet: Fleet, redis_server: RedisServer) -> None:
    fleet.tenant.trouble(limits=[{"requests": 1000, "burst": 50}], server_error=0.01)
    rows = fleet.batch(ROWS, rows_per_message=50)
    flags = ["--workers", "4", "--rate", f"{RATE}/s", "--concurrency", str(CONCURRENCY), "--lease", "3s"]
    flags += ["--until-empty"]
    workers = [fleet.work(*flags) for _ in range(4)]
    chance = random.Random(20_000)
    for calls in (4_000, 8_000):
        fleet.wait_for_calls(calls)
        victim = workers.pop(chance.randrange(4))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        workers.append(fleet.work(*flags))
    fleet.wait_for_calls(12_000)
    redis_server.kill()
    time.sleep(0.5)  # it is away for this long
    redis_server.start()
    for worker in workers:
        _, err = worker.communicate(timeout=90)
        assert worker.returncode == 0, err
        assert "broker_back" in err
    every_row_once(fleet, rows)
    record = fleet.tenant.record()
    assert record["most_in_one_second"] <= RATE * 1.02
    assert record["throttled"] > 0, "the limit was never met"
    again = record["acted"] - ROWS
    assert 0 <= again <= 2 * (CONCURRENCY + SHARE * UNRECORDED_S), "more was done again than two victims had"
