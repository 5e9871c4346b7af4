"""A standing worker as a monitoring system sees it, while things go wrong around it."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from brokers.fleet import ROWS, Fleet, every_row_once
from brokers.outside import Outside, wait_until
from brokers.servers import OWN, Server
from fault.conftest import SECRET

from worker.model import Depth
from worker.ports import WorkQueue

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(params=["redis"])
def broker(request: pytest.FixtureRequest) -> Server:
    """Redis, but where a test names another."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def outside() -> Outside:
    return Outside()


def test_the_metrics_are_the_sandboxs_own_record(fleet: Fleet, outside: Outside) -> None:
    rows = fleet.batch()
    fleet.tenant.trouble(server_error=0.08, server_error_statuses=[503])
    publish(fleet, b"{nonsense")
    worker = fleet.work(*outside.flags)
    outside.wait_until_ready()
    wait_until(lambda: outside.rows() == ROWS)
    wait_until(lambda: outside.queue() == (0, 0))
    told = outside.metrics()
    record = fleet.tenant.record()
    assert {name[1]: count for name, count in told.items() if name[0] == "calls_total"} == record["by_status"]
    assert told["calls_total", "503"] > 0
    held_up = told["wait_seconds_count", "server"] - record["requests"]  # the connection came late: not sent
    assert held_up >= 0
    assert told["wait_seconds_count", "limiter"] >= record["requests"] + held_up
    assert told["messages_buried_total",] == 1
    assert told["calls_in_flight",] == 0
    assert 0 < told["rate_per_second",] <= 400
    worker.terminate()
    assert worker.wait(10) == 0
    every_row_once(fleet, rows)


def test_a_wrong_key_turns_a_worker_unready_until_there_is_another(fleet: Fleet, outside: Outside) -> None:
    rows = fleet.batch()
    wrong = "a-key-that-is-wrong"
    fleet.key_file.write_text(wrong)
    worker = fleet.work(*outside.flags, "--probe-every", "1s", "--concurrency", "4")
    outside.wait_for_reason("Halted: the tenant answered 401")
    assert wrong not in outside.ask("/readyz")[1] + outside.ask("/metrics")[1]
    assert outside.metrics()["ready",] == 0
    assert outside.metrics()["calls_total", "401"] == fleet.tenant.record()["requests"]
    wait_until(lambda: outside.metrics()["messages_given_back_total",] > 0)
    fleet.key_file.unlink()
    outside.wait_for_reason("which does not exist")
    fleet.key_file.touch(0o600)
    fleet.key_file.write_text(SECRET)
    outside.wait_until_ready()
    wait_until(lambda: outside.metrics()["rows_total", "succeeded"] == ROWS)
    worker.terminate()
    assert worker.wait(10) == 0
    every_row_once(fleet, rows)


def test_a_wrong_tenant_fails_nothing_however_often_it_is_tried(fleet: Fleet, outside: Outside) -> None:
    for number in range(30):
        publish(fleet, json.dumps({"user_id": f"nobody-{number}", "identifier_id": "mail-1"}).encode())
    worker = fleet.work(*outside.flags, "--probe-every", "1s", "--concurrency", "4")
    outside.wait_for_reason("Halted: 20 answers in a row were 404")
    wait_until(lambda: outside.metrics()["calls_in_flight",] == 0)
    calls = fleet.tenant.record()["requests"]
    fleet.wait_for_calls(calls + 3)
    assert outside.readiness()[0] == 503
    worker.terminate()
    assert worker.wait(10) == 0
    assert fleet.tenant.record()["requests"] <= calls + 5, "it was to try one row at a time"
    assert fleet.results() == []
    assert fleet.depth() == Depth(waiting=30, taken=0)


@pytest.mark.kills_broker
@pytest.mark.parametrize("broker", OWN, indirect=True)
def test_a_broker_that_is_lost_turns_a_worker_unready_until_it_is_back(
    fleet: Fleet, outside: Outside, broker: Server
) -> None:
    rows = fleet.batch()
    worker = fleet.work(*outside.flags, "--rate", "100/s")
    fleet.wait_for_calls(20)
    broker.kill()
    try:
        outside.wait_for_reason("cannot be used")
        wait_until(lambda: outside.queue() == (None, None))  # what is not known is not told
    finally:
        broker.start()
    outside.wait_until_ready()
    wait_until(lambda: outside.rows() >= ROWS)
    wait_until(lambda: outside.queue() == (0, 0))
    worker.terminate()
    assert worker.wait(10) == 0
    assert {(each.user_id, each.identifier_id) for each in fleet.results()} == set(rows)


def test_a_worker_that_stops_is_unready_and_seen_until_its_last_call(fleet: Fleet, outside: Outside) -> None:
    fleet.tenant.trouble(slow=1.0, slow_s=5.0)
    fleet.batch(20)
    worker = fleet.work(*outside.flags)
    fleet.wait_for_calls(1)
    worker.send_signal(signal.SIGTERM)
    outside.wait_for_reason("The worker is stopping.")
    assert outside.metrics()["calls_in_flight",] > 0
    assert worker.wait(20) == 0
    assert outside.ask("/healthz") == (0, "")


def test_a_port_in_use_is_a_sentence_and_nothing_is_taken(fleet: Fleet, outside: Outside) -> None:
    fleet.batch(7)
    with ThreadingHTTPServer(("127.0.0.1", outside.port), BaseHTTPRequestHandler):
        code, out, err = fleet.call("work", *outside.flags, "--json")
    assert code == 2
    assert err == f"bulk-unverify: {json.loads(out)['error']}\n"
    assert err.startswith(f"bulk-unverify: --listen 127.0.0.1:{outside.port}: Address already in use.")
    assert fleet.depth().waiting == 1


class Recorder(ThreadingHTTPServer):
    """A tenant, and a collector of spans, that keep what they got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.traceparents: list[str | None] = []
        self.spans: list[bytes] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = b""
        if self.path == "/v1/traces":
            self.server.spans.append(body)
        else:
            self.server.traceparents.append(self.headers["traceparent"])
            answer = b'{"user_id": "user-1", "emails": [{"id": "mail-1", "verified": false}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("traced", [False, True])
def test_the_trace_of_a_message_goes_on_at_the_tenant(fleet: Fleet, recorder: Recorder, traced: bool) -> None:
    fleet.env["MONOCLOUD_MANAGEMENT_DOMAIN"] = recorder.url
    if traced:
        fleet.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = recorder.url
    message = {"user_id": "user-1", "identifier_id": "mail-1", "traceparent": PARENT}
    publish(fleet, json.dumps(message).encode())
    code, _, err = fleet.call("work", "--until-empty")
    assert (code, err) == (0, "Done: 1 succeeded.\n")
    [sent] = recorder.traceparents
    assert sent is not None
    assert sent.startswith(f"00-{TRACE}-")
    assert (sent != PARENT) is traced
    spans = b"".join(recorder.spans)
    assert (bytes.fromhex(TRACE) in spans) is traced
    for secret in (b"user-1", b"mail-1", SECRET.encode()):
        assert secret not in spans


def test_a_collector_that_is_lost_holds_no_call_up(fleet: Fleet, outside: Outside) -> None:
    rows = fleet.batch()
    fleet.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://user:hunter22@127.0.0.1:1"
    _, err = fleet.work("--until-empty", "--rate", "2000/s").communicate(timeout=60)
    assert err.count("spans may be lost") == 1
    assert err.count("\n") == 2, err  # and what was done
    assert "hunter22" not in err
    every_row_once(fleet, rows)


def publish(fleet: Fleet, body: bytes) -> None:
    async def send(queue: WorkQueue) -> None:
        await queue.publish([body])

    asyncio.run(fleet.ask(send))
