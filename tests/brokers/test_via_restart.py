"""A run by the workers of a broker that restarts, and that remembers no rows: what was called twice says so."""

from __future__ import annotations

import csv
import json
import time
from typing import Any

import pytest
from brokers.fleet import ROWS, Fleet
from brokers.servers import Server

pytestmark = pytest.mark.kills_broker


@pytest.fixture
def broker(rabbitmq_server: Server) -> Server:
    return rabbitmq_server


def test_a_row_that_the_broker_gave_out_twice_says_so(fleet: Fleet, broker: Server) -> None:
    fleet.file()
    flags = ["--rate", "60/s", "--workers", "2", "--concurrency", "8"]
    for _ in range(2):
        fleet.work(*flags)
    coordinator = fleet.via("--rows-per-message", "100")
    fleet.wait_for_calls(60)
    broker.kill()
    time.sleep(0.5)
    broker.start()
    out, err = coordinator.communicate(timeout=90)
    assert coordinator.returncode == 0, err
    summary: dict[str, Any] = json.loads(out)
    with (fleet.folder / summary["report"]).open(newline="") as file:
        says = {(row["user_id"], row["identifier_id"]): row["_resent"] for row in csv.DictReader(file)}
    assert len(says) == ROWS
    twice = [pair for pair, calls in fleet.calls().items() if calls > 1]
    assert len(twice) > 8 * 2, "hardly anything was given out twice"
    # The run is over with the first outcome of the last row: what is called again after that, nobody hears of.
    assert sum(says[pair] == "yes" for pair in twice) >= len(twice) - 8 * 2, len(twice)
