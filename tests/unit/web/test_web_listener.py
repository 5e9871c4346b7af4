"""The listener over real HTTP: statuses, bodies and content types, and where it can listen."""

from __future__ import annotations

import dataclasses
import math
import socket

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from worker.errors import ConfigurationError, UsageError
from worker.model import Depth, Outcome
from worker.web import ListenAddress, Meter, Moment, listening
from worker.web.meter import Wait

ANYWHERE = ListenAddress("127.0.0.1", 0)


def a_moment(**values: object) -> Moment:
    meter = Meter()
    meter.calls.update({200: 5, 503: 2, "timeout": 1})
    meter.waits[Wait.LIMITER].add(1.5)
    moment = Moment(
        rows={Outcome.SUCCEEDED: 4, Outcome.NOT_FOUND: 1},
        unrecorded=6,
        buried=2,
        given_back=3,
        meter=meter,
        in_flight=7,
        rate_per_s=12.5,
        depth=Depth(waiting=90, taken=8),
        trouble="",
    )
    return dataclasses.replace(moment, **values)  # type: ignore[arg-type]


async def ask(address: ListenAddress, path: str, method: str = "GET") -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{address}{path}") as answer,
    ):
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def samples(moment: Moment) -> dict[tuple[str, ...], float]:
    """Return what /metrics says, by name and label values."""
    async with listening(ANYWHERE, lambda: moment) as address:
        status, content_type, text = await ask(address, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        (sample.name.removeprefix("bulk_unverify_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_metrics_say_what_the_moment_holds() -> None:
    told = await samples(a_moment())
    assert told == {
        ("rows_total", "succeeded"): 4,
        ("rows_total", "unconfirmed"): 0,
        ("rows_total", "not_found"): 1,
        ("rows_total", "refused"): 0,
        ("rows_total", "exhausted"): 0,
        ("rows_total", "excluded"): 0,
        ("rows_not_recorded_total",): 6,
        ("calls_total", "200"): 5,
        ("calls_total", "503"): 2,
        ("calls_total", "timeout"): 1,
        ("messages_buried_total",): 2,
        ("messages_given_back_total",): 3,
        ("wait_seconds_count", "limiter"): 1,
        ("wait_seconds_sum", "limiter"): 1.5,
        ("wait_seconds_count", "server"): 0,
        ("wait_seconds_sum", "server"): 0,
        ("calls_in_flight",): 7,
        ("rate_per_second",): 12.5,
        ("ready",): 1,
        ("queue_messages", "waiting"): 90,
        ("queue_messages", "taken"): 8,
    }


async def test_what_is_not_known_is_not_told_and_no_limit_is_infinite() -> None:
    told = await samples(a_moment(depth=None, rate_per_s=None, trouble="Redis cannot be used."))
    assert not [name for name in told if name[0] == "queue_messages"]
    assert told["rate_per_second",] == math.inf
    assert told["ready",] == 0


@pytest.mark.parametrize(("trouble", "status"), [("", 200), ("Halted: the tenant answered 401.", 503)])
async def test_readiness_says_why_and_health_does_not_depend_on_it(trouble: str, status: int) -> None:
    async with listening(ANYWHERE, lambda: a_moment(trouble=trouble)) as address:
        told, content_type, body = await ask(address, "/readyz")
        assert (told, content_type) == (status, "application/json; charset=utf-8")
        assert body == f'{{"ready": {"false" if trouble else "true"}, "reason": "{trouble}"}}'
        assert (await ask(address, "/healthz"))[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/readyz", "POST", 405), ("/metrics", "DELETE", 405)]
)
async def test_there_is_nothing_else_to_ask_for(path: str, method: str, status: int) -> None:
    async with listening(ANYWHERE, a_moment) as address:
        assert (await ask(address, path, method))[0] == status


async def test_a_port_in_use_is_said_in_a_sentence() -> None:
    async with listening(ANYWHERE, a_moment) as address:
        with pytest.raises(
            ConfigurationError, match=rf"--listen 127\.0\.0\.1:{address.port}: Address already"
        ):
            async with listening(address, a_moment):
                pass
        assert (await ask(address, "/healthz"))[0] == 200  # the other one is none the worse
    with socket.create_server(("127.0.0.1", address.port)):
        pass  # and the port is free again


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1:9464", "127.0.0.1:9464"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("[::1]:80", "[::1]:80"),
        (" ::1:80 ", "[::1]:80"),
    ],
)
def test_an_address_is_read_and_shown(text: str, shown: str) -> None:
    assert str(ListenAddress.parse(text)) == shown


@pytest.mark.parametrize(
    "text", ["", "9464", ":9464", "localhost:9464", "127.0.0.1", "127.0.0.1:99999", "1.2.3:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"write 127\.0\.0\.1:9464"):
        ListenAddress.parse(text)
