"""What is sent to SQS keeps within its quotas: bytes and messages of a batch, attributes of a message."""

from __future__ import annotations

import pytest

from worker.brokers.leases import Lease
from worker.brokers.sqs_messages import MOST_BYTES, again, batches, entry, tries_of
from worker.errors import UsageError
from worker.model import Delivery


def test_a_batch_has_ten_messages_and_256_kib_at_most() -> None:
    small = [entry(b"%d" % number, {}) for number in range(25)]
    assert [len(batch) for batch in batches(small)] == [10, 10, 5]
    large = [entry(b"x" * 100_000, {}) for _ in range(5)]
    assert [len(batch) for batch in batches([*large, *small])] == [2, 2, 10, 10, 6]
    assert list(batches([])) == []


def test_what_just_fits_can_be_given_back_and_more_cannot_be_sent() -> None:
    for size, fits in ((MOST_BYTES, True), (256 * 1024, False)):
        delivery = Delivery("n" * 128, b"x" * size, 3, Lease("n"))
        copy = again(delivery)
        assert (copy is not None) == fits
    assert entry(b"x" * 256 * 1024, {}).size == 256 * 1024
    with pytest.raises(UsageError, match=r"262,145 bytes cannot be sent"):
        entry(b"x" * (256 * 1024 + 1), {})


def test_name_and_tries_survive_any_number_of_givings_back() -> None:
    delivery = Delivery(
        "first", b"1", 3, Lease("first", kept={"a": {"DataType": "String", "StringValue": "v"}})
    )
    for number in range(3):
        copy = again(delivery)
        assert copy is not None
        name, tries, kept = tries_of(f"message-{number}", copy.sent["MessageAttributes"])
        assert (name, tries, set(kept)) == ("first", 2, {"a"})
        delivery = Delivery(name, b"1", 1 + tries, Lease(name, kept=kept))


def test_a_message_that_is_tampered_with_counts_from_nothing() -> None:
    for tries in ("-1", "9" * 5000):
        marks = {"bulk-unverify-tries": tries, "bulk-unverify-name": "n" * 5000}
        wrong = {mark: {"DataType": "String", "StringValue": value} for mark, value in marks.items()}
        assert tries_of("m", wrong) == ("m", 0, {})
