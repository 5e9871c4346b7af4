"""A real broker for the suites, and queues on it."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from brokers.fleet import Fleet
from brokers.queues import OpenQueue
from brokers.servers import OWN, RedisServer, Server, SqsServer, given, given_url
from fault.conftest import Tenant

from worker.brokers import QueueAddress, open_queue
from worker.ports import WorkQueue

_RUN = secrets.token_hex(3)
"""In the names of queues, as a broker of the environment keeps those of earlier runs."""


def _server(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = given(name) if given_url(name) else OWN[name](tmp_path_factory.mktemp(name))
    yield server
    server.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _server("redis", tmp_path_factory)


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _server("rabbitmq", tmp_path_factory)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _server("nats", tmp_path_factory)


@pytest.fixture(scope="session")
def sqs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _server("sqs", tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def _aws_login() -> Iterator[None]:
    """Give a login that counts nowhere, and let nobody look for another one at an address of the cloud's."""
    if given_url("sqs"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in SqsServer.login.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(params=list(OWN))
def broker(request: pytest.FixtureRequest) -> Server:
    """Each broker in turn; a module about what one of them alone promises overrides it."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what would end a broker that the environment names; `tests/conftest.py` says so."""
    spared = [item for item in items if item.get_closest_marker("kills_broker") and _uses_given(item)]
    if spared:
        config.hook.pytest_deselected(items=spared)
        items[:] = [item for item in items if item not in spared]


def _uses_given(item: pytest.Item) -> bool:
    chosen = getattr(item, "callspec", None)
    named = chosen.params.get("broker") if chosen else None
    fixtures = getattr(item, "fixturenames", ())
    return any(given_url(name) and (name == named or f"{name}_server" in fixtures) for name in OWN)


_numbers = itertools.count()


@pytest.fixture
def queue_url(broker: Server) -> str:
    return broker.url(f"work-{_RUN}-{next(_numbers)}")


@pytest.fixture
async def queue_of(queue_url: str, broker: Server) -> AsyncIterator[OpenQueue]:
    """Opens the test's queue as the consumer that is named."""
    address = QueueAddress.parse(queue_url)
    async with contextlib.AsyncExitStack() as opened:

        def open_as(consumer: str) -> WorkQueue:
            queue = open_queue(address, consumer, lease_s=broker.lease_s)
            opened.push_async_callback(queue.aclose)
            return queue

        yield open_as


@pytest.fixture(scope="module")
def running_tenant() -> Iterator[Tenant]:
    tenant = Tenant()
    yield tenant
    tenant.close()


@pytest.fixture
def fleet(tmp_path: Path, broker: Server, running_tenant: Tenant) -> Iterator[Fleet]:
    """Workers on each broker in turn; a module about one of them overrides `broker`."""
    running_tenant.trouble()
    if isinstance(
        broker, RedisServer
    ):  # an earlier test's fleet may have found a limit of the tenant's there
        with broker.client() as client:
            for key in client.scan_iter(match=f"bulk-unverify:{{{urlsplit(running_tenant.url).netloc}}}:*"):
                client.delete(key)
    fleet = Fleet(tmp_path, broker, running_tenant)
    yield fleet
    fleet.close()
