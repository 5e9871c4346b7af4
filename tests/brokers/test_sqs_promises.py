"""What Amazon SQS does its own way: batches, sizes, text alone, whole seconds, approximate counts, AWS's login."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiobotocore.session import get_session
from brokers.queues import OpenQueue, bodies, results_in, settled, take
from brokers.servers import SqsServer
from brokers.test_desk import desk_on

from worker.brokers import QueueAddress, open_queue, sqs
from worker.brokers.sqs_messages import MOST_BYTES
from worker.errors import BrokerError, UsageError
from worker.model import Depth
from worker.queueing import decode_letter


@pytest.fixture
def broker(sqs_server: SqsServer) -> SqsServer:
    return sqs_server


@pytest.fixture
async def client(broker: SqsServer) -> AsyncIterator[Any]:
    """Another one's look at the broker."""
    endpoint = f"http://127.0.0.1:{broker.port}"
    async with get_session().create_client("sqs", region_name="eu-west-1", endpoint_url=endpoint) as client:
        yield client


@pytest.fixture
async def own_url(client: Any, queue_of: OpenQueue, queue_url: str) -> str:
    """The test's queue, as SQS names it, once it is there."""
    await queue_of("maker").depth()
    found = await client.get_queue_url(QueueName=QueueAddress.parse(queue_url).name)
    url: str = found["QueueUrl"]
    return url


async def test_more_than_one_batch_is_sent_and_taken_and_removed(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    sent = {b"%d" % number for number in range(87)}
    await queue.publish(sorted(sent))
    taken = list(await queue.receive(87, 1.0))
    assert len(taken) == 80, "a receive asks for eight batches at most"
    taken += await take(queue, 7)
    assert {each.body for each in taken} == sent
    await queue.extend(taken)
    await queue.acknowledge(taken)
    assert await queue.depth() == Depth(0, 0)


async def test_what_was_taken_is_not_given_up_when_more_cannot_be_had(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue: Any = queue_of("worker")
    await queue.publish([b"%d" % number for number in range(30)])
    asked, take_some = [], queue._work._take

    async def fail_later(limit: int, wait_s: int) -> list[Any]:
        asked.append(limit)
        if len(asked) == 2:
            raise BrokerError("throttled")
        taken: list[Any] = await take_some(limit, wait_s)
        return taken

    monkeypatch.setattr(queue._work, "_take", fail_later)
    assert len(await queue.receive(30, 1.0)) == 20
    assert asked == [10, 10, 10]


async def test_a_batch_has_no_more_bytes_than_are_taken(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    large = [bytes([letter]) * MOST_BYTES for letter in b"abc"]
    await queue.publish(large)
    taken = await take(queue, 3)
    assert sorted(each.body for each in taken) == large
    await queue.give_back(taken)  # with its name and its tries
    assert [each.times for each in await take(queue, 3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"1" * (256 * 1024 + 1), "262,145 bytes cannot be sent: SQS takes 262,144"), (b"\xff", "UTF-8 alone")],
)
async def test_what_sqs_does_not_take_is_said_in_a_sentence(
    queue_of: OpenQueue, body: bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await queue_of("worker").publish([body])


async def test_characters_that_sqs_does_not_take_travel_in_their_escaped_form(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([json.dumps({"reason": "\uffff\U0001f600"}, ensure_ascii=False).encode()])
    [delivery] = await take(queue, 1)
    assert delivery.body == '{"reason": "\\uffff\U0001f600"}'.encode()


async def test_a_dead_letter_of_a_message_that_just_fits_fits_as_well(
    queue_of: OpenQueue, client: Any, own_url: str
) -> None:
    queue = queue_of("worker")
    await client.send_message(
        QueueUrl=own_url, MessageBody='"' * 256 * 1024
    )  # each is two characters in JSON
    async with desk_on(queue) as desk:
        assert await desk.claim(1) == []
    [letter] = [decode_letter(body) for body in await bodies(queue.dead)]
    assert not letter.whole
    assert set(letter.body) == {'"'}


async def test_attributes_outlive_giving_back_and_too_many_only_cost_a_try(
    queue_of: OpenQueue, client: Any, own_url: str
) -> None:
    queue = queue_of("worker")
    for count in (8, 9):
        marks = {f"a{number}": {"DataType": "String", "StringValue": "v"} for number in range(count)}
        await client.send_message(QueueUrl=own_url, MessageBody="1", MessageAttributes=marks)
        await queue.give_back(await take(queue, 1))
        assert await queue.depth() == Depth(waiting=1, taken=0)
        [again] = await take(queue, 1)
        assert again.times == (1 if count == 8 else 2)
        assert isinstance(again.receipt, sqs.Lease)
        assert set(again.receipt.kept) == set(marks)
        await queue.acknowledge([again])


async def test_a_lease_that_has_lapsed_is_neither_begun_anew_nor_used(
    queue_of: OpenQueue, queue_url: str
) -> None:
    stale = queue_of("stale")
    await stale.publish([b"1"])
    held = await take(stale, 1)
    async with contextlib.aclosing(open_queue(QueueAddress.parse(queue_url), "second")) as second:
        [other] = await take(second, 1)
        await stale.extend(held)
        await stale.acknowledge(held)  # SQS would take it
        await stale.give_back(held)
        assert await second.depth() == Depth(waiting=0, taken=1)
        await second.acknowledge([other])
        assert await second.depth() == Depth(0, 0)


async def test_no_lease_is_extended_beyond_twelve_hours(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue: Any = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    asked: list[int] = []
    change = queue._work._change

    async def note(leases: list[sqs.Lease], seconds: int) -> list[sqs.Lease]:
        asked.append(len(leases))
        done: list[sqs.Lease] = await change(leases, seconds)
        return done

    monkeypatch.setattr(queue._work, "_change", note)
    await queue.extend([delivery])
    delivery.receipt.taken_at -= 12 * 3600 - 2
    await queue.extend([delivery])
    assert asked == [1, 0]


@pytest.mark.parametrize("is_ours", [True, False])
async def test_what_a_batch_did_not_do_is_seen(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch, is_ours: bool
) -> None:
    queue: Any = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    client = await queue._work._line.client()
    failed = {"Failed": [{"Id": "0", "Code": "Trouble", "SenderFault": is_ours}]}

    async def fail(**_: object) -> dict[str, Any]:
        return failed

    for request in ("send_message_batch", "delete_message_batch", "change_message_visibility_batch"):
        monkeypatch.setattr(client, request, fail)
    with pytest.raises(BrokerError, match=r"did not take 1 messages \(Trouble\)"):
        await queue.publish([b"2"])
    if is_ours:
        ended = delivery.receipt.ends_at
        await queue.extend([delivery])
        assert delivery.receipt.ends_at == ended, "a lease that is stale is not ours for any longer"
        return
    for ask in (queue.extend, queue.acknowledge):
        with pytest.raises(BrokerError, match=r"cannot be used \(Trouble\)"):
            await ask([delivery])


async def test_what_a_batch_left_out_is_sent_again_alone(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue: Any = queue_of("worker")
    await queue.depth()
    client = await queue._work._line.client()
    send, sent = client.send_message_batch, []

    async def leave_out(*, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - AWS's names
        sent.append(len(Entries))
        out = [{"Id": each["Id"], "Code": "InternalError", "SenderFault": False} for each in Entries[1::2]]
        await send(QueueUrl=QueueUrl, Entries=Entries[::2])
        return {"Failed": out}

    monkeypatch.setattr(client, "send_message_batch", leave_out)
    await queue.publish([b"1", b"2", b"3", b"4"])
    assert sent == [4, 2, 1]
    assert sorted(await bodies(queue)) == [b"1", b"2", b"3", b"4"]


async def test_counts_that_come_late_are_waited_for(
    queue_of: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue: Any = queue_of("worker")
    await queue.publish([b"1"])
    looks, look = [], queue._work._look

    async def see_nothing_at_first() -> Depth:
        looks.append(1)
        seen: Depth = await look()
        return seen if len(looks) > 2 else Depth(0, 0)

    monkeypatch.setattr(queue._work, "_look", see_nothing_at_first)
    monkeypatch.setattr(sqs, "_LOOK_AGAIN_S", 0.0)
    assert await queue.depth() == Depth(waiting=1, taken=0)


async def test_queues_are_made_with_the_lease_and_used_as_they_are(
    queue_url: str, client: Any, own_url: str, queue_of: OpenQueue
) -> None:
    async def timeout() -> str:
        told = await client.get_queue_attributes(QueueUrl=own_url, AttributeNames=["VisibilityTimeout"])
        seconds: str = told["Attributes"]["VisibilityTimeout"]
        return seconds

    assert await timeout() == "2"
    async with contextlib.aclosing(open_queue(QueueAddress.parse(queue_url), "w", lease_s=29.1)) as other:
        assert other.lease_s == 30.0
        await other.publish([b"1"])
        await take(other, 1)
    assert await timeout() == "2"
    await asyncio.sleep(2.1)
    assert list(await queue_of("second").receive(1, 0.1)) == [], "the lease is the taker's, not the queue's"


async def test_a_queue_that_is_deleted_is_made_anew(queue_of: OpenQueue, client: Any, own_url: str) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    await client.delete_queue(QueueUrl=own_url)
    with pytest.raises(BrokerError, match=r"NonExistentQueue|QueueDoesNotExist"):
        await queue.publish([b"2"])
    await queue.publish([b"3"])
    assert await bodies(queue) == [b"3"]


async def test_results_for_a_long_name_have_a_queue_that_sqs_takes(broker: SqsServer, client: Any) -> None:
    for name in ("short", "n" * 40):
        async with contextlib.aclosing(open_queue(QueueAddress.parse(broker.url(name)), "w")) as queue:
            for reply_to in ("run-1", "r" * 60):
                await queue.results(reply_to).publish([reply_to.encode()])
                assert await results_in(queue.results(reply_to)) == [reply_to.encode()]
    listed = await client.list_queues(QueueNamePrefix="n" * 40)
    assert len(listed["QueueUrls"]) == 2
    assert all(len(url.rpartition("/")[2]) <= 80 for url in listed["QueueUrls"])


async def test_results_twice_are_there_twice(queue_of: OpenQueue) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    [delivery] = await take(queue, 1)
    for _ in range(2):
        await queue.settle([settled(delivery, 0)])
    assert await results_in(queue.results()) == [b"result 0"] * 2


async def test_no_login_and_no_server_are_said_in_a_sentence(
    queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = "sqs://127.0.0.1:1/q?region=eu-west-1&insecure=1"
    async with contextlib.aclosing(open_queue(QueueAddress.parse(closed), "w")) as queue:
        with pytest.raises(BrokerError, match=r"^SQS cannot be used \(EndpointConnectionError\)\.$"):
            await queue.depth()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    async with contextlib.aclosing(open_queue(QueueAddress.parse(queue_url), "w")) as queue:
        with pytest.raises(BrokerError, match="no AWS credentials were found"):
            await queue.depth()


@pytest.mark.kills_broker
async def test_an_answer_that_does_not_come_is_not_waited_for(
    queue_of: OpenQueue, broker: SqsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_of("worker")
    await queue.publish([b"1"])
    broker.freeze()
    try:
        with monkeypatch.context() as patch:
            patch.setattr("worker.brokers.sqs_line.TIMEOUT_S", 0.3)
            async with asyncio.timeout(5):
                with pytest.raises(BrokerError, match="TimeoutError"):
                    await queue.receive(1, 0.1)
    finally:
        broker.thaw()
    depth = await queue.depth()  # the server may have dealt with it meanwhile
    assert depth.waiting + depth.taken == 1
