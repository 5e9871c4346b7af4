"""Rows in messages that are small enough, and dead letters that are."""

from __future__ import annotations

import hashlib

import pytest

from worker.model import Delivery
from worker.queueing import Heading, Packing, ParsedRow, decode_letter, pack, parse
from worker.queueing.findings import dead_letter
from worker.queueing.parts import split

KEY = b"a key of a queue"


def rows(count: int, *, width: int = 20) -> list[ParsedRow]:
    return [
        ParsedRow(index=index, user_id=f"u{index:0{width}}", identifier_id=f"i{index:0{width}}")
        for index in range(count)
    ]


def test_every_row_is_in_one_message_in_order_and_no_message_is_larger_than_half_of_what_is_taken() -> None:
    packing = Packing(rows_each=100, most_bytes=8000, key=KEY)
    bodies = list(pack(rows(1050), Heading("b", 1050), packing))
    assert max(map(len, bodies)) <= 4000
    parsed = [parse(body, key=KEY) for body in bodies]
    assert [row.index for each in parsed for row in each.rows] == list(range(1050))
    assert {each.heading for each in parsed} == {Heading("b", 1050)}


def test_a_row_that_does_not_fit_goes_alone() -> None:
    packing = Packing(rows_each=100, most_bytes=100, key=None)
    assert len(list(pack(rows(3), Heading("b"), packing))) == 3


def test_as_many_rows_as_asked_for_where_they_fit() -> None:
    packing = Packing(rows_each=100, most_bytes=1_000_000, key=None)
    assert [len(parse(body).rows) for body in pack(rows(250), Heading("b"), packing)] == [100, 100, 50]


def test_a_name_that_is_no_batch_has_its_digest_for_one() -> None:
    packing = Packing(rows_each=2, most_bytes=1_000_000, key=None)
    [whole] = pack(rows(3), Heading(), Packing(rows_each=9, most_bytes=1_000_000, key=None))
    for name, batch in (("17-0", "17-0"), ("a b", hashlib.sha256(b"a b").hexdigest())):
        parts = split(Delivery(name, whole), parse(whole), packing)
        assert [parse(part).heading.batch_id for part in parts] == [batch] * 2


@pytest.mark.parametrize(
    ("body", "whole"), [(b'"' * 300, True), (b'"' * 3000, False), (("\u00fc" * 3000).encode(), False)]
)
def test_a_letter_has_as_much_of_a_message_as_fits(body: bytes, whole: bool) -> None:
    letter = dead_letter(Delivery("m", body), "why", 1000)
    assert len(letter) <= 1000
    told = decode_letter(letter)
    assert (told.whole, told.reason, told.message) == (whole, "why", "m")
    assert body.decode().startswith(told.body.rstrip("\ufffd"))


def test_a_letter_without_room_for_the_message_is_made_all_the_same() -> None:
    letter = dead_letter(Delivery("m", b"{nonsense"), "why", 10)
    assert decode_letter(letter).body == ""


def test_a_letter_can_be_made_whatever_its_reason_and_name_are() -> None:
    delivery = Delivery("name" * 10_000, b"x" * 5_000)
    letter = decode_letter(dead_letter(delivery, "\x1b[2J\x9bwhy " * 10_000, 8_000))
    assert (letter.whole, letter.body) == (True, "x" * 5_000)
    assert (len(letter.reason), len(letter.message)) == (500, 500)
    assert not {"\x1b", "\x9b"} & set(letter.reason)
