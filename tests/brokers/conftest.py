"""A real broker for the suites, and queues on it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from brokers.fleet import Fleet
from brokers.queues import OpenQueue
from brokers.servers import Broker, RabbitServer, RedisServer
from fault.conftest import Tenant

from worker.brokers import QueueAddress, open_queue
from worker.ports import WorkQueue

LEASE_S = 0.4


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    server = RabbitServer(tmp_path_factory.mktemp("rabbitmq"))
    yield server
    server.close()


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn; a module about what one of them alone promises overrides it."""
    server: Broker = request.getfixturevalue(f"{request.param}_server")
    return server


_numbers = itertools.count()


@pytest.fixture
def queue_url(broker: Broker) -> str:
    return broker.url(f"work-{next(_numbers)}")


@pytest.fixture
async def queue_of(queue_url: str) -> AsyncIterator[OpenQueue]:
    """Opens the test's queue as the consumer that is named."""
    address = QueueAddress.parse(queue_url)
    async with contextlib.AsyncExitStack() as opened:

        def open_as(consumer: str) -> WorkQueue:
            queue = open_queue(address, consumer, lease_s=LEASE_S)
            opened.push_async_callback(queue.aclose)
            return queue

        yield open_as


@pytest.fixture(scope="module")
def running_tenant() -> Iterator[Tenant]:
    tenant = Tenant()
    yield tenant
    tenant.close()


@pytest.fixture
def fleet(tmp_path: Path, redis_server: RedisServer, running_tenant: Tenant) -> Iterator[Fleet]:
    running_tenant.trouble()
    with redis.Redis(port=redis_server.port) as client:
        client.flushall()  # what an earlier test's fleet found of the tenant's limit
    fleet = Fleet(tmp_path, redis_server, running_tenant)
    yield fleet
    fleet.close()
