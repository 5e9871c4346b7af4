"""One rate for workers that share it: kept, held by a 429 of any of them, and never exceeded when Redis goes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest
import redis
from brokers.pacers import Paced, most_in_a_second, pacers
from brokers.servers import Server
from integration.loopback import cabled
from multidict import CIMultiDict

from worker.brokers import QueueAddress
from worker.compose.options import steering
from worker.compose.sharing import Sharing, keep_together
from worker.errors import BrokerError
from worker.model import Answer
from worker.pacing import RatePlan, parse_rate

_tenants = itertools.count()
AUTO = parse_rate("auto")


def refusal(retry_after: str = "1") -> Answer:
    return Answer(429, CIMultiDict({"Retry-After": retry_after}), b"")


@pytest.fixture
def tenant() -> str:
    return f"rate-{next(_tenants)}.example"


@pytest.fixture
def url(redis_server: Server) -> str:
    return redis_server.url("any")


async def until(what: str, holds: object, *, within_s: float = 15.0) -> None:
    """Wait until `holds()` is true."""
    assert callable(holds)
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"it did not come about that {what}"
        await asyncio.sleep(0.01)


def call_all(fleet: Sequence[Paced]) -> list[float]:
    made: list[float] = []
    for worker in fleet:
        worker.call(made)
    return made


def has_said_each_loss(worker: Paced) -> bool:
    """Return whether it lost the others and is back; a store too busy to answer in a second is lost as well."""
    losses = worker.events.count("shared_rate_lost")
    return losses > 0 and worker.events == ["shared_rate_lost", "shared_rate_back"] * losses


def soonest_ten_s(made: Sequence[float]) -> float:
    """Return how long the ten calls took that came soonest: a busy machine does not hold up all of them."""
    return min(last - before for before, last in zip(made, made[10:], strict=False))


@pytest.mark.parametrize("per_s", [20, 50, 400])
async def test_four_workers_keep_one_rate(url: str, tenant: str, per_s: int) -> None:
    async with pacers(url, tenant, RatePlan(per_s, adaptive=True), 4) as fleet:
        made = call_all(fleet)
        await until("calls are made", lambda: len(made) >= 3 * per_s, within_s=60.0)
    assert most_in_a_second(made) <= max(per_s + 1, per_s * 1.02)
    assert soonest_ten_s(made) < 10 / per_s / 0.5  # how near it comes is the bench's matter


async def test_what_some_do_not_use_is_there_for_the_others(url: str, tenant: str) -> None:
    async with pacers(url, tenant, RatePlan(50, adaptive=True), 4) as fleet:
        made = call_all(fleet[:1])
        await until("calls are made", lambda: len(made) >= 100, within_s=60.0)
    assert most_in_a_second(made) <= 51
    assert soonest_ten_s(made) < 10 / (50 / 4) * 0.9  # more than its part would be


async def test_a_429_of_one_holds_them_all(url: str, tenant: str) -> None:
    async with pacers(url, tenant, RatePlan(100, adaptive=False), 4) as fleet:
        made = call_all(fleet)
        await until("calls are made", lambda: len(made) > 100)
        fleet[2].answers.append(refusal("3"))
        await until("it was refused", lambda: bool(fleet[2].refused_at))
        [refused_at] = fleet[2].refused_at
        await until("all wait", lambda: all("cooling down" in w.pacer.status().why for w in fleet))
        heard_at = time.monotonic()
        await until("it goes on", lambda: made[-1] > heard_at)
    assert min(at for at in made if at > heard_at) >= refused_at + 3.0
    # They hear of it by their next question, 25 ms later at the most, and have reserved as much and 80 ms.
    assert len([at for at in made if refused_at < at < heard_at]) <= 25


async def test_who_leads_finds_the_limit_for_all_and_the_next_one_goes_on_from_there(
    url: str, tenant: str
) -> None:
    async with contextlib.AsyncExitStack() as entered:
        fleet = [Paced(url, tenant, f"w{number}", AUTO, 1) for number in range(3)]
        for worker in fleet[:2]:
            await entered.enter_async_context(worker)
        dying = await fleet[2].__aenter__()
        dying.call([])
        await until("the third leads alone and looks for a limit", lambda: dying.rate.rate_per_s > 40)
        made = call_all(fleet[:2])
        dying.answers.append(refusal("0"))
        await until("all have heard of it", lambda: all(w.rate.rate_per_s < 40 for w in fleet))
        await dying.__aexit__()
        left_at = fleet[0].rate.rate_per_s
        await until("another one leads", lambda: any(w.rate._lead for w in fleet[:2]))
        assert fleet[0].rate.rate_per_s == pytest.approx(left_at, rel=0.5)
        assert fleet[0].rate._found.climb is not None  # not from the start again
        await until("it climbs", lambda: fleet[0].rate.rate_per_s > left_at * 1.05)
    assert made


@pytest.mark.kills_broker
async def test_redis_that_is_killed_leaves_each_its_share_and_is_taken_up_again(
    url: str, tenant: str, redis_server: Server
) -> None:
    per_s, count = 60, 3
    async with pacers(url, tenant, RatePlan(per_s, adaptive=True), count, workers=4) as fleet:
        made = call_all(fleet)
        await until("all have called", lambda: len(made) > per_s)
        redis_server.kill()
        try:
            await until("all are alone", lambda: all(worker.rate.is_alone for worker in fleet))
            before, share = len(made), per_s // 4
            assert {worker.pacer.status().rate_per_s for worker in fleet} == {share}
            await until("shares are used", lambda: len(made) > before + 2 * share * count, within_s=30.0)
            assert most_in_a_second(made[before:]) <= (share + 1) * count
            assert (
                fleet[0].pacer.status().why == "this worker's share, as the fleet's rate cannot be shared now"
            )
        finally:
            redis_server.start()
        await until("all are back", lambda: not any(worker.rate.is_alone for worker in fleet))
        # Shares of it, even if they come together, are ten calls in 0.2 s.
        await until(
            "the rate is whole again", lambda: soonest_ten_s(made[-per_s:]) < 11 / per_s, within_s=30.0
        )
        assert all(has_said_each_loss(worker) for worker in fleet)
    assert most_in_a_second(made) <= per_s + 1


async def test_who_alone_loses_redis_takes_its_share_when_the_others_do_without_it(
    url: str, tenant: str
) -> None:
    per_s, address = 40, urlsplit(url)
    assert address.port
    async with (
        cabled(address.port) as (near_port, cable),
        Paced(
            url.replace(str(address.port), str(near_port)),
            tenant,
            "cut off",
            RatePlan(per_s, adaptive=True),
            4,
        ) as cut,
        pacers(url, tenant, RatePlan(per_s, adaptive=True), 3, workers=4) as others,
    ):
        made, alone = call_all(others), call_all([cut])
        await until("all have called", lambda: len(made) > per_s and len(alone) > 5)
        cable.pull()
        await until("it is alone", lambda: cut.rate.is_alone)
        before, share = len(alone), per_s // 4
        assert cut.pacer.status().rate_per_s == share
        await until("its share is used", lambda: len(alone) > before + 2 * share, within_s=30.0)
        cable.put_in()
        await until("it is back", lambda: not cut.rate.is_alone)
        await asyncio.sleep(1.5)
    assert has_said_each_loss(cut)
    assert most_in_a_second(made + alone) <= per_s + 2  # the others keep their part plus one, and so does it


@pytest.mark.kills_broker
async def test_redis_that_forgot_what_workers_hold_is_taken_for_lost(
    url: str, tenant: str, redis_server: Server
) -> None:
    async with pacers(url, tenant, RatePlan(8, adaptive=True), 4) as fleet:
        made = call_all(fleet)
        await until("all have told of calls", lambda: len(made) > 12)
        with redis.Redis(port=redis_server.port) as client:
            client.flushall()
        await until("all have come back", lambda: all(has_said_each_loss(worker) for worker in fleet))
        back_at = time.monotonic()
        await until("it goes on", lambda: made[-1] > back_at)
    assert most_in_a_second(made) <= 9


async def test_redis_that_is_not_there_at_the_start_leaves_each_its_share(tenant: str) -> None:
    async with pacers("redis://127.0.0.1:1/0", tenant, RatePlan(40, adaptive=True), 2, workers=4) as fleet:
        made = call_all(fleet)
        await until("both are alone", lambda: all(worker.rate.is_alone for worker in fleet))
        await until("shares are used", lambda: len(made) >= 40, within_s=30.0)
        assert [worker.pacer.status().rate_per_s for worker in fleet] == [10.0, 10.0]
    assert most_in_a_second(made) <= 22


@pytest.mark.kills_broker
async def test_a_redis_that_answers_and_cannot_keep_the_rate_is_none_to_begin_with(
    url: str, tenant: str, redis_server: Server
) -> None:
    sharing = Sharing(QueueAddress.parse(url), None, None)
    with redis.Redis(port=redis_server.port) as client:
        client.config_set(
            "min-replicas-to-write", 1
        )  # a full one is no such: the rate's scripts run there, too
        try:
            with pytest.raises(BrokerError, match=r"Redis cannot be used .* With --workers N"):
                async with keep_together(sharing, steering(rate=parse_rate("40/s")), tenant, "work", "w"):
                    pytest.fail("it began at the whole rate")
        finally:
            client.config_set("min-replicas-to-write", 0)
    async with keep_together(sharing, steering(rate=parse_rate("40/s")), tenant, "work", "w") as together:
        assert together.pacer.status().rate_per_s == 40.0


async def test_to_find_out_by_itself_a_worker_alone_begins_low_and_stays_there(tenant: str) -> None:
    async with pacers("redis://127.0.0.1:1/0", tenant, AUTO, 1, workers=2) as [worker]:
        made = call_all([worker])
        await until("its share is used", lambda: len(made) >= 10, within_s=30.0)
        assert worker.pacer.status().rate_per_s == 5.0
    assert most_in_a_second(made) <= 6
