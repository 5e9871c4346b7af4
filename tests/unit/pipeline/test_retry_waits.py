"""When a row goes again and when it is given up; time is counted, never slept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from worker.model import Decision, Outcome, Row, Verdict
from worker.retry import Effort, RetryLimits, persistently

OK = Verdict(Decision.FINAL, Outcome.SUCCEEDED, 200)
GONE = Verdict(Decision.FINAL, Outcome.NOT_FOUND, 404)
BUSY = Verdict(Decision.RETRY, Outcome.EXHAUSTED, 503)
SLOW_DOWN = Verdict(Decision.THROTTLED, Outcome.EXHAUSTED, 429)
WRONG_KEY = Verdict(Decision.HALT, Outcome.PENDING, 401)


class StoppedError(Exception):
    """What a sleep raises that ends because the run does."""


class Story:
    """One row whose further attempts bring `verdicts`, one after the other; a transient one spends an attempt."""

    def __init__(
        self,
        first: Verdict,
        *verdicts: Verdict,
        attempts: int = 5,
        time_limit_s: float = 900.0,
        attempt_s: float = 0.0,
        retry_after_s: float = 0.0,
    ) -> None:
        self.now = 50.0
        self.slept: list[float] = []
        self._verdicts: Iterator[Verdict] = iter(verdicts)
        self._attempt_s = attempt_s
        self.made = 0
        spent = int(first.decision is Decision.RETRY)
        self.effort = Effort(Row(1, "u1", "i1"), 0.0, self.now, 1, spent, True, first, retry_after_s)
        self.persist = persistently(
            self._attempt,
            RetryLimits(attempts, time_limit_s),
            active_clock=lambda ahead_s: self.now + ahead_s,
            sleep=self._sleep,
        )

    async def end(self) -> Verdict:
        return await self.persist(self.effort)

    async def _attempt(self, effort: Effort) -> Verdict:
        assert effort is self.effort
        await asyncio.sleep(0)
        self.made += 1
        self.now += self._attempt_s
        effort.verdict = next(self._verdicts)
        effort.spent += effort.verdict.decision is Decision.RETRY
        return effort.verdict

    async def _sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now += delay_s
        await asyncio.sleep(0)


@pytest.mark.parametrize("verdict", [OK, GONE, WRONG_KEY])
async def test_a_verdict_that_settles_a_row_is_returned_without_another_attempt(verdict: Verdict) -> None:
    story = Story(verdict)
    assert await story.end() is verdict
    assert (story.made, story.slept) == (0, [])


async def test_trouble_goes_again_until_it_is_over() -> None:
    story = Story(BUSY, BUSY, BUSY, OK)
    assert await story.end() is OK
    assert (story.made, len(story.slept)) == (3, 3)


@pytest.mark.parametrize("last", [GONE, WRONG_KEY])
async def test_any_verdict_that_is_no_trouble_ends_it(last: Verdict) -> None:
    story = Story(BUSY, last, OK)
    assert await story.end() is last
    assert story.made == 1


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_the_first_attempt_counts_and_the_last_verdict_stands(attempts: int) -> None:
    last = Verdict(Decision.RETRY, Outcome.EXHAUSTED, 502)
    story = Story(BUSY if attempts > 1 else last, *[BUSY] * (attempts - 2), last, OK, attempts=attempts)
    assert await story.end() is last
    assert story.made == attempts - 1
    assert len(story.slept) == attempts - 1, "there is no wait after the last one"


async def test_a_429_spends_no_attempt_and_waits_for_nothing_of_its_own() -> None:
    """The pacer's cool-down holds the row, as it holds every other."""
    story = Story(SLOW_DOWN, *[SLOW_DOWN] * 200, BUSY, OK, attempts=2, retry_after_s=7.0)
    assert await story.end() is OK
    assert story.slept[:-1] == [0.0] * 201
    assert story.slept[-1] >= 7.0


async def test_time_bounds_what_attempts_do_not() -> None:
    story = Story(SLOW_DOWN, *[SLOW_DOWN] * 100, attempt_s=10.0, time_limit_s=95.0)
    assert await story.end() is SLOW_DOWN
    assert story.made == 10


async def test_the_time_limit_itself_is_too_long() -> None:
    story = Story(SLOW_DOWN, *[SLOW_DOWN] * 100, attempt_s=10.0, time_limit_s=90.0)
    await story.end()
    assert story.made == 9


@pytest.mark.parametrize(("asked_s", "made"), [(1.9, 1), (2.0, 0), (6.0, 0)])
async def test_a_wait_that_would_end_after_the_time_limit_is_not_begun(asked_s: float, made: int) -> None:
    story = Story(BUSY, OK, time_limit_s=2.0, retry_after_s=asked_s)
    assert await story.end() is (OK if made else BUSY)
    assert (story.made, len(story.slept)) == (made, made)


async def test_outages_and_pauses_do_not_count_towards_the_time_limit() -> None:
    """They are taken out of the active clock, which then stands still."""
    story = Story(SLOW_DOWN, *[SLOW_DOWN] * 500, OK, attempt_s=0.0, time_limit_s=0.001)
    assert await story.end() is OK


async def test_waits_double_from_half_a_second_to_thirty_with_full_jitter() -> None:
    longest = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    seen: list[list[float]] = []
    for _ in range(300):
        story = Story(BUSY, *[BUSY] * 8, OK, attempts=100, time_limit_s=10**6)
        await story.end()
        seen.append(story.slept)
    for waits, most in zip(zip(*seen, strict=True), longest, strict=True):
        assert 0.0 <= min(waits) < 0.1 * most, "full jitter begins at nothing"
        assert 0.9 * most < max(waits) <= most


@pytest.mark.parametrize("asked_s", [0.75, 45.0])
async def test_never_less_than_the_server_asked_for(asked_s: float) -> None:
    for _ in range(50):
        story = Story(BUSY, OK, retry_after_s=asked_s)
        await story.end()
        assert story.slept == [asked_s]


async def test_what_a_sleep_raises_ends_it() -> None:
    story = Story(BUSY, OK)

    async def stop(_: float) -> None:
        raise StoppedError

    persist = persistently(story._attempt, RetryLimits(5, 900.0), active_clock=lambda _: 0.0, sleep=stop)
    with pytest.raises(StoppedError):
        await persist(story.effort)
    assert story.made == 0


async def test_what_an_attempt_raises_ends_it_too() -> None:
    story = Story(BUSY)

    async def attempt(_: Effort) -> Verdict:
        raise StoppedError

    persist = persistently(attempt, RetryLimits(5, 900.0), active_clock=lambda _: 0.0, sleep=story._sleep)
    with pytest.raises(StoppedError):
        await persist(story.effort)
    assert len(story.slept) == 1


async def test_rows_that_retry_side_by_side_keep_apart() -> None:
    """All rows share one wrapped function, as they do in the pipeline."""
    script: dict[int, list[Verdict]] = {}

    async def attempt(effort: Effort) -> Verdict:
        await asyncio.sleep(0)
        effort.verdict = script[effort.row.number].pop(0)
        effort.spent += effort.verdict.decision is Decision.RETRY
        return effort.verdict

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    persist = persistently(attempt, RetryLimits(4, 900.0), active_clock=lambda _: 0.0, sleep=sleep)
    efforts = []
    for number in range(1, 61):
        script[number] = [BUSY] * (number % 5) + [OK if number % 2 else GONE]
        efforts.append(Effort(Row(number, "u", "i"), 0.0, 0.0, 1, 1, True, BUSY, 0.0))
    verdicts = await asyncio.gather(*map(persist, efforts))
    for number, verdict in enumerate(verdicts, start=1):
        expected = BUSY if number % 5 > 2 else OK if number % 2 else GONE
        assert verdict is expected, number
