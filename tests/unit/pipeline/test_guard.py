"""Promise 6, rule by rule."""

from __future__ import annotations

import pytest

from worker.guard import Guard, Halt, HaltKind
from worker.model import BARRED, Decision, Outcome, Verdict

OK = Verdict(Decision.FINAL, Outcome.SUCCEEDED, 200)
FORBIDDEN = Verdict(Decision.FINAL, Outcome.REFUSED, 403)
UNKNOWN = Verdict(Decision.FINAL, Outcome.NOT_FOUND, 404)
UNCONFIRMED = Verdict(Decision.FINAL, Outcome.UNCONFIRMED, 200)
REFUSED = Verdict(Decision.FINAL, Outcome.REFUSED, 422)
EXHAUSTED = Verdict(Decision.RETRY, Outcome.EXHAUSTED, 503)


def guard(max_failures: float = 1.0, *accept: Outcome) -> Guard:
    return Guard(max_failures=max_failures, accept=frozenset(accept))


def feed(watch: Guard, *verdicts: Verdict) -> list[Halt | None]:
    return [watch.see_finished(verdict) for verdict in verdicts]


@pytest.mark.parametrize("status", [401, 402, 301, 307])
def test_the_first_of_these_halts(status: int) -> None:
    watch = guard()
    feed(watch, *[OK] * 100)
    halt = watch.see_unfinished(Verdict(Decision.HALT, Outcome.PENDING, status))
    assert halt is not None
    assert halt.kind is HaltKind.ANSWER
    assert str(status) in halt.reason


@pytest.mark.parametrize("verdict", [FORBIDDEN, UNKNOWN, UNCONFIRMED])
def test_twenty_of_a_kind_without_a_success_halt(verdict: Verdict) -> None:
    halts = feed(guard(), *[verdict] * 20)
    assert halts[:-1] == [None] * 19
    assert halts[-1] is not None
    assert halts[-1].evidence == {verdict.outcome}


def test_one_success_before_clears_the_suspicion_for_good() -> None:
    assert feed(guard(), OK, *[UNKNOWN] * 100) == [None] * 101


def test_another_kind_of_answer_begins_the_streak_anew() -> None:
    halts = feed(guard(), *[UNKNOWN] * 19, FORBIDDEN, *[UNKNOWN] * 20)
    assert halts[:-1] == [None] * 39
    assert halts[-1] is not None


def test_refusals_other_than_403_are_no_streak() -> None:
    assert feed(guard(), *[REFUSED] * 60) == [None] * 60


def test_exhausted_rows_neither_make_nor_break_a_streak() -> None:
    halts = feed(guard(), *[UNKNOWN] * 19, EXHAUSTED, UNKNOWN)
    assert halts[-1] is not None
    assert halts[:-1] == [None] * 20


def test_rows_that_were_barred_show_nothing() -> None:
    assert feed(guard(), *[UNKNOWN] * 19, BARRED, UNKNOWN)[-1] is not None
    assert feed(guard(0.5), *[BARRED] * 100, OK, *[REFUSED] * 49)[-1] is not None


def test_a_streak_of_an_accepted_outcome_is_still_a_wrong_run() -> None:
    assert feed(guard(1.0, Outcome.NOT_FOUND), *[UNKNOWN] * 20)[-1] is not None


def test_only_403_goes_back_from_a_streak_of_403() -> None:
    halt = feed(guard(), *[FORBIDDEN] * 20)[-1]
    assert halt is not None
    assert halt.evidence_status == 403


def test_too_many_failures_halt_from_fifty_rows_on() -> None:
    watch = guard(0.2)
    assert feed(watch, *[OK, REFUSED] * 24, OK) == [None] * 49
    halt = watch.see_finished(OK)
    assert halt is not None
    assert halt.kind is HaltKind.FAILURES
    assert "24 of 50" in halt.reason


def test_exactly_the_tolerated_share_does_not_halt() -> None:
    assert feed(guard(0.2), *[OK] * 40, *[REFUSED] * 10) == [None] * 50


def test_accepted_outcomes_are_no_failures() -> None:
    watch = guard(0.0, Outcome.NOT_FOUND)
    assert feed(watch, OK, *[UNKNOWN] * 99) == [None] * 100
    halt = watch.see_finished(REFUSED)
    assert halt is not None
    assert halt.evidence == {Outcome.REFUSED, Outcome.UNCONFIRMED, Outcome.EXHAUSTED}


@pytest.mark.parametrize("code", ["unknown_host", "certificate", "proxy"])
def test_host_certificate_and_proxy_matter_only_before_the_first_answer(code: str) -> None:
    trouble = Verdict(Decision.RETRY, Outcome.EXHAUSTED, None, code, "why")
    watch = guard()
    halt = watch.see_unfinished(trouble)
    assert halt is not None
    assert halt.kind is HaltKind.CONFIGURATION
    later = guard()
    later.see_unfinished(EXHAUSTED)
    assert later.see_unfinished(trouble) is None
    after_success = guard()
    feed(after_success, OK)
    assert after_success.see_unfinished(trouble) is None
