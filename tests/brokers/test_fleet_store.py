"""What a fleet's store promises, asked of the real Redis: whose turn it is, who is there, what holds them all."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import redis
from brokers.servers import RedisServer, Server
from redis.crc import key_slot

from worker.brokers import QueueAddress, open_fleet_store
from worker.errors import BrokerError
from worker.ports import FleetStore
from worker.sharing import Ask, Found, Grant

_tenants = itertools.count()


@pytest.fixture
def tenant() -> str:
    return f"store-{next(_tenants)}.example"


@pytest.fixture
async def store(redis_server: Server, tenant: str) -> AsyncIterator[FleetStore]:
    store = open_fleet_store(QueueAddress.parse(redis_server.url("any")), tenant)
    yield store
    await store.aclose()


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


PLAIN = Ask(
    worker="a",
    ceiling_per_s=50.0,
    slots=0,
    accepted=0,
    refused=0,
    cool_down_s=0.0,
    told_per_s=None,
    willing=False,
    found=Found(50.0),
    expected=0,
)


def ask(worker: str = "a", **values: Any) -> Ask:
    return msgspec.structs.replace(PLAIN, worker=worker, **values)


def slots(grant: Grant) -> list[float]:
    return [grant.first_s + grant.interval_s * number for number in range(grant.slots)]


def silent_for(client: redis.Redis, tenant: str, worker: str, seconds: float) -> None:
    """Have a worker that was heard of just now be heard of so long ago."""
    client.zincrby(f"bulk-unverify:{{{tenant}}}:workers", -seconds * 1e6, worker)


async def test_nobody_gets_a_slot_that_another_has(store: FleetStore) -> None:
    grants = [await store.reserve(ask(name, slots=3)) for name in "abcab"]
    times = [at for grant in grants for at in slots(grant)]
    assert [late - early for early, late in itertools.pairwise(times)] == pytest.approx([0.02] * 14, abs=1e-5)


async def test_what_nobody_asked_for_is_not_caught_up(
    store: FleetStore, client: redis.Redis, tenant: str
) -> None:
    at_s = (await store.reserve(ask(slots=1))).at_s
    client.hset(f"bulk-unverify:{{{tenant}}}:rate", "tat", (at_s - 5.0) * 1e6)
    grant = await store.reserve(ask(slots=1))
    assert grant.at_s - 0.0041 <= grant.first_s <= grant.at_s


async def test_a_cool_down_holds_all_and_only_ever_moves_later(store: FleetStore) -> None:
    held = await store.reserve(ask("a", slots=2, refused=1, cool_down_s=30.0))
    assert held.slots == 0
    assert held.resume_s == pytest.approx(held.at_s + 30.0)
    other = await store.reserve(ask("b", slots=2, refused=1, cool_down_s=5.0))
    assert (other.slots, other.resume_s) == (0, held.resume_s)
    longest = await store.reserve(ask("b", refused=1, cool_down_s=1e9))
    assert longest.resume_s == pytest.approx(longest.at_s + 300.0)
    assert longest.refused == 3


async def test_after_a_cool_down_slots_begin_at_once_and_nobody_gets_one_that_another_has(
    store: FleetStore,
) -> None:
    slow = {"ceiling_per_s": 0.5, "found": Found(0.5), "slots": 2}
    for name in "abcd":
        await store.reserve(ask(name, **slow))  # sixteen seconds of slots, which all of them give up
    held = await store.reserve(ask("a", **slow, refused=1, cool_down_s=0.05))
    await asyncio.sleep(0.06)
    grants = [await store.reserve(ask(name, **slow)) for name in "abcd"]
    times = [at for grant in grants for at in slots(grant)]
    assert times[0] == pytest.approx(held.resume_s, abs=0.5)
    assert [late - early for early, late in itertools.pairwise(times)] == pytest.approx([2.0] * 7, abs=1e-5)


async def test_the_smallest_rate_that_a_living_worker_was_told_counts(store: FleetStore) -> None:
    assert (await store.reserve(ask("a", ceiling_per_s=None))).ceiling_per_s is None
    assert (await store.reserve(ask("b", ceiling_per_s=20.0))).rate_per_s == 20.0
    assert (await store.reserve(ask("c", ceiling_per_s=70.0))).ceiling_per_s == 20.0
    await store.leave("b")
    assert (await store.reserve(ask("a", ceiling_per_s=None))).ceiling_per_s == 70.0


async def test_one_leads_and_what_it_found_is_taken_up_by_the_next(
    store: FleetStore, client: redis.Redis, tenant: str
) -> None:
    assert (await store.reserve(ask("a", willing=True))).leads
    assert not (await store.reserve(ask("b", willing=True, found=Found(1.0, 2)))).leads
    grant = await store.reserve(ask("a", willing=True, found=Found(31.5, 1)))
    assert (grant.leads, grant.rate_per_s) == (True, 31.5)
    client.hset(f"bulk-unverify:{{{tenant}}}:rate", "leads_until", 1)  # it was not heard of for three seconds
    grant = await store.reserve(ask("b", willing=True, found=Found(50.0)))
    assert (grant.leads, grant.found) == (True, Found(31.5, 1))
    assert not (await store.reserve(ask("a", willing=True, found=Found(50.0)))).leads
    await store.leave("b")
    assert (await store.reserve(ask("a", willing=True))).leads


async def test_everybody_hears_what_the_fleet_met(store: FleetStore) -> None:
    await store.reserve(ask("a", accepted=5, refused=1, cool_down_s=0.1, told_per_s=12.5))
    grant = await store.reserve(ask("b", accepted=2))
    assert (grant.accepted, grant.refused, grant.told_per_s) == (7, 1, 12.5)


async def test_the_share_of_a_worker_that_went_silent_is_kept_free_for_a_while(
    store: FleetStore, client: redis.Redis, tenant: str
) -> None:
    for name in "abcd":
        assert (await store.reserve(ask(name))).interval_s == pytest.approx(1 / 50)
    silent_for(client, tenant, "d", 4.0)
    grant = await store.reserve(ask("a"))
    assert (grant.workers, grant.present) == (4, 3)
    assert grant.interval_s == pytest.approx(1 / 37.5)
    silent_for(client, tenant, "d", 27.0)
    grant = await store.reserve(ask("a"))
    assert (grant.workers, grant.interval_s) == (3, pytest.approx(1 / 50))


async def test_a_worker_that_goes_leaves_its_share_at_once(store: FleetStore) -> None:
    for name in "ab":
        await store.reserve(ask(name))
    await store.leave("b")
    grant = await store.reserve(ask("a"))
    assert (grant.workers, grant.interval_s) == (1, pytest.approx(1 / 50))


async def test_a_store_without_memory_grants_no_more_than_the_shares_of_those_who_are_back(
    store: FleetStore, client: redis.Redis, tenant: str
) -> None:
    assert (await store.reserve(ask("a", expected=4))).interval_s == pytest.approx(4 / 50)
    assert (await store.reserve(ask("b", expected=4))).interval_s == pytest.approx(2 / 50)
    client.hset(f"bulk-unverify:{{{tenant}}}:rate", "expected_until", 1)  # five seconds later
    assert (await store.reserve(ask("a"))).interval_s == pytest.approx(1 / 50)


async def test_a_clock_that_was_set_back_holds_nobody_for_long(
    store: FleetStore, client: redis.Redis, tenant: str
) -> None:
    now = (await store.reserve(ask())).at_s
    client.hset(
        f"bulk-unverify:{{{tenant}}}:rate", mapping={"tat": (now + 9e3) * 1e6, "resume": (now + 9e3) * 1e6}
    )
    grant = await store.reserve(ask())
    assert grant.resume_s == pytest.approx(grant.at_s + 300.0)
    client.hset(f"bulk-unverify:{{{tenant}}}:rate", "resume", 0)
    client.hset(f"bulk-unverify:{{{tenant}}}:rate", "tat", (now + 9e3) * 1e6)
    grant = await store.reserve(ask(slots=1))
    assert grant.first_s <= grant.at_s + 1.1


async def test_a_clock_that_was_set_back_while_workers_come_back_counts_them_all_the_same(
    store: FleetStore, client: redis.Redis, tenant: str
) -> None:
    at_s = (await store.reserve(ask("a", expected=2))).at_s
    ahead = {"since": (at_s + 3.0) * 1e6, "expected_until": (at_s + 8.0) * 1e6}
    client.hset(f"bulk-unverify:{{{tenant}}}:rate", mapping=ahead)
    for wanted in (0, 2):
        grant = await store.reserve(ask("a", slots=wanted))
        assert (grant.present, grant.interval_s) == (1, pytest.approx(1 / 50))
        assert grant.first_s == pytest.approx(grant.at_s, abs=0.1)


async def test_a_clock_that_was_set_back_keeps_nobody_from_leading(
    store: FleetStore, client: redis.Redis, tenant: str
) -> None:
    at_s = (await store.reserve(ask("a", willing=True))).at_s
    client.hset(f"bulk-unverify:{{{tenant}}}:rate", "leads_until", (at_s + 3600.0) * 1e6)
    assert (await store.reserve(ask("b", willing=True))).leads


async def test_its_keys_are_in_one_slot_and_go_by_themselves(
    store: FleetStore, client: redis.Redis, tenant: str
) -> None:
    await store.reserve(ask(slots=1))
    await store.row_count("work").count(5, 10)
    keys: Any = client.keys(f"*{tenant}*")
    assert len(keys) == 4
    assert {key_slot(key.encode()) for key in keys} == {key_slot(tenant.encode())}
    assert all(0 < int(str(client.ttl(key))) <= 3720 for key in keys)


async def test_a_store_that_is_lost_is_said_in_a_sentence() -> None:
    store = open_fleet_store(QueueAddress.parse("redis://:hunter22@127.0.0.1:1/0"), "t")
    with pytest.raises(BrokerError, match=r"^Redis cannot be used \(nothing listens there\)\.$"):
        await store.reserve(ask())


@pytest.mark.kills_broker
@pytest.mark.parametrize(
    ("spoil", "mend", "says"),
    [
        (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"], "READONLY"),
        (["ACL", "SETUSER", "default", "-evalsha"], ["ACL", "SETUSER", "default", "+evalsha"], "NOPERM"),
        (
            ["ACL", "SETUSER", "default", "-zadd"],
            ["ACL", "SETUSER", "default", "+zadd"],
            "The user .* can't run.*",
        ),
    ],
)
async def test_a_store_that_refuses_says_why(
    store: FleetStore, client: redis.Redis, spoil: list[str], mend: list[str], says: str
) -> None:
    client.execute_command(*spoil)
    try:
        with pytest.raises(BrokerError, match=rf"^Redis cannot be used \({says}\)\.$"):
            await store.reserve(ask())
    finally:
        client.execute_command(*mend)


@pytest.mark.kills_broker
async def test_a_full_redis_holds_the_rate_all_the_same(store: FleetStore, client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)
    try:
        assert (await store.reserve(ask(slots=3))).slots == 3
        assert await store.row_count("work").count(60, 100) == 0.0
        await store.leave("a")
    finally:
        client.config_set("maxmemory", 0)


async def test_rows_are_counted_for_all_who_count_and_no_hour_has_more(
    store: FleetStore, client: redis.Redis, tenant: str
) -> None:
    first, second = store.row_count("work"), store.row_count("work")
    assert await first.count(60, 100) == 0.0
    assert await second.count(40, 100) == 0.0
    assert 3540 <= await first.count(1, 100) <= 3660
    assert await store.row_count("other").count(100, 100) == 0.0
    key = f"bulk-unverify:{{{tenant}}}:rows:work"
    [minute] = [int(str(field)) for field in client.hkeys(key)]
    client.hdel(key, str(minute))
    client.hset(key, mapping={str(minute - 60): 30, str(minute - 61): 900})
    assert await first.count(70, 100) == 0.0  # what is over an hour old does not count
    wait_s = await second.count(1, 100)
    assert 0 < wait_s <= 60
    assert math.isfinite(wait_s)
    assert set(client.hkeys(key)) == {str(minute - 60), str(minute)}
