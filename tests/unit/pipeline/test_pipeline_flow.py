"""The flow with stand-ins for every port: what becomes of each row."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from worker.errors import LedgerError
from worker.guard import HaltKind
from worker.model import Outcome, Row, Trouble


def _load_stand_ins() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stand_ins", Path(__file__).with_name("stand_ins.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Bench = _load_stand_ins().Bench


def _out_for(calls: int) -> Callable[[str, int], int]:
    """Return a server that answers 503 to so many calls."""
    left = iter(range(calls))
    return lambda *_: 200 if next(left, None) is None else 503


async def test_every_row_ends_in_one_outcome() -> None:
    bench = Bench(300, lambda path, _: 404 if path.endswith("7") else 200)
    await bench.pipeline.run()
    assert sorted(bench.book.results) == list(range(1, 301))
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 270, Outcome.NOT_FOUND: 30}
    assert bench.book.given_back == {}


async def test_a_transient_error_goes_again_until_it_succeeds() -> None:
    bench = Bench(20, lambda _, attempt: 200 if attempt == 3 else 503)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 20}
    assert {result.requests for result in bench.book.results.values()} == {3}
    assert len(bench.slept) == 40


async def test_connections_are_not_trusted_after_an_answer_that_shows_another_user() -> None:
    def script(path: str, attempt: int) -> int:
        if path == "user-3":
            return 503 if attempt == 1 else 206
        return {"user-1": 206, "user-2": 204, "user-4": 404}.get(path, 200)

    bench = Bench(5, script, concurrency=1)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 1, Outcome.UNCONFIRMED: 3, Outcome.NOT_FOUND: 1}
    assert len(bench.server.distrusted) == 2
    assert bench.server.distrusted[0] == 1


async def test_attempts_that_are_spent_exhaust_a_row() -> None:
    bench = Bench(5, lambda *_: 503, attempts=2)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.EXHAUSTED: 5}
    assert set(bench.server.attempts.values()) == {2}


async def test_a_row_that_fails_while_others_are_answered_is_exhausted() -> None:
    bench = Bench(60, lambda path, _: 503 if path == "user-1" else 200, attempts=4)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 59, Outcome.EXHAUSTED: 1}
    assert bench.server.attempts["user-1"] == 4
    assert (bench.book.results[1].requests, bench.book.results[1].sent) == (4, True)
    assert bench.server.probes <= 3, "the others are the evidence, but for the last moments"


async def test_nothing_is_charged_while_nobody_is_answered() -> None:
    """Thirty rows, and a server that is out for the first thousand calls: not one is exhausted."""
    bench = Bench(30, _out_for(1000), attempts=2)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 30}
    assert bench.server.probes == 0


async def test_a_few_rows_that_are_all_that_is_left_are_exhausted_where_the_api_answers_a_probe() -> None:
    bench = Bench(3, lambda *_: 503, attempts=2)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.EXHAUSTED: 3}
    assert set(bench.server.attempts.values()) == {2}
    assert bench.server.probes == 6


async def test_a_few_rows_are_not_exhausted_where_the_api_does_not_answer_a_probe() -> None:
    bench = Bench(3, _out_for(100), attempts=2)
    bench.server.answers_probes = False
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 3}
    assert bench.server.probes > 0


async def test_an_attempt_in_a_silence_that_was_an_outage_is_not_charged() -> None:
    def script(path: str, attempt: int) -> int:
        return 503 if path == "user-1" and attempt <= 9 else 200

    bench = Bench(200, script, attempts=2, concurrency=1)
    bench.pacer.outages = set(range(1000))
    bench.server.answers_probes = False
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 200}


async def test_a_row_that_alone_is_refused_is_sick_after_five_times_and_pays_from_then_on() -> None:
    bench = Bench(400, lambda path, _: 429 if path == "user-1" else 200, attempts=3, concurrency=1)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 399, Outcome.EXHAUSTED: 1}
    assert bench.server.attempts["user-1"] == 5 + 3


async def test_a_refusal_that_hits_different_rows_costs_none_of_them() -> None:
    bench = Bench(300, lambda _, attempt: 429 if attempt <= 4 else 200, attempts=1)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 300}


async def test_the_time_that_is_charged_ends_a_row() -> None:
    """Its own waits are 0.5, 1 and 2 s: more than 3 s with the third."""
    bench = Bench(600, lambda path, _: 503 if path == "user-1" else 200, attempts=99, time_limit_s=3.0)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 599, Outcome.EXHAUSTED: 1}
    assert bench.server.attempts["user-1"] == 3


async def test_what_may_have_been_carried_out_ends_unconfirmed() -> None:
    def script(path: str, attempt: int) -> int | Trouble:
        if path != "user-1":
            return 200
        return Trouble.TIMEOUT if attempt == 1 else 503

    bench = Bench(100, script, attempts=3)
    await bench.pipeline.run()
    first = bench.book.results[1].verdict
    assert (first.outcome, first.status) == (Outcome.UNCONFIRMED, 503)


async def test_a_retry_that_is_held_up_keeps_what_is_known_and_costs_nothing() -> None:
    answers = {1: 503, 2: None, 3: 503, 4: 200}
    bench = Bench(50, lambda path, attempt: answers[attempt] if path == "user-1" else 200, attempts=3)
    await bench.pipeline.run()
    assert (bench.book.results[1].verdict.outcome, bench.book.results[1].requests) == (Outcome.SUCCEEDED, 3)
    assert bench.source.slept == [0.5, 0.0, 1.0]


async def test_a_row_from_elsewhere_is_tried_where_rows_that_always_fail_stand_together() -> None:
    def script(path: str, _: int) -> int:
        return 503 if int(path.removeprefix("user-")) <= 60 else 200

    bench = Bench(2000, script, attempts=3)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 1940, Outcome.EXHAUSTED: 60}
    assert bench.source.elsewhere > 0
    assert bench.source.claimed.index(2000) < 60


async def test_a_row_that_waits_for_its_retry_goes_back_at_a_stop() -> None:
    bench = Bench(1, lambda *_: bench.pipeline.stop() or 503)
    await bench.pipeline.run()
    assert bench.book.results == {}
    assert bench.book.given_back[1].requests == 1
    assert bench.book.given_back[1].effort.tries == 1


async def test_a_row_that_waits_holds_no_slot() -> None:
    """With one slot, the other rows are called while the first one waits for its retry."""
    called: list[str] = []

    def script(path: str, attempt: int) -> int:
        called.append(path)
        return 503 if path == "user-1" and attempt == 1 else 200

    bench = Bench(50, script, concurrency=1)
    await bench.pipeline.run()
    assert called.index("user-50") < len(called) - 1 - called[::-1].index("user-1")
    assert bench.server.most_in_flight == 1
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 50}


async def test_a_call_that_is_held_up_goes_at_another_turn_and_counts_as_none() -> None:
    """The server sees a call at each turn at most, whatever its connection took (promise 4)."""
    bench = Bench(8, lambda _, attempt: 200 if attempt == 2 else None, attempts=1)
    await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 8}
    assert {result.requests for result in bench.book.results.values()} == {1}
    assert sum(bench.slept) == 0.0
    assert bench.pacer.replies.count(None) >= 8
    assert sorted(bench.server.however_late) == [False] * 8 + [True] * 8, "late once, and not again"
    assert bench.pacer._slots._value == 4


async def test_a_row_that_is_protected_while_it_is_held_up_is_not_called() -> None:
    bench = Bench(1, lambda *_: bench.source.protected.add(1))
    await bench.pipeline.run()
    assert bench.server.attempts == {"user-1": 1}
    assert bench.book.outcomes() == {Outcome.EXCLUDED: 1}
    assert (bench.book.results[1].requests, bench.book.results[1].sent) == (0, False)


async def test_a_row_that_is_held_up_as_the_run_stops_goes_back_as_never_sent() -> None:
    bench = Bench(1, lambda *_: bench.pipeline.stop(), attempts=1)
    await bench.pipeline.run()
    assert bench.book.results == {}
    assert bench.book.given_back[1].requests == 0


async def test_a_wrong_run_stops_and_leaves_the_rest_pending() -> None:
    bench = Bench(500, lambda path, _: 401 if path == "user-50" else 200, concurrency=4)
    await bench.pipeline.run()
    assert bench.pipeline.halt is not None
    assert bench.pipeline.halt.kind is HaltKind.ANSWER
    assert 50 in bench.book.given_back
    assert bench.server.attempts.total() <= 50 + 4
    assert set(bench.source.claimed) == set(bench.book.results) | set(bench.book.given_back)
    assert not set(bench.book.results) & set(bench.book.given_back)


async def test_a_wrong_run_is_told_of_while_calls_are_still_in_flight() -> None:
    """Who is killed while they finish has taken the evidence back already."""
    bench = Bench(30, lambda *_: 404, concurrency=2)
    told, send, recorded = asyncio.Event(), bench.server.send, []

    async def hang_on_the_first(call, **how):  # noqa: ANN001, ANN003, ANN202 - a stand-in's own method
        if call.path == "user-1":
            await told.wait()
        return await send(call, **how)

    def hear(halt):  # noqa: ANN001, ANN202 - the same
        recorded.append((halt.kind, sorted(bench.book.results)))
        told.set()

    bench.server.send, bench.on_halt = hang_on_the_first, hear
    await bench.pipeline.run()
    assert recorded == [(HaltKind.STREAK, list(range(2, 22)))]
    assert sorted(bench.book.results) == list(range(1, 22))


async def test_an_unknown_host_at_the_start_is_a_matter_of_configuration() -> None:
    bench = Bench(100, lambda *_: Trouble.UNKNOWN_HOST, attempts=1)
    await bench.pipeline.run()
    assert bench.pipeline.halt is not None
    assert bench.pipeline.halt.kind is HaltKind.CONFIGURATION
    assert bench.book.results == {}


async def test_stop_gives_back_what_was_claimed() -> None:
    bench = Bench(1000, lambda *_: 200)
    running = asyncio.create_task(bench.pipeline.run())
    while len(bench.book.results) < 20:  # noqa: ASYNC110 - the stand-ins signal nothing
        await asyncio.sleep(0)
    bench.pipeline.stop()
    await running
    assert 20 <= len(bench.book.results) < 1000
    assert set(bench.source.claimed) == set(bench.book.results) | set(bench.book.given_back)


async def test_workers_that_wait_for_a_turn_go_home_when_nothing_is_left() -> None:
    bench = Bench(1, lambda *_: 200, concurrency=1)
    never = asyncio.Event()
    enter, turns = bench.pacer.enter, 0

    async def scarce() -> bool:
        nonlocal turns
        turns += 1
        if turns > 2:
            await never.wait()
        return await enter()

    bench.pacer.enter = scarce
    bench.pipeline._concurrency = 8
    async with asyncio.timeout(5):
        await bench.pipeline.run()
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 1}


async def test_no_turn_waits_for_the_disk() -> None:
    """Else the turns that a slow claim holds up would all be used at once when it ends: faster than told."""
    bench = Bench(100, lambda *_: 200, concurrency=8)
    disk, claim = asyncio.Event(), bench.source.claim

    async def stalled(limit: int) -> Sequence[Row]:
        if bench.book.results:
            await disk.wait()
        rows: Sequence[Row] = await claim(limit)
        return rows

    bench.source.claim = stalled
    run = asyncio.create_task(bench.pipeline.run())
    for _ in range(500):
        await asyncio.sleep(0)
    assert 0 < len(bench.book.results) < 100
    assert bench.pacer._slots._value == 8
    disk.set()
    await run
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 100}


async def test_a_broken_ledger_ends_everything() -> None:
    bench = Bench(100, lambda *_: 200)

    async def full() -> None:
        raise LedgerError("full")

    bench.book.room = full
    with pytest.RaisesGroup(LedgerError, LedgerError, LedgerError, LedgerError, flatten_subgroups=True):
        await bench.pipeline.run()


async def test_a_row_that_is_protected_after_it_was_claimed_is_not_called() -> None:
    bench = Bench(5, lambda *_: 200, concurrency=1)
    claim = bench.source.claim

    async def claim_then_protect(limit: int) -> Sequence[Row]:
        rows: Sequence[Row] = await claim(limit)
        bench.source.protected |= {row.number for row in rows} & {2, 4}
        return rows

    bench.source.claim = claim_then_protect
    await bench.pipeline.run()
    assert set(bench.server.attempts) == {"user-1", "user-3", "user-5"}
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 3, Outcome.EXCLUDED: 2}
    assert {bench.book.results[number].requests for number in (2, 4)} == {0}
    assert bench.pacer._slots._value == 1


async def test_a_row_that_is_protected_while_it_waits_for_its_retry_is_not_called_again() -> None:
    def fail_and_protect(path: str, _: int) -> int:
        bench.source.protected.add(1)
        return 503 if path == "user-1" else 200

    bench = Bench(2, fail_and_protect, concurrency=1)
    await bench.pipeline.run()
    assert bench.server.attempts == {"user-1": 1, "user-2": 1}
    first = bench.book.results[1]
    assert (first.verdict.outcome, first.verdict.error_code) == (Outcome.EXCLUDED, "protected")
    assert (first.requests, first.sent) == (1, True)
    assert bench.pacer._slots._value == 1


async def test_no_attempt_goes_while_outcomes_wait_for_the_disk() -> None:
    bench = Bench(1000, lambda _, attempt: 200 if attempt == 2 else 503, concurrency=4)
    stuck, waits = asyncio.Event(), asyncio.Event()

    async def room() -> None:
        if len(bench.book.results) >= 50:
            waits.set()
            await stuck.wait()

    bench.book.room = room
    running = asyncio.create_task(bench.pipeline.run())
    async with asyncio.timeout(5):
        await waits.wait()
    for _ in range(1000):
        await asyncio.sleep(0)
    assert 50 <= len(bench.book.results) <= 50 + 2 * 4  # those in flight, and those that had their turn
    stuck.set()
    await running
    assert bench.book.outcomes() == {Outcome.SUCCEEDED: 1000}


async def _break_while_claiming() -> None:
    bench = Bench(100, lambda *_: 200, concurrency=1)
    claim, broken = bench.source.claim, asyncio.Event()

    async def broken_claim(limit: int) -> Sequence[Row]:
        if bench.source.claimed:
            await broken.wait()
            raise LedgerError("full")
        rows: Sequence[Row] = await claim(limit)
        return rows

    async def no_room() -> None:
        broken.set()
        await asyncio.sleep(0)
        raise LedgerError("full")

    bench.source.claim, bench.book.room = broken_claim, no_room
    with contextlib.suppress(ExceptionGroup):
        await bench.pipeline.run()


def test_a_claim_that_fails_as_the_run_ends_is_nobodys_traceback(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(_break_while_claiming())
    gc.collect()
    assert caplog.messages == []
