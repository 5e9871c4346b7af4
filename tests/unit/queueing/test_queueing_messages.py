"""A message says what it asks for, or why nobody can work on it, and never shows an id."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.queueing import Heading, ParsedRow, compose, parse, schema
from worker.queueing.messages import MOST_BYTES, PoisonError

KEY = b"0123456789abcdef"
IDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=3, max_size=40).filter(
    lambda id_: not id_.isspace() and not id_.startswith("\ufeff")
)
HEADING = Heading("b", 3, "why", "tenant.example", "unverify-email", "run-1")
ROWS = st.lists(st.tuples(IDS, IDS), min_size=1, max_size=20)


def row(index: int, user: str = "u-1", identifier: str = "i-1") -> ParsedRow:
    return ParsedRow(index=index, user_id=user, identifier_id=identifier)


def pairs(body: bytes, **how: bytes) -> list[tuple[int, str, str]]:
    return [(each.index, each.user_id, each.identifier_id) for each in parse(body, **how).rows]


def test_one_row() -> None:
    assert pairs(b'{"user_id": "u-1", "identifier_id": "i-1"}') == [(0, "u-1", "i-1")]


def test_rows_of_a_batch_are_numbered_by_their_place_unless_they_say() -> None:
    body = b'{"batch_id": "b", "rows": [{"user_id": "u-1", "identifier_id": "i-1"},'
    body += b' {"user_id": "u-2", "identifier_id": "i-2", "row": 7}]}'
    assert parse(body).heading.batch_id == "b"
    assert pairs(body) == [(0, "u-1", "i-1"), (7, "u-2", "i-2")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "Invalid JSON"),
        (b"not json", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "should be an object"),
        (b"null", "should be an object"),
        (b'{"user_id": "u-1"}', "identifier_id: Field required"),
        (b'{"user_id": 5, "identifier_id": "i-1"}', "user_id: Input should be a valid string"),
        (b'{"user_id": "u-1", "identifier_id": "i-1", "batchid": "x"}', "batchid: Extra inputs"),
        (b'{"rows": []}', "rows: List should have at least 1 item"),
        (b'{"rows": [{"user_id": "u-1"}]}', "rows.0.identifier_id: Field required"),
        (b'{"rows": [{"user_id": "u-1", "identifier_id": "i-1", "row": -1}]}', "rows.0.row"),
        (b'{"user_id": "", "identifier_id": "i-1"}', "row 0: user_id is empty"),
        (b'{"user_id": "..", "identifier_id": "i-1"}', "row 0: user_id is '..'"),
        (b'{"user_id": "u\\n1", "identifier_id": "i-1"}', "control character U.000A"),
        (b'{"user_id": "u-1", "identifier_id": "i-1", "reason": "a\\nb"}', "reason"),
        (b'{"batch_id": "a b", "rows": [{"user_id": "u-1", "identifier_id": "i-1"}]}', "batch_id"),
        (b" " * (MOST_BYTES + 1), "more than"),
        (
            b'{"rows": [{"user_id": "u", "identifier_id": "i", "row": 1}, {"user_id": "u", "identifier_id": "i"}]}',
            "same number",
        ),
    ],
)
def test_poison_says_why(body: bytes, why: str) -> None:
    with pytest.raises(PoisonError, match=why):
        parse(body)


def test_a_thousand_rows_are_the_most() -> None:
    rows = [{"user_id": "u-1", "identifier_id": "i-1"}] * 1001
    assert len(parse(json.dumps({"rows": rows[1:]}).encode()).rows) == 1000
    with pytest.raises(PoisonError, match="at most 1000"):
        parse(json.dumps({"rows": rows}).encode())


def test_no_reason_shows_an_id() -> None:
    for body in (
        b'{"user_id": "hidden", "identifier_id": 5}',
        b'{"user_id": "hidden\\u0000", "identifier_id": "i"}',
    ):
        with pytest.raises(PoisonError) as caught:
            parse(body)
        assert "hidden" not in str(caught.value)


@given(ROWS)
def test_what_is_composed_is_parsed_the_same(rows: list[tuple[str, str]]) -> None:
    numbered = [row(number * 3, *pair) for number, pair in enumerate(rows)]
    for key in (None, KEY):
        parsed = parse(compose(numbered, HEADING, key=key), key=key)
        assert (parsed.rows, parsed.heading) == (numbered, HEADING)


def test_a_producer_in_another_language_signs_these_lines() -> None:
    text = "bulk-unverify-1\nb\n\nT-1\n\n\n\n4\tu-1\ti-1"
    signature = hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()
    message = {
        "batch_id": "b",
        "reason": "T-1",
        "rows": [{"user_id": "u-1", "identifier_id": "i-1", "row": 4}],
    }
    body = json.dumps(message | {"signature": signature}).encode()
    assert parse(body, key=KEY).heading.batch_id == "b"


def test_the_unsigned_is_refused_where_signatures_are_asked_for() -> None:
    with pytest.raises(PoisonError, match="not signed"):
        parse(compose([row(0)], Heading()), key=KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_id": "c"},
        {"batch_rows": 4},
        {"reason": "other"},
        {"tenant": "other.example"},
        {"operation": "verify-email"},
        {"reply_to": "others"},
        {"rows": [{"user_id": "u-2", "identifier_id": "i-1", "row": 0}]},
        {"rows": [{"user_id": "u-1", "identifier_id": "i-2", "row": 0}]},
        {"rows": [{"user_id": "u-1", "identifier_id": "i-1", "row": 1}]},
        {"signature": "0" * 64},
    ],
)
def test_whatever_is_changed_breaks_the_signature(change: dict[str, object]) -> None:
    message = json.loads(compose([row(0)], HEADING, key=KEY))
    assert parse(json.dumps(message).encode(), key=KEY)
    with pytest.raises(PoisonError, match="signature is not"):
        parse(json.dumps(message | change).encode(), key=KEY)


def test_rows_of_another_tenant_or_for_something_else_are_refused() -> None:
    body = compose([row(0)], HEADING)
    assert parse(body, tenant="tenant.example", operation="unverify-email").rows == [row(0)]
    with pytest.raises(PoisonError, match=r"tenant tenant\.example, and this worker"):
        parse(body, tenant="other.example", operation="unverify-email")
    with pytest.raises(PoisonError, match="operation unverify-email, and this worker"):
        parse(body, tenant="tenant.example", operation="verify-email")


def test_another_key_signs_otherwise() -> None:
    with pytest.raises(PoisonError, match="signature is not"):
        parse(compose([row(0)], Heading(), key=KEY), key=b"another key, as long")


def test_the_schema_is_one_of_both_forms() -> None:
    told = schema()
    assert told["$schema"].endswith("2020-12/schema")
    assert {"BatchMessage", "MessageRow", "RowMessage", "Tried"} == set(told["$defs"])
    assert told["$defs"]["BatchMessage"]["properties"]["rows"]["maxItems"] == 1000


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (TRACE, TRACE),
        ("", ""),
        (None, ""),
        (5, ""),
        (TRACE.upper(), ""),
        (TRACE + "-00", ""),
        (TRACE + "\n", ""),
        ("01" + TRACE[2:], ""),
        ("00-" + "0" * 32 + TRACE[35:], ""),
        (TRACE[:36] + "0" * 16 + "-01", ""),
        ("x" * 10_000, ""),
    ],
)
def test_a_trace_context_in_another_form_is_left_out_and_no_poison(given: object, kept: str) -> None:
    message = {"user_id": "u-1", "identifier_id": "i-1", "traceparent": given}
    assert parse(json.dumps(message).encode()).traceparent == kept


def test_a_reason_is_no_longer_than_a_line() -> None:
    body = json.dumps({"user_id": "u-1", "identifier_id": "i-1", "\x1b" + "k" * 100_000: 1}).encode()
    with pytest.raises(PoisonError) as caught:
        parse(body)
    assert str(caught.value).endswith("k: Extra inputs are not permitted")
    assert len(str(caught.value)) < 200
    assert "\x1b" not in str(caught.value)
