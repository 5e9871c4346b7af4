"""Workers in processes of their own share a rate, a cool-down and an hour's rows, by the sandbox's record."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from typing import Any

import pytest
from brokers.fleet import Fleet, every_row_once
from brokers.servers import Server

WORKERS = 4


@pytest.fixture
def broker(redis_server: Server) -> Server:
    return redis_server


CONCURRENCY = 8


def most_at(per_s: int) -> int:
    """Return how many calls a second may hold: a worker held up between its turn and the call is late by one."""
    return int(per_s * 1.02) + WORKERS


def arrivals(fleet: Fleet) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{fleet.tenant.url}/_sandbox/requests") as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def finish(fleet: Fleet, *flags: str) -> list[str]:
    """Run four workers until the queue is empty; return what they said."""
    words = ["--until-empty", "--concurrency", str(CONCURRENCY), *flags]
    said = []
    for worker in [fleet.work(*words) for _ in range(WORKERS)]:
        _, err = worker.communicate(timeout=90)
        assert worker.returncode == 0, err
        said.append(err)
    return said


@pytest.mark.parametrize("flags", [[], ["--workers", "7"]], ids=["no number given", "a number given"])
def test_four_workers_keep_one_rate(fleet: Fleet, flags: list[str]) -> None:
    rows = fleet.batch(900, rows_per_message=5)
    finish(fleet, "--rate", "150/s", *flags)
    every_row_once(fleet, rows)
    assert fleet.tenant.record()["surely_in_one_second"] <= most_at(150)
    middle = [each["arrived_s"] for each in arrivals(fleet)][
        300:750
    ]  # all four are there, and none has finished
    assert (
        449 / (middle[-1] - middle[0]) > 100
    )  # a share of it each would be 38/s; how exact it is, the bench tells


def test_a_429_of_one_holds_all(fleet: Fleet) -> None:
    limit = {"kind": "fixed-window", "requests": 150, "per_s": 4.0, "headers": ["retry-after-seconds"]}
    fleet.tenant.trouble(limits=[limit])
    rows = fleet.batch(400, rows_per_message=5)
    finish(fleet, "--rate", "100/s")
    every_row_once(fleet, rows)
    made = arrivals(fleet)
    refused = [each["arrived_s"] for each in made if each["status"] == 429]
    held = [
        (at, next(other["arrived_s"] for other in made if other["arrived_s"] > at + 0.15)) for at in refused
    ]
    assert held
    # A window ends within its four seconds, so what was refused first waited for one to two at the least.
    assert all(resumed - at >= 0.9 for at, resumed in held[:1])
    assert len(refused) <= 3 * (WORKERS + 100 * 0.15), "more was refused than was on its way or reserved"


def test_a_rate_is_shared_in_a_redis_beside_another_broker(fleet: Fleet, rabbitmq_server: Server) -> None:
    fleet.env["BULK_UNVERIFY_SHARED_RATE"] = fleet.url
    fleet.url = fleet.env["BULK_UNVERIFY_QUEUE"] = rabbitmq_server.url(
        f"shares-{fleet.folder.name}-{os.getpid()}"
    )
    fleet.batch(400, rows_per_message=5)
    finish(fleet, "--rate", "100/s")
    record = fleet.tenant.record()
    assert record["pairs"] == 400
    assert record["surely_in_one_second"] <= most_at(100)
    assert 3.9 <= record["span_s"] <= 6.0  # a share of it would take 16 s, and no sharing 1 s


def test_an_hour_has_no_more_rows_than_it_may_have(fleet: Fleet) -> None:
    fleet.batch(300, rows_per_message=7)
    workers = [fleet.work("--max-rows-per-hour", "100", "--rate", "300/s") for _ in range(WORKERS)]
    fleet.wait_for_calls(98)
    time.sleep(1.5)
    workers.append(fleet.work("--max-rows-per-hour", "100", "--rate", "300/s"))  # the count outlives a worker
    time.sleep(1.5)
    assert fleet.tenant.record()["pairs"] == 98, "14 messages of 7 rows fit into the hour"
    assert fleet.depth().waiting == 29, "the others are there for whoever may"
    for worker in workers:
        worker.terminate()
        _, err = worker.communicate(timeout=30)
        assert worker.returncode == 0, err
        assert err.count("hourly_cap_reached") == 1
    assert len(fleet.results()) == 98


def test_a_message_that_no_hour_has_room_for_is_a_dead_letter(fleet: Fleet) -> None:
    fleet.batch(20, rows_per_message=10)
    assert fleet.work("--until-empty", "--max-rows-per-hour", "9").wait(60) == 0
    letters = json.loads(fleet.call("dead-letters", "--json")[1])["dead_letters"]
    assert [letter["reason"] for letter in letters] == [
        "it has 10 rows, and an hour may have 9 (--max-rows-per-hour)"
    ] * 2
    assert fleet.tenant.record()["requests"] == 0


def test_a_store_that_is_not_there_is_done_without_by_those_who_know_their_number(fleet: Fleet) -> None:
    rows = fleet.batch(40)
    nowhere = ["--shared-rate", "redis://127.0.0.1:1/0"]
    code, _, err = fleet.call("work", *nowhere)
    assert code == 3
    assert "With --workers N" in err
    began = time.monotonic()
    code, _, err = fleet.call("work", "--until-empty", "--rate", "40/s", "--workers", "4", *nowhere)
    assert (code, err.count("shared_rate_lost")) == (0, 1), err
    assert time.monotonic() - began > 3.9, "that was more than a quarter of the rate"
    every_row_once(fleet, rows)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--shared-rate", "amqp://host/x"], "--shared-rate is the URL of a Redis"),
        (["--shared-rate", "redis://:hunter22@host/0"], "set BULK_UNVERIFY_SHARED_RATE to that URL instead"),
        (["--shared-rate", "redis:///0"], "--shared-rate names no host"),
        (["--max-rows-per-hour", "0"], "--max-rows-per-hour"),
    ],
)
def test_what_cannot_be_shared_in_is_refused(fleet: Fleet, words: list[str], says: str) -> None:
    code, _, err = fleet.call("work", *words)
    assert code == 2
    assert says in err
    assert "hunter22" not in err
