"""Promise 6, rule by rule."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from worker.guard import STREAK, WINDOW, Guard, Halt, HaltKind
from worker.model import BARRED, Decision, Outcome, Verdict

OK = Verdict(Decision.FINAL, Outcome.SUCCEEDED, 200)
FORBIDDEN = Verdict(Decision.FINAL, Outcome.REFUSED, 403, "http_403", "Forbidden")
UNKNOWN = Verdict(Decision.FINAL, Outcome.NOT_FOUND, 404, "http_404", "No such user")
UNCONFIRMED = Verdict(Decision.FINAL, Outcome.UNCONFIRMED, 200, "not_changed", "shown as verified")
REFUSED = Verdict(Decision.FINAL, Outcome.REFUSED, 422, "locked", "The account is locked")
BUSY = Verdict(Decision.THROTTLED, Outcome.EXHAUSTED, 429)
EXHAUSTED = Verdict(Decision.RETRY, Outcome.EXHAUSTED, 503, "http_503", "down")
BROKEN_OFF = Verdict(Decision.RETRY, Outcome.UNCONFIRMED, 200, "body_truncated")
NOT_THE_APIS = Verdict(Decision.RETRY, Outcome.UNCONFIRMED, 403, "http_403", "<html>")
NEVER_COUNT = [BUSY, EXHAUSTED, BROKEN_OFF, NOT_THE_APIS]
SUSPICIOUS = [FORBIDDEN, UNKNOWN, UNCONFIRMED]


def guard(max_failures: float = 1.0, *accept: Outcome) -> Guard:
    return Guard(max_failures=max_failures, accept=frozenset(accept))


class Feed:
    """Shows a guard what comes, each for another row."""

    def __init__(self, watch: Guard) -> None:
        self.watch = watch
        self._rows: Iterator[int] = itertools.count(1)

    def answers(self, *verdicts: Verdict, first: bool = True) -> list[Halt | None]:
        """Show answers only."""
        return [self.watch.see_answer(next(self._rows), verdict, first=first) for verdict in verdicts]

    def rows(self, *verdicts: Verdict, others_pending: bool = True) -> list[Halt | None]:
        """Show answers and that they finish their rows; returns the first halt of each row."""
        halts = []
        for verdict in verdicts:
            row = next(self._rows)
            halt = self.watch.see_answer(row, verdict, first=True)
            halts.append(self.watch.see_finished(row, verdict, others_pending=others_pending) or halt)
        return halts


def feed(watch: Guard, *verdicts: Verdict) -> list[Halt | None]:
    return Feed(watch).rows(*verdicts)


def only_the_last(halts: list[Halt | None]) -> Halt:
    assert halts[:-1] == [None] * (len(halts) - 1)
    assert halts[-1] is not None
    return halts[-1]


@pytest.mark.parametrize("status", [401, 402])
def test_the_first_of_these_halts(status: int) -> None:
    watch = guard()
    feed(watch, *[OK] * 100)
    halt = watch.see_answer(
        101, Verdict(Decision.HALT, Outcome.PENDING, status, "x", "Key gone."), first=False
    )
    assert halt is not None
    assert halt.kind is HaltKind.ANSWER
    assert f"the tenant answered {status}: " in halt.reason
    assert halt.reason.endswith("It said: x Key gone")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_first_redirect_halts_and_says_where_it_leads(status: int) -> None:
    watch = guard()
    feed(watch, *[OK] * 100)
    verdict = Verdict(Decision.HALT, Outcome.PENDING, status, f"http_{status}", "points to login.example")
    halt = watch.see_answer(101, verdict, first=True)
    assert halt is not None
    assert halt.reason.startswith(f"the tenant answered {status}, which points to login.example: a redirect")


@pytest.mark.parametrize("successes", [0, 1, 4100, 200_000])
@pytest.mark.parametrize("verdict", [FORBIDDEN, UNCONFIRMED])
def test_twenty_in_a_row_halt_however_long_it_went_well(verdict: Verdict, successes: int) -> None:
    halt = only_the_last(feed(guard(), *[OK] * successes, *[verdict] * STREAK))
    assert halt.kind is HaltKind.STREAK
    assert f"20 × {verdict.status} {verdict.error_code}: {verdict.error_message}" in halt.reason
    assert (f"after {successes:,} successes" if successes else "none succeeded") in halt.reason
    assert f"--accept {verdict.outcome}" in halt.reason
    assert halt.evidence == {verdict.outcome}


def test_404_halts_only_before_the_first_success_of_the_session() -> None:
    halt = only_the_last(feed(guard(), *[UNKNOWN] * STREAK))
    assert "--accept not_found" in halt.reason
    assert not halt.unless_answering
    assert feed(guard(), OK, *[UNKNOWN] * 1000) == [None] * 1001
    assert feed(guard(), *[UNKNOWN] * 19, OK, *[UNKNOWN] * 1000) == [None] * 1020


@pytest.mark.parametrize("other", [OK, REFUSED, UNKNOWN])
def test_another_final_answer_begins_the_streak_anew(other: Verdict) -> None:
    only_the_last(feed(guard(), OK, *[FORBIDDEN] * 19, other, *[FORBIDDEN] * 20))


def test_refusals_other_than_403_are_no_streak() -> None:
    assert feed(guard(), *[REFUSED] * 60) == [None] * 60


@pytest.mark.parametrize("trouble", NEVER_COUNT)
def test_trouble_and_what_is_not_the_apis_own_neither_makes_nor_breaks_a_streak(trouble: Verdict) -> None:
    watch = Feed(guard())
    assert watch.answers(*[trouble] * 100) == [None] * 100
    only_the_last(watch.answers(*[FORBIDDEN] * 10, *[trouble] * 30, *[FORBIDDEN] * 10))


def test_a_row_counts_once_however_often_it_is_answered() -> None:
    watch = Feed(guard())
    assert watch.answers(*[FORBIDDEN] * 19) == [None] * 19
    assert watch.answers(*[FORBIDDEN] * 100, first=False) == [None] * 100
    only_the_last(watch.answers(FORBIDDEN))


def test_a_row_that_succeeds_at_its_second_answer_breaks_a_streak() -> None:
    watch = Feed(guard())
    watch.answers(*[FORBIDDEN] * 19)
    watch.answers(OK, first=False)
    assert watch.answers(FORBIDDEN) == [None]


def test_rows_that_were_barred_show_nothing() -> None:
    only_the_last(feed(guard(), *[UNKNOWN] * 19, BARRED, UNKNOWN))
    assert feed(guard(0.5), *[BARRED] * 100, OK, *[REFUSED] * 49)[-1] is not None


@pytest.mark.parametrize("verdict", [FORBIDDEN, UNCONFIRMED])
def test_what_is_accepted_is_no_streak(verdict: Verdict) -> None:
    assert feed(guard(0.0, verdict.outcome), *[verdict] * 600) == [None] * 600


def test_404_that_are_accepted_halt_only_if_the_tenant_does_not_answer() -> None:
    watch = Feed(guard(1.0, Outcome.NOT_FOUND))
    halt = only_the_last(watch.answers(*[UNKNOWN] * STREAK))
    assert halt.unless_answering
    stands = halt.unanswered("404 http_404")
    assert not stands.unless_answering
    assert "GET users?size=1" in stands.reason
    assert "did not answer 200 but 404 http_404" in stands.reason
    assert watch.rows(*[UNKNOWN] * 5, REFUSED) == [None] * 6, "it is asked once"
    watch.watch.believe()
    assert watch.rows(*[UNKNOWN] * 1000) == [None] * 1000
    only_the_last(watch.answers(*[FORBIDDEN] * STREAK))


def test_while_the_tenant_is_asked_a_key_that_is_refused_halts() -> None:
    watch = Feed(guard(1.0, Outcome.NOT_FOUND))
    watch.answers(*[UNKNOWN] * STREAK)
    [halt] = watch.answers(Verdict(Decision.HALT, Outcome.PENDING, 401))
    assert halt is not None
    assert halt.kind is HaltKind.ANSWER
    watch.watch.believe()
    assert watch.answers(*[FORBIDDEN] * STREAK) == [None] * STREAK, "it halted, and for that reason"


def test_where_nobody_can_ask_404_that_are_accepted_are_believed() -> None:
    watch = Guard(max_failures=0.0, accept=frozenset({Outcome.NOT_FOUND}), can_ask=False)
    assert feed(watch, *[UNKNOWN] * 100) == [None] * 100


@pytest.mark.parametrize("verdict", SUSPICIOUS)
def test_before_any_success_all_of_the_kind_go_back(verdict: Verdict) -> None:
    halt = only_the_last(feed(guard(), *[verdict] * 5, REFUSED, *[verdict] * STREAK))
    assert halt.rows is None
    assert halt.evidence_status == (None if verdict is UNCONFIRMED else verdict.status)
    assert halt.resembles(verdict)
    assert not halt.resembles(REFUSED)


def test_after_a_success_only_the_streak_goes_back_and_what_calls_in_flight_add() -> None:
    watch = Feed(guard())
    halt = only_the_last(watch.rows(FORBIDDEN, OK, *[FORBIDDEN] * STREAK))
    assert halt.rows == frozenset(range(3, 23))
    more, none, other, barred = watch.rows(FORBIDDEN, OK, UNKNOWN, BARRED)
    assert (none, other, barred) == (None, None, None)
    assert more is not None
    assert more.rows == frozenset(range(3, 24))
    assert "21 × 403" in more.reason


def test_too_many_failures_halt_from_fifty_rows_on() -> None:
    watch = Feed(guard(0.2))
    assert watch.rows(*[OK, REFUSED] * 24, OK) == [None] * 49
    halt = only_the_last(watch.rows(OK))
    assert halt.kind is HaltKind.FAILURES
    assert "24 of 50 rows failed in this session, more than the 20% that --max-failures allows" in halt.reason
    assert "24 × 422 locked: The account is locked" in halt.reason
    assert "--accept refused" in halt.reason
    assert halt.rows is None


def test_exactly_the_tolerated_share_does_not_halt() -> None:
    assert feed(guard(0.2), *[OK] * 40, *[REFUSED] * 10) == [None] * 50
    assert feed(guard(0.2), *[OK] * 5000, *[REFUSED] * 100) == [None] * 5100


@pytest.mark.parametrize("successes", [500, 4100, 200_000])
def test_the_last_five_hundred_rows_are_judged_by_themselves(successes: int) -> None:
    watch = Feed(guard(0.2))
    watch.rows(*[OK] * successes)
    failing = [*[REFUSED] * 9, OK] * 11
    halt = only_the_last(watch.rows(*failing, REFUSED, REFUSED))
    assert "101 of the last 500 rows failed" in halt.reason
    assert halt.rows is not None
    assert len(halt.rows) == 101
    more = watch.rows(REFUSED)[0]
    assert more is not None
    assert more.rows is not None
    assert len(more.rows) == 102


def test_failures_leave_the_window_as_rows_finish() -> None:
    watch = Feed(guard(0.2))
    watch.rows(*[OK] * WINDOW)
    for _ in range(20):
        assert not any(watch.rows(*[REFUSED] * 100, *[OK] * WINDOW))


def test_exhausted_rows_count_for_the_session_only_and_only_while_others_are_pending() -> None:
    assert not any(feed(guard(0.2), *[OK] * 2000, *[EXHAUSTED] * 300))
    halt = only_the_last(feed(guard(0.2), *[OK] * 400, *[EXHAUSTED] * 101))
    assert "101 of 501 rows failed in this session" in halt.reason
    assert Outcome.EXHAUSTED in halt.evidence
    assert "--accept exhausted" in halt.reason


def test_sick_rows_that_finish_last_are_no_sign_of_a_wrong_run() -> None:
    watch = Feed(guard(0.2))
    watch.rows(*[OK] * 50)
    assert not any(watch.rows(*[EXHAUSTED] * 500, others_pending=False))
    halt = next(filter(None, watch.rows(*[REFUSED] * 200, others_pending=False)))
    assert Outcome.EXHAUSTED not in halt.evidence


def test_accepted_outcomes_are_no_failures() -> None:
    watch = Feed(guard(0.0, Outcome.NOT_FOUND))
    assert watch.rows(OK, *[UNKNOWN] * 99) == [None] * 100
    halt = only_the_last(watch.rows(REFUSED))
    assert halt.evidence == {Outcome.REFUSED, Outcome.UNCONFIRMED, Outcome.EXHAUSTED}
    assert "more than the 0% that" in halt.reason


def test_a_flag_lets_every_share_pass() -> None:
    assert not any(feed(guard(1.0), *[REFUSED] * 2000))


@pytest.mark.parametrize("code", ["unknown_host", "certificate", "proxy"])
def test_host_certificate_and_proxy_matter_only_before_the_first_answer(code: str) -> None:
    trouble = Verdict(Decision.RETRY, Outcome.EXHAUSTED, None, code, "why")
    halt = guard().see_answer(1, trouble, first=True)
    assert halt is not None
    assert (halt.kind, halt.reason) == (HaltKind.CONFIGURATION, "why")
    for before in (EXHAUSTED, OK):
        later = guard()
        later.see_answer(1, before, first=True)
        assert later.see_answer(2, trouble, first=True) is None
