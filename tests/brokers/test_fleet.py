"""A fleet at its worst: four workers, two killed and replaced, the broker restarted, a limit that nobody told."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

import pytest
from brokers.fleet import Fleet, every_row_once
from brokers.servers import Server
from fault.conftest import Tenant

ROWS = 20_000
CONCURRENCY = 16
MESSAGE = 50
UNRECORDED_S = 0.2
"""Outcomes wait for the broker for less."""


@pytest.fixture(scope="module")
def running_tenant() -> Iterator[Tenant]:
    tenant = Tenant(users=ROWS)
    yield tenant
    tenant.close()


def most_again(server: Server) -> float:
    """Return how many rows may be done again: what two victims had not recorded, and had not finished a message of.

    A broker that remembers no rows may give what all had at hand to others when it restarts.
    """
    share = server.fleet_rate / 4
    victim = CONCURRENCY + share * UNRECORDED_S
    if server.remembers_rows:
        return 2 * victim
    at_hand = max(share * 2, 64) + MESSAGE
    return 2 * (victim + 2 * MESSAGE) + 4 * at_hand


@pytest.mark.kills_broker
@pytest.mark.timeout(300)  # 20,000 rows through five processes: 100 s where eight wait for a core
def test_every_row_has_one_outcome_and_the_rate_is_kept(fleet: Fleet, broker: Server) -> None:
    rate = broker.fleet_rate
    # The slowest machine meets it at first; then it is one for those that can keep the whole rate.
    fleet.tenant.trouble(limits=[{"requests": 20, "burst": 50}], server_error=0.01)
    rows = fleet.batch(ROWS, rows_per_message=MESSAGE)
    flags = ["--workers", "4", "--rate", f"{rate}/s", "--concurrency", str(CONCURRENCY)]
    flags += ["--lease", f"{max(3.0, broker.worker_lease_s)}s", "--until-empty"]
    workers = [fleet.work(*flags) for _ in range(4)]
    fleet.wait_for_refusal()
    fleet.tenant.change(limits=[{"requests": rate * 5 // 6, "burst": 50}], server_error=0.01)
    chance = random.Random(20_000)
    for part in (0.2, 0.4):
        fleet.wait_for_calls(int(ROWS * part))
        victim = workers.pop(chance.randrange(4))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        workers.append(fleet.work(*flags))
    fleet.wait_for_calls(int(ROWS * 0.6))
    broker.kill()
    time.sleep(0.5)  # it is away for this long
    broker.start()
    said = [worker.communicate(timeout=90)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, said
    # A worker that had nothing to say to it for half a second has missed nothing.
    assert broker.is_tried_twice or any("broker_back" in err for err in said)
    every_row_once(fleet, rows)
    record = fleet.tenant.record()
    # Each worker keeps its share plus one.
    assert record["surely_in_one_second"] <= max(rate * 1.02, rate + 4)
    again = record["acted"] - ROWS
    assert 0 <= again <= most_again(broker), "more was done again than the victims had"
