"""A RabbitMQ as it is found: its users, hosts, queues and alarms are told of in its own words."""

from __future__ import annotations

import contextlib
import secrets

import pytest
from brokers.queues import OpenQueue, bodies, take
from brokers.servers import RabbitServer

from worker.brokers import QueueAddress, open_queue
from worker.errors import BrokerError
from worker.ports import WorkQueue

pytestmark = pytest.mark.kills_broker


@pytest.fixture
def broker(rabbitmq_server: RabbitServer) -> RabbitServer:
    return rabbitmq_server


@pytest.fixture(scope="module")
def user(rabbitmq_server: RabbitServer) -> str:
    """The login of a user who may write and read and not configure, in `/` alone."""
    name = f"user-{secrets.token_hex(3)}"
    rabbitmq_server.control("add_user", name, "hunter22")
    rabbitmq_server.control("set_permissions", "-p", "/", name, "^$", ".*", ".*")
    return f"{name}:hunter22"


def opened(url: str) -> contextlib.aclosing[WorkQueue]:
    return contextlib.aclosing(open_queue(QueueAddress.parse(url), "worker"))


async def refusal(url: str) -> str:
    """Return why a queue there takes no message."""
    async with opened(url) as queue:
        with pytest.raises(BrokerError) as caught:
            await queue.publish([b"row"])
    assert "hunter22" not in str(caught.value)
    return str(caught.value)


async def test_a_virtual_host_that_is_missing_is_named_as_the_trouble(broker: RabbitServer) -> None:
    assert "its virtual host is not there" in await refusal(broker.url("no-such-host/q"))


async def test_a_login_that_is_refused_is_said_in_the_brokers_words(broker: RabbitServer) -> None:
    url = broker.url("q").replace("guest:guest", "guest:hunter22")
    assert "ACCESS_REFUSED - Login was refused" in await refusal(url)


async def test_tls_where_there_is_none_is_said(broker: RabbitServer) -> None:
    assert "there seems to be none at that port" in await refusal(broker.url("q").replace("amqp:", "amqps:"))


async def test_who_may_not_configure_uses_queues_that_are_there(
    queue_of: OpenQueue, queue_url: str, user: str
) -> None:
    theirs = queue_url.replace("guest:guest", user)
    assert "NOT_FOUND - no queue" in await refusal(theirs)
    made = queue_of("admin")
    for queue in (made, made.results(), made.dead):
        await queue.depth()
    async with opened(theirs) as queue:
        await queue.publish([b"row", b"poison"])
        first, second = await take(queue, 2)
        await queue.results().publish([b"outcome"])
        await queue.acknowledge([first])
        await queue.bury(second, b"letter")
        assert (await queue.depth()).waiting == 0
    assert await bodies(made.results()) == [b"outcome"]
    assert await bodies(made.dead) == [b"letter"]


async def test_an_alarm_is_told_with_its_reason(
    queue_url: str, broker: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.brokers.rabbitmq._TIMEOUT_S", 1.5)
    async with opened(queue_url) as queue:
        await queue.publish([b"before"])
        broker.control("set_vm_memory_high_watermark", "absolute", "1")
        try:
            with pytest.raises(BrokerError, match="it takes no messages for now: low on memory"):
                await queue.publish([b"meanwhile"])
        finally:
            broker.control("set_vm_memory_high_watermark", "0.4")
        await queue.publish([b"after"])
