"""The real commands on a real broker, against a sandbox in its own process."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import pytest
from brokers.fleet import ROWS, Fleet, every_row_once
from brokers.servers import OWN, Server
from fault.conftest import SECRET, wait_until

from worker.brokers import QueueAddress
from worker.model import Depth
from worker.ports import WorkQueue
from worker.queueing.messages import MOST_BYTES


def test_a_batch_goes_through(fleet: Fleet) -> None:
    rows = fleet.batch()
    code, out, err = fleet.call("work", "--until-empty", "--rate", "2000/s", "--json")
    assert code == 0, err
    told = json.loads(out)["outcomes"]
    assert sum(told.values()) == ROWS
    every_row_once(fleet, rows)


def test_published_twice_is_called_once_where_rows_are_remembered(fleet: Fleet, broker: Server) -> None:
    rows = fleet.batch()
    assert fleet.work("--until-empty").wait(60) == 0
    before = fleet.calls()
    fleet.batch()
    assert fleet.work("--until-empty").wait(60) == 0
    times = 1 if broker.remembers_rows else 2
    assert fleet.calls() == {pair: times * count for pair, count in before.items()}
    every_row_once(fleet, rows)


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_receipt_tells_of_invalid_rows_as_a_plan_does(fleet: Fleet) -> None:
    fleet.file(10, "--bad", "2")
    code, out, _ = fleet.call("enqueue", "batch.csv", "--json")
    told = json.loads(out)
    planned = json.loads(fleet.call("plan", "batch.csv", "--json")[1])
    assert (code, told["invalid"], len(told["first_invalid"])) == (1, 2, 2)
    assert told["first_invalid"] == planned["first_invalid"]


def test_a_killed_workers_rows_are_done_by_another(fleet: Fleet) -> None:
    rows = fleet.batch()
    victim = fleet.work("--until-empty", "--rate", "100/s")
    others = [fleet.work("--until-empty", "--rate", "100/s")]
    fleet.wait_for_calls(100)
    victim.send_signal(signal.SIGKILL)
    others.append(fleet.work("--until-empty", "--rate", "100/s"))
    assert [other.wait(60) for other in others] == [0, 0]
    every_row_once(fleet, rows)
    again = fleet.calls().total() - ROWS
    unfinished = 0 if fleet.server.remembers_rows else 32 * 7  # each row in flight is of a message of seven
    assert 0 <= again <= 32 + 100 * 0.2 + unfinished, "more was called again than was in flight"


def test_sigterm_gives_back_what_is_not_done_and_records_what_is(fleet: Fleet) -> None:
    fleet.batch()
    worker = fleet.work("--rate", "50/s")
    fleet.wait_for_calls(20)
    worker.terminate()
    assert worker.wait(10) == 0
    assert fleet.depth().taken == 0
    assert len(fleet.results()) == fleet.calls().total()


def done_by(fleet: Fleet) -> set[str]:
    """Return the users whose request was carried out."""
    return {each["user_id"] for each in fleet.tenant.requests() if each["acted"]}


def test_a_wrong_key_fails_nothing_and_is_read_again(fleet: Fleet) -> None:
    rows = fleet.batch()
    fleet.key_file.write_text("a-key-that-is-wrong")
    worker = fleet.work("--probe-every", "1s", "--concurrency", "4")
    fleet.wait_for_calls(6)  # more than were in flight when it was refused: it has tried again
    assert fleet.results() == []
    fleet.key_file.write_text(SECRET)
    wait_until(lambda: len(done_by(fleet)) == ROWS and fleet.depth() == Depth(0, 0))
    worker.terminate()
    out, err = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert "the tenant answered 401" in err
    told = {outcome: count for outcome, count in json.loads(out)["outcomes"].items() if count}
    # The probe gives the rest of its message back, and its own row comes again where the broker remembers none.
    assert told == {"succeeded": ROWS if fleet.server.remembers_rows else fleet.tenant.record()["acted"]}
    assert "Traceback" not in err
    every_row_once(fleet, rows)


def publish_people(fleet: Fleet, *kinds: int) -> None:
    """Publish so many users that are there, then so many that are not, and so on; a message each."""

    async def publish(queue: WorkQueue) -> None:
        there, pairs = iter(fleet.file(sum(kinds[::2]))), []
        for number, count in enumerate(kinds):
            gone = [(f"nobody-{number}-{index}", "mail-1") for index in range(count)]
            pairs += gone if number % 2 else [next(there) for _ in range(count)]
        rows = [{"user_id": user, "identifier_id": mail} for user, mail in pairs]
        await queue.publish([json.dumps(row).encode() for row in rows])

    asyncio.run(fleet.ask(publish))


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_halt_by_failures_after_successes_does_not_hold_a_row_for_ever(fleet: Fleet) -> None:
    """What fails after it proves nothing of the tenant: the rows before were done."""
    publish_people(fleet, 30, 30)
    worker = fleet.work("--concurrency", "1", "--probe-every", "1s")
    wait_until(lambda: fleet.depth() == Depth(0, 0))
    worker.terminate()
    out, err = worker.communicate(timeout=60)
    assert "more than the 20% that --max-failures allows: 20 × 404 http_404" in err
    outcomes = json.loads(out)["outcomes"]
    assert (outcomes["succeeded"], outcomes["not_found"]) == (30, 30)


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
@pytest.mark.parametrize(
    ("kinds", "flags", "code", "said"),
    [
        ((10, 3), (), 1, "Done: 10 succeeded, 3 not_found."),
        ((10, 3), ("--accept", "not_found"), 0, "Done: 10 succeeded, 3 not_found."),
        ((0, 30), (), 3, "Halted: 20 answers in a row were 404, and none succeeded: 20 × 404 http_404"),
        ((30, 30), (), 3, "Halted: 20 of 50 rows failed in this session, more than the 20%"),
    ],
)
def test_until_empty_exits_as_a_run_does(
    fleet: Fleet, kinds: tuple[int, ...], flags: tuple[str, ...], code: int, said: str
) -> None:
    publish_people(fleet, *kinds)
    worker = fleet.work("--until-empty", "--concurrency", "1", *flags)
    out, err = worker.communicate(timeout=60)
    assert (worker.returncode, json.loads(out)["exit_code"]) == (code, code), err
    assert said in err
    assert "report.csv" not in err
    if code == 3:
        assert json.loads(out)["halt_reason"] in err
        assert fleet.depth().waiting > 0, "what was not done stays in the queue"
    else:
        assert fleet.depth() == Depth(0, 0)


def test_poison_is_listed_and_sent_again(fleet: Fleet) -> None:
    async def publish(queue: WorkQueue) -> None:
        await queue.publish([b"{nonsense", b'{"user_id": "a/../b"}'])

    asyncio.run(fleet.ask(publish))
    for _ in range(2):
        worker = fleet.work("--until-empty")
        _, err = worker.communicate(timeout=60)
        assert worker.returncode == 1
        assert "Buried: 2 messages that nobody can work on. `bulk-unverify dead-letters` says why." in err
        code, out, _ = fleet.call("dead-letters", "--json")
        letters = json.loads(out)["dead_letters"]
        reasons = {letter["body"]: letter["reason"] for letter in letters}
        assert (code, len(letters), set(reasons)) == (0, 2, {"{nonsense", '{"user_id": "a/../b"}'})
        assert "Invalid JSON" in reasons["{nonsense"]
        assert fleet.call("dead-letters", "--requeue")[0] == 0
        assert fleet.depth() == Depth(waiting=2, taken=0)
        assert json.loads(fleet.call("dead-letters", "--json")[1])["dead_letters"] == []


@pytest.mark.parametrize("broker", [name for name, kind in OWN.items() if kind.takes_large], indirect=True)
def test_a_letter_without_all_of_its_message_is_not_sent_again(fleet: Fleet) -> None:
    async def publish(queue: WorkQueue) -> None:
        await queue.publish([b"\xff", b"{nonsense", b" " * (MOST_BYTES + 1)])

    asyncio.run(fleet.ask(publish))
    assert fleet.work("--until-empty").wait(60) == 1
    code, out, _ = fleet.call("dead-letters", "--requeue", "--json")
    told = json.loads(out)
    assert (code, told["requeued"]) == (0, 1)
    assert [letter["whole"] for letter in told["dead_letters"]] == [False, True, False]
    assert fleet.depth() == Depth(waiting=1, taken=0)
    letters = json.loads(fleet.call("dead-letters", "--json")[1])["dead_letters"]
    assert [letter["whole"] for letter in letters] == [False, False]


@pytest.mark.kills_broker
def test_a_broker_that_restarts_loses_nothing(fleet: Fleet, broker: Server) -> None:
    rows = fleet.batch()
    worker = fleet.work("--until-empty", "--rate", "100/s")
    fleet.wait_for_calls(50)
    broker.kill()
    time.sleep(0.5)  # it is away for this long
    broker.start()
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err
    assert ("broker_lost" in err and "broker_back" in err) or broker.is_tried_twice
    every_row_once(fleet, rows)


@pytest.mark.kills_broker
@pytest.mark.parametrize("broker", ["redis"], indirect=True)  # the desk's suite has it on each broker
def test_a_worker_that_could_not_record_says_so_with_its_exit_code(fleet: Fleet, broker: Server) -> None:
    fleet.batch()
    worker = fleet.work("--rate", "100/s")
    fleet.wait_for_calls(20)
    try:
        broker.kill()
        fleet.wait_for_calls(fleet.tenant.record()["requests"] + 1)  # made after the last that it can record
        worker.terminate()
        _, err = worker.communicate(timeout=60)
        assert worker.returncode == 3, err
        assert "Not recorded: " in err
    finally:
        broker.start()


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_an_operation_that_does_not_exist_is_refused(fleet: Fleet) -> None:
    fleet.file(7)
    for words in (("work", "--until-empty"), ("enqueue", "batch.csv")):
        code, _, err = fleet.call(*words, "--operation", "unverify-mail")
        assert code == 2
        assert err.startswith(
            "bulk-unverify: There is no operation 'unverify-mail'; there are unverify-email"
        )
    assert fleet.depth() == Depth(0, 0)


NOBODY = {
    "redis": ("redis://127.0.0.1:1/0", "Redis"),
    "rabbitmq": ("amqp://127.0.0.1:1/q", "RabbitMQ"),
    "nats": ("nats://127.0.0.1:1/q", "NATS"),
    "sqs": ("sqs://127.0.0.1:1/q?region=eu-west-1&insecure=1", "SQS"),
}


def test_no_broker_is_said_in_a_sentence(fleet: Fleet, broker: Server) -> None:
    url, name = NOBODY[broker.name]
    code, _, err = fleet.call("work", "--queue", url, "--until-empty")
    assert code == 3
    assert err.startswith(f"bulk-unverify: {name} cannot be used")
    assert f"The queue is {QueueAddress.parse(url)}. Once it can be used, run the same command again." in err
    assert err.count("\n") == 1


@pytest.mark.kills_broker
def test_a_standing_worker_waits_for_its_broker(fleet: Fleet, broker: Server) -> None:
    rows = fleet.batch(20)
    broker.kill()
    try:
        worker = fleet.work()
        assert worker.stderr is not None
        assert "Trying again until it can." in worker.stderr.readline()
    finally:
        broker.start()
    fleet.wait_for_calls(20)
    worker.terminate()
    assert worker.wait(20) == 0
    every_row_once(fleet, rows)


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_password_in_an_argument_is_refused(fleet: Fleet) -> None:
    for url in ("redis://:hunter22@127.0.0.1:1/0", "nats://hunter22@127.0.0.1:1/q"):
        code, _, err = fleet.call("work", "--queue", url)
        assert code == 2
        assert "BULK_UNVERIFY_QUEUE" in err
        assert "hunter22" not in err


def test_what_somebody_else_put_among_the_dead_letters_hides_no_other(fleet: Fleet) -> None:
    message = b'{"user_id": "u-1", "identifier_id": "i-1"}'

    async def put(queue: WorkQueue) -> None:
        await queue.dead.publish([message, b'{"reason": 1}'])
        await queue.publish([b"{nonsense"])

    asyncio.run(fleet.ask(put))
    assert fleet.work("--until-empty").wait(60) == 1
    code, out, err = fleet.call("dead-letters", "--json")
    assert code == 0, err
    letters = {letter["body"]: letter["reason"] for letter in json.loads(out)["dead_letters"]}
    assert letters.keys() == {message.decode(), '{"reason": 1}', "{nonsense"}
    assert "no letter of bulk-unverify" in letters[message.decode()]
    assert fleet.call("dead-letters", "--requeue")[0] == 0
    assert fleet.depth() == Depth(waiting=3, taken=0)


def test_who_is_stopped_before_the_queue_is_empty_does_not_say_that_it_is(fleet: Fleet) -> None:
    fleet.batch()
    worker = fleet.work("--until-empty", "--rate", "20/s")
    fleet.wait_for_calls(20)
    worker.terminate()
    assert worker.wait(20) == 130
