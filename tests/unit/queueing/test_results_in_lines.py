"""Outcomes that travel together: few messages, none of them large, and each outcome read as it was written."""

from __future__ import annotations

import pytest

from worker.brokers.composed import in_lines
from worker.model import Decision, Outcome, Result, Row, Verdict
from worker.queueing import Finder, Heading, decode_findings
from worker.queueing.findings import UnreadableError, encode_finding, result_of


def outcome(index: int, message: str = "") -> bytes:
    verdict = Verdict(Decision.FINAL, Outcome.REFUSED, 400, "code", message)
    result = Result(Row(1, f"user-{index}", "mail"), verdict, 1, True, 1.0, 2.0)
    return encode_finding(result, "batch", index, Heading("batch", 10), Finder("w", "t", "unverify-email"))


def test_all_are_there_in_their_order_a_hundred_in_a_message() -> None:
    messages = in_lines([outcome(index) for index in range(250)])
    assert [body.count(b"\n") + 1 for body in messages] == [100, 100, 50]
    assert [found.index for body in messages for found in decode_findings(body)] == list(range(250))
    assert in_lines([]) == []


def test_no_message_is_larger_than_60_kb_but_one_that_holds_a_single_outcome() -> None:
    sizes = [100, 59_899, 1, 30_000, 30_000, 29_999, 70_000, 70_000, 10]
    messages = in_lines([b"x" * size for size in sizes])
    assert [[len(line) for line in body.split(b"\n")] for body in messages] == [
        [100, 59_899],
        [1, 30_000],
        [30_000, 29_999],
        [70_000],
        [70_000],
        [10],
    ]
    assert [len(body) for body in messages if b"\n" in body] == [60_000, 30_002, 60_000]


def test_a_line_feed_in_a_tenants_words_ends_no_line() -> None:
    [body] = in_lines([outcome(0, "one\ntwo\u2028three"), outcome(1)])
    first, second = decode_findings(body)
    assert (first.error_message, second.index) == ("one\ntwo\u2028three", 1)


@pytest.mark.parametrize("line", [b"", b"{nonsense", b"[]", outcome(1).replace(b"refused", b"duplicate")])
def test_a_message_with_a_line_that_tells_no_outcome_is_not_read(line: bytes) -> None:
    with pytest.raises(UnreadableError):
        decode_findings(outcome(0) + b"\n" + line)


@pytest.mark.parametrize("decision", [Decision.FINAL, Decision.RETRY])
def test_whoever_collects_knows_what_no_answer_settled(decision: Decision) -> None:
    """A row whose attempts were spent is no evidence of a wrong run."""
    verdict = Verdict(decision, Outcome.UNCONFIRMED, 404, "http_404", "<html>")
    row = Row(1, "user-1", "mail")
    result = Result(row, verdict, 1, True, 1.0, 2.0)
    body = encode_finding(result, "batch", 1, Heading("batch", 10), Finder("w", "t", "unverify-email"))
    assert (b"unsettled" in body) is (decision is Decision.RETRY)
    [found] = decode_findings(body)
    assert result_of(found, row).verdict == verdict
