"""A Redis as it is found: what it does to what it holds is read before it is used."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brokers.fleet import ROWS, Fleet
from brokers.queues import OpenQueue, bodies, settled, take
from brokers.servers import RedisServer, free_port

from worker.brokers import QueueAddress, open_fleet_store, open_queue
from worker.brokers.redis_fence import RedisFence
from worker.brokers.redis_fitness import unfit
from worker.errors import BrokerError, BrokerUnfitError
from worker.model import Depth

Start = Callable[..., RedisServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a Redis of the test's own."""
    servers: list[RedisServer] = []

    def start(*options: str, configuration: Path | None = None) -> RedisServer:
        folder = tmp_path / f"redis-{len(servers)}"
        folder.mkdir()
        servers.append(RedisServer(folder, *options, configuration=configuration))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def broker(start: Start) -> RedisServer:
    return start()


@pytest.mark.parametrize(
    ("info", "keeps", "says"),
    [
        ({"redis_version": "6.2.14"}, False, r"version 6\.2\.14, and bulk-unverify needs Redis 7 or newer"),
        ({"redis_version": "7.2.4", "redis_mode": "sentinel"}, False, "Give the address of the primary"),
        ({"redis_version": "8.2.3", "maxmemory": 5, "maxmemory_policy": "volatile-ttl"}, True, "noeviction"),
        ({"redis_version": "8.2.3", "maxmemory": 5, "maxmemory_policy": "allkeys-lfu"}, True, "noeviction"),
    ],
)
def test_what_cannot_be_relied_on_is_told(info: dict[str, object], keeps: bool, says: str) -> None:
    assert re.search(says, unfit(info, keeps=keeps))


def test_what_can_be_relied_on_is_not_told_of() -> None:
    assert not unfit({"redis_version": "7.2.4"}, keeps=True), "Valkey and Redict say so of themselves"
    evicting = {"redis_version": "7.0.15", "maxmemory": 5, "maxmemory_policy": "allkeys-lru"}
    assert not unfit(evicting, keeps=False)
    assert not unfit(evicting | {"maxmemory": 0}, keeps=True)
    assert not unfit(evicting | {"redis_version": "10.0", "maxmemory_policy": "noeviction"}, keeps=True)


def test_a_redis_that_evicts_is_refused_before_anything_is_published_and_by_workers(
    fleet: Fleet, broker: RedisServer
) -> None:
    with broker.client() as client:
        client.config_set("maxmemory", "64mb")
        client.config_set("maxmemory-policy", "volatile-lru")
        fleet.file(20)
        for words in (
            ["enqueue", "batch.csv"],
            ["work", "--rate", "50/s"],
            ["run", "batch.csv", "--via", "queue", "--yes"],
        ):
            code, _, err = fleet.call(*words)
            assert (code, "maxmemory-policy volatile-lru" in err, "noeviction" in err) == (2, True, True), err
        assert client.dbsize() == 0
        client.config_set("maxmemory-policy", "noeviction")  # as it says
    assert fleet.call("enqueue", "batch.csv")[0] == 0


async def test_outcomes_are_still_collected_from_a_redis_that_evicts(
    queue_of: OpenQueue, broker: RedisServer
) -> None:
    await queue_of("worker").results().publish([b"outcome"])
    with broker.client() as client:
        client.config_set("maxmemory", "64mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    assert await bodies(queue_of("collector").results()) == [b"outcome"]
    with pytest.raises(BrokerUnfitError):
        await queue_of("another").publish([b"work"])


async def test_a_fence_and_a_shared_rate_are_not_kept_where_keys_are_evicted(start: Start) -> None:
    server = start("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-random")
    address = QueueAddress.parse(server.url("fence"))
    queue = open_queue(QueueAddress.parse("nats://127.0.0.1:1/q"), "worker", fence=address)
    with pytest.raises(BrokerUnfitError, match=r"^The fence's Redis .*noeviction"):
        await queue.depth()
    await queue.aclose()
    store = open_fleet_store(address, "tenant")
    with pytest.raises(BrokerUnfitError, match="noeviction"):
        await store.row_count("q").count(1, 2)
    await store.aclose()


def test_a_full_redis_is_worked_off_and_every_row_is_called_once(fleet: Fleet, broker: RedisServer) -> None:
    rows = fleet.batch()
    with broker.client() as client:
        client.config_set("maxmemory", "1mb")  # less than an empty one has
        code, _, err = fleet.call("enqueue", "batch.csv", "--again")
        assert (code, "its memory is full" in err) == (3, True), err
        code, out, err = fleet.call("work", "--rate", "400/s", "--until-empty", "--json")
        assert (code, json.loads(out)["outcomes"]["succeeded"]) == (0, ROWS), err
        assert set(fleet.calls().values()) == {1}
        assert fleet.collect_all(ROWS)["rows"] == len(rows)
        assert fleet.depth() == Depth(0, 0)


async def test_whatever_a_worker_does_it_can_do_on_a_full_redis(
    queue_of: OpenQueue, broker: RedisServer
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1", b"2", b"3", b"4"])
    with broker.client() as client:
        client.config_set("maxmemory", "1mb")
    first, second, third, fourth = await take(queue, 4)
    await queue.extend([first])
    await queue.settle([settled(first, 1, fenced=True)])
    await queue.give_back([second])
    await queue.bury(third, b"letter")
    await queue.acknowledge([fourth])
    assert await queue.known({first.name: [1]}) is not None
    assert await queue.depth() == Depth(1, 0)
    assert await bodies(queue.dead) == [b"letter"]
    assert await bodies(queue.results()) == [b"result 1"]
    with pytest.raises(BrokerError, match=r"its memory is full.*`collect` makes room"):
        await queue.publish([b"5"])


async def test_a_full_fence_of_another_broker_remembers(start: Start) -> None:
    address = QueueAddress.parse(start("--maxmemory", "1mb").url("f"))
    fence = RedisFence(address, QueueAddress.parse("amqp://h/q"))
    await fence.remember({"batch": [0, 5, 70_000]})
    assert await fence.known({"batch": [0, 1, 5, 70_000]}) == {"batch": frozenset({0, 5, 70_000})}
    await fence.aclose()


async def refusal(url: str) -> str:
    """Return why a queue there takes no message."""
    async with contextlib.aclosing(open_queue(QueueAddress.parse(url), "worker")) as queue:
        with pytest.raises(BrokerError) as caught:
            await queue.publish([b"secret"])
    assert "secret" not in str(caught.value)
    return f"{caught.value.exit_code} {caught.value}"


async def test_a_cluster_and_a_sentinel_are_refused_in_words(start: Start, tmp_path: Path) -> None:
    cluster = start("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    assert re.match("2 .*a node of a cluster.*outside a cluster", await refusal(cluster.url("q")))
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text("")
    sentinel = start(configuration=configuration)
    assert re.match("2 .*a Sentinel.*the primary", await refusal(sentinel.url("q")))


async def test_the_servers_words_are_told_without_what_was_sent(broker: RedisServer) -> None:
    url = broker.url("q")
    assert (await refusal(url.replace("/0?", "/99?"))).endswith("(DB index is out of range).")
    with broker.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-xadd")
        assert "NOPERM" in await refusal(url)
        client.execute_command("ACL", "SETUSER", "default", "-info")
        assert "ACL SETUSER NAME +info" in await refusal(url)
