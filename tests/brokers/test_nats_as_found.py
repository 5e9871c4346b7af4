"""A NATS as it is found: streams that drop what they are given are refused; its refusals are told at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from brokers.fleet import Fleet
from brokers.queues import OpenQueue
from brokers.servers import NatsServer, free_port
from nats.js.api import DiscardPolicy, RetentionPolicy, StreamConfig, SubjectTransform

from worker.brokers import QueueAddress, open_queue
from worker.brokers.nats_fitness import unfit
from worker.brokers.nats_line import NatsLine
from worker.errors import BrokerError, BrokerUnfitError
from worker.ports import WorkQueue

ACCOUNTS = """
jetstream {{ store_dir: "{folder}" }}
accounts {{
  A {{
    jetstream: {{ max_file: 20K }}
    users: [
      {{ user: all, password: x }}
      {{ user: asks, password: x, permissions: {{ publish: {{ deny: ["q"] }} }} }}
      {{ user: tells, password: x, permissions: {{ publish: {{ deny: ["$JS.API.STREAM.INFO.>"] }} }} }}
      {{ user: deaf, password: x, permissions: {{ subscribe: {{ deny: ["_INBOX.>"] }} }} }}
    ]
  }}
}}
"""
WORK: dict[str, Any] = {"subjects": ["q"], "retention": RetentionPolicy.WORK_QUEUE}
QUICK_S = 3.0
"""Much less than any time-out."""


@pytest.fixture
def broker(nats_server: NatsServer) -> NatsServer:
    return nats_server


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[NatsServer]:
    """A server with an account that is soon full, and users who may not do everything."""
    configuration = tmp_path / "nats.conf"
    configuration.write_text(ACCOUNTS.format(folder=tmp_path / "streams"))
    server = NatsServer(tmp_path, "-c", str(configuration), streams=False)
    yield server
    server.close()


def opened(url: str) -> contextlib.aclosing[WorkQueue]:
    return contextlib.aclosing(open_queue(QueueAddress.parse(url), "worker"))


async def make_stream(url: str, name: str, **settings: Any) -> None:
    client = await nats.connect(url.rpartition("/")[0])
    await client.jetstream().add_stream(name=name, **{"subjects": [name], **settings})
    await client.close()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"retention": RetentionPolicy.INTEREST}, "retention is `interest`"),
        ({"max_age": 0.5}, "max_age of 0.5 s"),
        ({"max_msgs": 2}, r"its max_msgs it drops the oldest \(discard `old`\)"),
        ({"max_bytes": 2, "max_msgs_per_subject": 1}, "max_bytes and max_msgs_per_subject"),
        ({"subjects": ["other", "q.>"]}, "give it that subject"),
        ({"no_ack": True}, "no_ack"),
        ({"sealed": True}, "sealed"),
        ({"subject_transform": SubjectTransform("q", "p")}, "subject_transform"),
    ],
)
def test_a_stream_that_drops_what_it_is_given_is_named_by_the_setting(
    settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(AssertionError, match=says):
        is_fit(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"retention": RetentionPolicy.LIMITS, "max_age": 0.0, "max_msgs": -1},
        {"max_msgs": 2, "max_bytes": 9, "discard": DiscardPolicy.NEW},
        {"subjects": ["other", "q"]},
        {"subjects": [">"]},
    ],
)
def test_a_stream_that_keeps_what_it_is_given_is_used(settings: dict[str, Any]) -> None:
    is_fit(settings)


def is_fit(settings: dict[str, Any]) -> None:
    told = unfit(StreamConfig(name="q", **{**WORK, **settings}), "q")
    assert not told, told


@pytest.mark.parametrize("stream", ["", "-results", "-dead"])
async def test_neither_is_published_nor_called_where_a_stream_drops_rows(
    stream: str, queue_of: OpenQueue, queue_url: str
) -> None:
    name = queue_url.rpartition("/")[2]
    await make_stream(queue_url, f"{name}{stream}", max_age=60.0)
    queue = queue_of("worker")
    with pytest.raises(
        BrokerUnfitError, match=rf"^The NATS stream {name}{stream} cannot be used: its max_age"
    ):
        await queue.depth()  # a worker asks first of all
    place = {"": queue, "-results": queue.results(), "-dead": queue.dead}[stream]
    with pytest.raises(BrokerUnfitError):
        await place.publish([b"row"])
    assert list(await place.receive(1, 0.05)) == [], "what is left may be taken"


def test_enqueue_and_work_exit_with_the_setting(fleet: Fleet) -> None:
    fleet.file(3)
    name = fleet.url.rpartition("/")[2]
    asyncio.run(make_stream(fleet.url, name, retention=RetentionPolicy.INTEREST))
    for words in ("enqueue batch.csv", "work --rate 9/s"):
        code, _, err = fleet.call(*words.split())
        assert (code, "`interest`" in err) == (2, True), err


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ("asks", 'permissions violation for publish to "q"'),
        ("tells", "permissions violation for publish to"),
        ("deaf", "permissions violation for subscription to"),
    ],
)
async def test_a_right_that_is_missing_is_told_at_once(user: str, says: str, strict: NatsServer) -> None:
    url = strict.url("q").replace("//", f"//{user}:x@")
    await make_stream(strict.url("q").replace("//", "//all:x@"), "q", retention=RetentionPolicy.WORK_QUEUE)
    began = time.monotonic()
    async with opened(url) as queue:
        with pytest.raises(BrokerError) as caught:
            await queue.publish([b"row"])
    assert says in str(caught.value)
    assert time.monotonic() - began < QUICK_S


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "resource limits exceeded for account"),
        ({"max_msgs": 1, "discard": DiscardPolicy.NEW}, "maximum messages exceeded"),
        ({"max_msg_size": 10}, "message size exceeds maximum allowed"),
    ],
)
async def test_what_the_server_does_not_take_is_told_at_once(
    settings: dict[str, Any], says: str, strict: NatsServer
) -> None:
    url = strict.url("q").replace("//", "//all:x@")
    await make_stream(url, "q", retention=RetentionPolicy.WORK_QUEUE, **settings)
    began = time.monotonic()
    async with opened(url) as queue:
        with pytest.raises(BrokerError, match=says):
            await queue.publish([b"row" * 1000] * 12)
    assert time.monotonic() - began < QUICK_S


async def test_another_server_of_the_cluster_is_tried(tmp_path: Path) -> None:
    routes = [free_port(), free_port()]
    clustered = [
        (
            "--cluster_name",
            "c",
            "--cluster",
            f"nats://127.0.0.1:{own}",
            "--routes",
            f"nats://127.0.0.1:{other}",
        )
        for own, other in (routes, routes[::-1])
    ]
    servers = [NatsServer(tmp_path, *words, streams=False) for words in clustered]
    try:
        line = NatsLine(servers[0].url("").rstrip("/"))
        await asyncio.wait_for(until_it_knows_of_another(line), 10)
        servers[0].kill()
        await asyncio.wait_for(until_it_is_at(servers[1].port, line), 10)
        await line.aclose()
    finally:
        for server in servers:
            server.close()


async def until_it_knows_of_another(line: NatsLine) -> None:
    while not (await line.client()).discovered_servers:
        await line.aclose()
        await asyncio.sleep(0.05)  # they have to find each other first


async def until_it_is_at(port: int, line: NatsLine) -> None:
    at = None
    while at != port:
        with contextlib.suppress(OSError, nats.errors.Error):
            url = (await line.client()).connected_url
            at = None if url is None else url.port
        await asyncio.sleep(0.05)  # it takes a moment to hear of a loss
