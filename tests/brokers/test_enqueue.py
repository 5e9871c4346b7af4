"""A file is published whole, as it was validated, or somebody is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from brokers.queues import OpenQueue, take
from brokers.servers import RedisServer

from worker.brokers import QueueAddress, open_queue
from worker.compose import enqueueing
from worker.compose.enqueueing import EnqueueRequest, enqueue
from worker.errors import InputError
from worker.intake import InputOptions
from worker.ports import WorkQueue
from worker.queueing import parse


@pytest.fixture
def broker(redis_server: RedisServer) -> RedisServer:
    return redis_server


def asked(path: Path, queue_url: str) -> EnqueueRequest:
    return EnqueueRequest(
        input_path=path,
        input_options=InputOptions(),
        address=QueueAddress.parse(queue_url),
        rows_per_message=2,
        tenant="t.example",
        operation=None,
        again=False,
        reason="T-1",
        signing_key=None,
        spool=path.parent,
    )


def pairs(count: int) -> str:
    return "user_id,identifier_id\n" + "".join(f"u-{number},i-{number}\n" for number in range(count))


async def test_every_good_row_is_published_under_its_number(
    queue_of: OpenQueue, queue_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(pairs(3) + ",i-9\n" + "u-4,i-4\n")
    receipt = await enqueue(asked(path, queue_url))
    assert (receipt.rows, receipt.messages, receipt.invalid) == (4, 2, 1)
    messages = [parse(each.body) for each in await take(queue_of("worker"), 2)]
    assert [[row.index for row in message.rows] for message in messages] == [[1, 2], [3, 5]]
    heading = messages[0].heading
    assert (heading.batch_id, heading.batch_rows, heading.tenant) == (receipt.batch_id, 4, "t.example")


async def test_a_file_that_changes_between_the_passes_is_told(
    queue_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(pairs(3))

    def open_later(address: QueueAddress, consumer: str) -> WorkQueue:
        path.write_text(pairs(5))
        return open_queue(address, consumer)

    monkeypatch.setattr(enqueueing, "open_queue", open_later)
    with pytest.raises(InputError, match="changed while it was published"):
        await enqueue(asked(path, queue_url))


async def test_other_columns_of_a_file_are_other_rows(queue_url: str, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("user_id,first,second\nu-1,i-1,i-2\n")
    request = asked(path, queue_url)
    columns = (InputOptions(identifier_column=column) for column in ("first", "second", "first"))
    first, second, again = [
        (await enqueue(dataclasses.replace(request, input_options=options))).batch_id for options in columns
    ]
    assert first == again != second
