"""A file is published whole, as it was validated, or somebody is told."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
from brokers.queues import OpenQueue, take
from brokers.servers import RedisServer

from worker.brokers import QueueAddress, open_queue
from worker.compose import enqueueing
from worker.compose.enqueueing import EnqueueRequest, enqueue
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
        exclude=None,
        runs_dir=path.parent,
    )


def files_in(folder: Path) -> set[Path]:
    return set(folder.iterdir())


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


async def test_a_pair_is_published_once_and_a_protected_one_never(
    queue_of: OpenQueue, queue_url: str, tmp_path: Path
) -> None:
    path, exclude = tmp_path / "in.csv", tmp_path / "protected"
    path.write_text(pairs(3) + "u-1,i-1\n" + "u-1,i-2\n" + "u-0,i-0\n" + "u-7,i-7\n")
    exclude.write_text("u-2\ni-7\n")
    receipt = await enqueue(dataclasses.replace(asked(path, queue_url), exclude=exclude))
    assert (receipt.rows, receipt.duplicate, receipt.excluded, receipt.invalid) == (3, 2, 2, 0)
    messages = [parse(each.body) for each in await take(queue_of("worker"), 2)]
    assert [(row.index, row.user_id, row.identifier_id) for message in messages for row in message.rows] == [
        (1, "u-0", "i-0"),
        (2, "u-1", "i-1"),
        (5, "u-1", "i-2"),
    ]
    assert {message.heading.batch_rows for message in messages} == {3}
    assert files_in(tmp_path) == {path, exclude}, "nothing of the plan is left"


async def test_what_is_published_is_what_was_validated_whatever_becomes_of_the_file(
    queue_of: OpenQueue, queue_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(pairs(3))

    def open_later(address: QueueAddress, consumer: str) -> WorkQueue:
        path.write_text(pairs(5))
        return open_queue(address, consumer)

    monkeypatch.setattr(enqueueing, "open_queue", open_later)
    receipt = await enqueue(asked(path, queue_url))
    assert receipt.sha256 == hashlib.sha256(pairs(3).encode()).hexdigest()
    messages = [parse(each.body) for each in await take(queue_of("worker"), 2)]
    assert [row.user_id for message in messages for row in message.rows] == ["u-0", "u-1", "u-2"]


async def test_other_columns_of_a_file_are_other_rows(queue_url: str, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("user_id,first,second\nu-1,i-1,i-2\n")
    request = asked(path, queue_url)
    columns = (InputOptions(identifier_column=column) for column in ("first", "second", "first"))
    first, second, again = [
        (await enqueue(dataclasses.replace(request, input_options=options))).batch_id for options in columns
    ]
    assert first == again != second
