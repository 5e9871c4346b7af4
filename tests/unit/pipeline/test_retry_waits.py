"""What a failed attempt costs its row, and how long it waits; nothing sleeps."""

from __future__ import annotations

import msgspec
import pytest

from worker.model import HELD_UP, Answer, Decision, Effort, NoAnswer, Outcome, Owed, Reply, Trouble, Verdict
from worker.retry import BackOff, Failure, RetryLimits, charged, final_verdict, is_sick

BUSY = Verdict(Decision.RETRY, Outcome.EXHAUSTED, 503, "http_503", "busy")
TIMED_OUT = Verdict(Decision.RETRY, Outcome.UNCONFIRMED, None, "timeout", "no answer")
BUSY_REPLY = Answer(503, {}, b"")
LIMITS = RetryLimits(attempts=5, time_limit_s=900.0)


def _failure(
    verdict: Verdict = BUSY,
    *,
    reply: Reply | None = BUSY_REPLY,
    refused: bool = False,
    asked_s: float = 0.0,
    took_s: float = 0.25,
    answered: int = 7,
) -> Failure:
    return Failure(
        reply=reply,
        verdict=verdict,
        refused=refused,
        asked_s=asked_s,
        took_s=took_s,
        began_at=1000.0,
        answered=answered,
    )


def _back_off(limits: RetryLimits = LIMITS) -> BackOff:
    return BackOff(limits, jitter=lambda: 1.0)


def _failed(times: int, limits: RetryLimits = LIMITS) -> Effort:
    """Return the effort after so many attempts that failed, each of which was charged when the next one went."""
    effort: Effort | None = None
    for _ in range(times):
        effort = _back_off(limits).after(None if effort is None else charged(effort), _failure())
    assert effort is not None
    return effort


def test_an_attempt_that_failed_is_owed_and_not_charged() -> None:
    effort = _failed(1)
    assert (effort.attempts, effort.owed, effort.answered) == (0, Owed.ATTEMPT, 7)
    assert charged(effort).attempts == 1
    assert charged(charged(effort)).attempts == 1, "once"


def test_what_is_charged_is_the_attempt_and_the_wait_after_it() -> None:
    assert charged(_failed(1)).charged_s == pytest.approx(0.25 + 0.5)
    assert charged(_failed(3)).charged_s == pytest.approx(3 * 0.25 + 0.5 + 1.0 + 2.0)


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_limits_are_spent_by_what_was_charged(attempts: int) -> None:
    limits = RetryLimits(attempts, 900.0)
    assert not limits.are_spent(_failed(attempts, limits))
    assert limits.are_spent(charged(_failed(attempts, limits)))


def test_time_bounds_what_attempts_do_not() -> None:
    limits = RetryLimits(99, 1.7)
    assert not limits.are_spent(charged(_failed(1, limits)))
    assert limits.are_spent(charged(_failed(2, limits)))


def test_waits_double_from_half_a_second_to_thirty() -> None:
    waits = [_failed(times, RetryLimits(99, 1e6)).wait_s for times in range(1, 10)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_waits_have_full_jitter() -> None:
    waits = [BackOff(LIMITS).after(None, _failure()).wait_s for _ in range(300)]
    assert min(waits) < 0.05
    assert 0.45 < max(waits) <= 0.5


def test_back_off_runs_whether_or_not_anything_is_charged() -> None:
    effort: Effort | None = None
    for _ in range(6):
        effort = _back_off().after(effort, _failure())
    assert effort is not None
    assert (effort.attempts, effort.tries, effort.wait_s) == (0, 6, 16.0)


@pytest.mark.parametrize("asked_s", [0.75, 45.0])
def test_never_less_than_the_server_asked_for(asked_s: float) -> None:
    assert BackOff(LIMITS).after(None, _failure(asked_s=asked_s)).wait_s == asked_s


def test_after_the_last_attempt_a_row_waits_for_evidence_alone() -> None:
    assert _failed(5).wait_s == 1.0
    assert _failed(5).owed_s == pytest.approx(0.25 + 8.0)


def test_a_refusal_costs_no_attempt_and_no_time() -> None:
    effort = charged(_back_off().after(None, _failure(refused=True, asked_s=60.0)))
    assert (effort.attempts, effort.charged_s, effort.refusals) == (0, 0.0, 1)
    assert effort.wait_s == 0.5, "what it asks for, the pacer waits for with everybody"


def test_five_refusals_while_others_are_answered_make_a_row_sick() -> None:
    effort = Effort()
    for times in range(5):
        assert not is_sick(effort), times
        effort = charged(_back_off().after(effort, _failure(refused=True)))
    assert is_sick(effort)
    assert not is_sick(None)


def test_refusals_while_nobody_is_answered_make_no_row_sick() -> None:
    effort: Effort | None = None
    for _ in range(50):
        effort = _back_off().after(effort, _failure(refused=True))
    assert not is_sick(effort)


def test_what_was_held_up_is_free_and_keeps_what_was_known() -> None:
    effort = _back_off().after(charged(_failed(2)), _failure(HELD_UP, reply=None))
    assert (effort.free, effort.owed, effort.wait_s) == (True, Owed.NOTHING, 0.0)
    assert (effort.tries, effort.attempts, effort.error_code) == (2, 2, "http_503")
    first = _back_off().after(None, _failure(HELD_UP, reply=None))
    assert (first.tries, first.error_code, first.answered) == (0, "connect", -1)


def test_a_stale_connection_is_free_once() -> None:
    stale = _failure(TIMED_OUT, reply=NoAnswer(Trouble.DISCONNECTED, "stale", sent=True, stale=True))
    first = _back_off().after(None, stale)
    second = _back_off().after(first, stale)
    assert (first.free, first.owed) == (True, Owed.NOTHING)
    assert (second.free, second.owed) == (False, Owed.ATTEMPT)


def test_one_attempt_that_may_have_been_carried_out_is_remembered() -> None:
    effort = _back_off().after(None, _failure(TIMED_OUT, reply=NoAnswer(Trouble.TIMEOUT, "", sent=True)))
    effort = _back_off().after(effort, _failure())
    assert final_verdict(effort) == Verdict(Decision.RETRY, Outcome.UNCONFIRMED, 503, "http_503", "busy")
    assert final_verdict(_failed(1)).outcome is Outcome.EXHAUSTED


def test_a_session_counts_its_own_time_from_when_it_took_the_row_up() -> None:
    old = msgspec.structs.replace(_failed(2), answered=-1, started_at=5.0)
    assert _back_off().after(old, _failure()).started_at == 1000.0
    assert _back_off().after(_failed(1), _failure(answered=9)).started_at == 1000.0
