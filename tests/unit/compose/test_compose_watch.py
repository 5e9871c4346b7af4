"""What ends or steers a session from outside its rows; the ledger, the inbox and the pacer are the real ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest
import structlog
from structlog.testing import LogCapture
from unit.ledger.ledger_staging import look, plan, session

from worker.compose.engine import LocalEngine
from worker.compose.protected import PATIENCE_S, News, ProtectedLists
from worker.compose.stopping import Stop, StopRequest
from worker.compose.watch import Bounds, Watch
from worker.ledger import Command, RunFolder, RunLedger, facts, post_command
from worker.model import Answer, Attempt, Decision, Outcome, RunState, Verdict
from worker.pacing import AsyncPacer, RatePlan, parse_rate
from worker.pipeline import Pipeline
from worker.report.advice import lines

Name = Literal["pause", "continue", "cancel", "rate"]

PATIENT = Bounds(deadline_s=None, outage_patience_s=900.0)


class Situation:
    """A session of six rows that is being watched; `now` is the clock of the watch and of the pacer."""

    def __init__(self, folder: RunFolder, ledger: RunLedger, bounds: Bounds, exclude: Path | None) -> None:
        self.now = 1000.0
        self.folder, self.ledger = folder, ledger
        self.pacer = AsyncPacer(RatePlan(None, adaptive=False), concurrency=100, clock=lambda: self.now)
        self.stopped = 0
        self.request = StopRequest(self._stop)
        self.protected = ProtectedLists([exclude] if exclude else [], clock=lambda: self.now)
        self.protected.load()
        self._capture = LogCapture()
        log = structlog.wrap_logger(structlog.PrintLogger(), processors=[self._capture])
        self.watch = Watch(
            folder,
            ledger,
            LocalEngine(self.pacer, mock.create_autospec(Pipeline, instance=True)),
            self.request,
            bounds,
            self.protected,
            log,
            clock=lambda: self.now,
        )

    def _stop(self) -> None:
        self.stopped += 1

    async def look(self, *, after_s: float = 0.0) -> Stop | None:
        """Let time pass and let it look once."""
        self.now += after_s
        await self.watch._look()
        return self.request.stop

    async def answers(self, status: int, count: int = 20) -> None:
        """Have calls to different rows come back; without any answer for two seconds it is an outage."""
        for _ in range(count):
            assert await self.pacer.enter()
        final = status == 200
        decision = Decision.FINAL if final else Decision.RETRY
        verdict = Verdict(
            decision, Outcome.SUCCEEDED if final else Outcome.EXHAUSTED, status, "busy", "no time"
        )
        for row in range(1, count + 1):
            self.pacer.leave(Answer(status, {}, b""), Attempt(row, verdict, pending=100))

    @property
    def holds(self) -> bool:
        return self.pacer.status().why == "paused by the operator"

    def ask(self, name: Name, rate: str = "") -> None:
        post_command(self.folder.inbox, Command(name=name, rate=rate, operator="bo@host"))

    def recorded(self) -> list[str]:
        return [command for (command,) in look(self.folder, "SELECT command FROM commands ORDER BY id")]

    def logged(self) -> list[dict[str, Any]]:
        return [dict(entry) for entry in self._capture.entries]


@contextlib.asynccontextmanager
async def watched(
    tmp_path: Path, *, bounds: Bounds = PATIENT, exclude: Path | None = None
) -> AsyncIterator[Situation]:
    folder = plan(tmp_path, 6)
    async with session(folder) as ledger:
        yield Situation(folder, ledger, bounds, exclude)


async def test_a_quiet_session_is_left_alone(tmp_path: Path) -> None:
    async with watched(tmp_path) as here:
        assert await here.look(after_s=10**6) is None
        assert here.recorded() == []
        assert here.logged() == []
        assert here.pacer.status().why == "as asked for"


async def test_pause_and_continue_act_on_the_pacer_and_are_recorded(tmp_path: Path) -> None:
    async with watched(tmp_path) as here:
        here.ask("pause")
        assert await here.look() is None
        assert here.pacer.status().why == "paused by the operator"
        here.ask("continue")
        assert await here.look(after_s=30.0) is None
        assert here.pacer.status().why == "as asked for"
        assert here.pacer.silent_s == 0.0
        assert here.recorded() == ["pause (by bo@host)", "continue (by bo@host)"]
        assert here.logged() == [
            {"command": "pause (by bo@host)", "event": "steered", "log_level": "info"},
            {"command": "continue (by bo@host)", "event": "steered", "log_level": "info"},
        ]


async def test_commands_of_one_look_are_applied_in_their_order(tmp_path: Path) -> None:
    async with watched(tmp_path) as here:
        here.ask("rate", "5/s")
        here.ask("pause")
        here.ask("rate", "60/m")
        await here.look()
        assert here.pacer.status().rate_per_s == 1.0
        assert here.recorded() == ["rate 5/s (by bo@host)", "pause (by bo@host)", "rate 60/m (by bo@host)"]
        await here.look()
        assert len(here.recorded()) == 3, "a command is applied once"


async def test_cancel_ends_the_session(tmp_path: Path) -> None:
    async with watched(tmp_path) as here:
        here.ask("cancel")
        assert await here.look() == Stop(RunState.CANCELLED, "cancelled from another shell")
        assert here.stopped == 1
        assert here.recorded() == ["cancel (by bo@host)"]


async def test_a_rate_that_is_none_neither_ends_the_session_nor_counts_as_applied(tmp_path: Path) -> None:
    """The command line checks what it posts; a file that was left by hand must not break a run."""
    async with watched(tmp_path) as here:
        here.pacer.set_rate(parse_rate("7/s"))
        here.ask("rate", "fast")
        here.ask("pause")
        assert await here.look() is None
        assert here.pacer.status().rate_per_s == 7.0
        assert here.recorded() == ["pause (by bo@host)"]
        assert here.logged()[0] == {
            "event": "not_steered",
            "log_level": "warning",
            "command": "rate fast (by bo@host)",
            "error": "'fast' is not a rate. Write for example 50/s, 3000/m, auto or unlimited.",
        }


async def test_the_deadline_halts(tmp_path: Path) -> None:
    async with watched(tmp_path, bounds=Bounds(deadline_s=90.0, outage_patience_s=900.0)) as here:
        assert await here.look(after_s=89.9) is None
        assert await here.look(after_s=0.1) == Stop(
            RunState.HALTED,
            "the deadline of 1m30s was reached. Go on with a later --deadline, or without one",
        )
        await here.look(after_s=100.0)
        assert here.stopped == 1


async def test_an_outage_halts_once_the_patience_is_spent(tmp_path: Path) -> None:
    async with watched(tmp_path, bounds=Bounds(deadline_s=None, outage_patience_s=60.0)) as here:
        await here.look(after_s=500.0)
        await here.answers(503)
        assert here.pacer.in_outage
        assert await here.look(after_s=59.9) is None
        assert await here.look(after_s=0.1) == Stop(
            RunState.HALTED,
            "the tenant gave no row a final answer for 1m00s: 20 × 503 busy: no time. Go on once it does;"
            " --outage-patience says how long a run waits",
        )


async def test_an_outage_is_recorded_with_what_was_met_when_it_opens_and_when_it_is_over(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as here:
        await here.look(after_s=500.0)
        await here.answers(503)
        await here.look()
        with here.folder.lock():
            known = facts(here.folder)
        assert known.outage is not None
        assert (known.outage.met, known.outage.until) == ("20 × 503 busy: no time", None)
        assert any(
            "Outage since 20" in line and "20 × 503" in line for line in lines(known, here.folder.path)
        )
        assert "20 × 503 busy: no time" in here.pacer.status().text
        here.now += 30.0  # a probe may go
        await here.answers(200, 1)
        await here.look()
        known = facts(here.folder)
        assert known.outage is not None
        assert known.outage.until is not None
        assert not any("Outage since" in line for line in lines(known, here.folder.path))
        assert [entry["event"] for entry in here.logged()] == ["outage_began", "outage_ended"]


async def test_an_operators_pause_takes_nothing_from_the_patience(tmp_path: Path) -> None:
    async with watched(tmp_path, bounds=Bounds(deadline_s=None, outage_patience_s=60.0)) as here:
        await here.look(after_s=500.0)
        await here.answers(503)
        here.ask("pause")
        assert await here.look(after_s=9.0) is None
        assert await here.look(after_s=1000.0) is None
        here.ask("continue")
        assert await here.look() is None
        assert await here.look(after_s=50.9) is None
        assert await here.look(after_s=0.1) is not None


async def test_an_outage_that_ends_in_time_does_not(tmp_path: Path) -> None:
    async with watched(tmp_path, bounds=Bounds(deadline_s=None, outage_patience_s=60.0)) as here:
        await here.answers(503)
        here.now += 59.0
        await here.answers(200, count=1)
        assert await here.look(after_s=300.0) is None


async def test_a_deadline_in_an_outage_is_told_as_the_deadline(tmp_path: Path) -> None:
    async with watched(tmp_path, bounds=Bounds(deadline_s=60.0, outage_patience_s=60.0)) as here:
        await here.answers(503)
        assert await here.look(after_s=61.0) == Stop(
            RunState.HALTED,
            "the deadline of 1m00s was reached. Go on with a later --deadline, or without one",
        )


async def test_whoever_joins_the_protected_list_is_not_claimed_any_more(tmp_path: Path) -> None:
    exclude = tmp_path / "protected.txt"
    exclude.write_text("nobody\n")
    async with watched(tmp_path, exclude=exclude) as here:
        assert await here.look() is None
        assert here.logged() == []
        exclude.write_text("nobody\nu2\ni3\n")
        assert await here.look() is None
        assert here.holds, "it may be written still"
        assert await here.look() is None
        assert not here.holds
        assert [entry["event"] for entry in here.logged()] == [
            "protected_list_read_again",
            "protected_list_changes",
        ]
        assert here.logged()[0]["ids"] == 3
        assert [row.number for row in await here.ledger.claim(9)] == [1, 4, 5, 6]
        await here.look()
        assert len(here.logged()) == 2, "it is read again when it changes, not at each look"


@pytest.mark.parametrize("content", [b"u1 u2\n", b"", b"u1\n\xe9t\xe9\n", None])
async def test_a_protected_list_that_breaks_holds_everybody_and_halts_after_ten_seconds(
    tmp_path: Path, content: bytes | None
) -> None:
    exclude = tmp_path / "protected.txt"
    exclude.write_text("u1\n")
    async with watched(tmp_path, exclude=exclude) as here:
        if content is None:
            exclude.unlink()
        else:
            exclude.write_bytes(content)
        assert await here.look() is None
        assert here.holds
        assert await here.look(after_s=PATIENCE_S - 0.1) is None
        assert here.holds
        stop = await here.look(after_s=0.1)
        assert stop is not None
        assert stop.state is RunState.HALTED
        assert stop.reason.startswith("the protected list changed and could not be read for 10s")
        assert str(exclude) in stop.reason


@pytest.mark.parametrize("content", [b"", None, b"u1\n\xe9t\xe9\n"])
async def test_a_protected_list_that_is_rewritten_in_time_ends_nothing(
    tmp_path: Path, content: bytes | None
) -> None:
    exclude = tmp_path / "protected.txt"
    exclude.write_text("u1\n")
    async with watched(tmp_path, exclude=exclude) as here:
        if content is None:
            exclude.unlink()
        else:
            exclude.write_bytes(content)
        assert await here.look() is None
        exclude.write_text("u1\nu5\n")
        assert await here.look(after_s=9.0) is None
        assert here.holds
        assert await here.look(after_s=0.25) is None
        assert not here.holds
        assert [row.number for row in await here.ledger.claim(9)] == [2, 3, 4, 6]
        exclude.unlink()
        assert await here.look(after_s=5.0) is None, "the patience is counted anew"


@pytest.mark.parametrize("half", ["u1\nu2\n", "u1\nu2\nu3"])
async def test_half_a_list_holds_everybody_until_it_is_whole_or_ten_seconds_have_passed(
    tmp_path: Path, half: str
) -> None:
    exclude = tmp_path / "protected.txt"
    exclude.write_text("u1\nu2\nu3\n")
    async with watched(tmp_path, exclude=exclude) as here:
        exclude.write_text(half)
        for _ in range(4):
            assert await here.look(after_s=2.0) is None
            assert here.holds
        exclude.write_text("u1\nu2\nu3\nu4\n")
        await here.look()
        assert await here.look() is None
        assert not here.holds
        exclude.write_text(half)
        await here.look()
        await here.look(after_s=PATIENCE_S)
        assert not here.holds, "somebody took ids off, which stay protected"
        assert [row.number for row in await here.ledger.claim(9)] == [5, 6]


async def test_a_pause_outlasts_a_list_that_changes_and_the_other_way_round(tmp_path: Path) -> None:
    exclude = tmp_path / "protected.txt"
    exclude.write_text("u1\n")
    async with watched(tmp_path, exclude=exclude) as here:
        here.ask("pause")
        await here.look()
        exclude.write_text("u1\nu2\n")
        await here.look()
        await here.look()
        assert here.holds
        here.ask("continue")
        exclude.write_text("")
        await here.look()
        assert here.holds
        exclude.write_text("u1\nu2\n")
        await here.look()
        await here.look()
        assert not here.holds


async def test_it_looks_at_once_and_until_it_is_cancelled(tmp_path: Path) -> None:
    async with watched(tmp_path) as here:
        here.ask("cancel")
        stopping = asyncio.Event()
        here.watch._request = StopRequest(stopping.set)
        watching = asyncio.create_task(here.watch.run())
        await asyncio.wait_for(stopping.wait(), 10)
        assert not watching.done()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching


async def test_no_protected_list_protects_nobody_and_never_changes() -> None:
    none = ProtectedLists([])
    assert none.load() == frozenset()
    assert await none.look() == News()


async def test_of_several_protected_lists_every_one_counts_and_any_one_can_change(tmp_path: Path) -> None:
    paths = [tmp_path / "first.txt", tmp_path / "second.txt"]
    for path in paths:
        path.write_text(f"{path.stem}\n")
    protected = ProtectedLists(paths)
    assert protected.load() == {"first", "second"}
    assert protected.names == "first.txt, second.txt"
    for path in paths:
        path.write_text(f"{path.stem}\nmore\n")
        assert await protected.look() == News(frozenset({"first", "second", "more"}), holds=True)
        assert await protected.look() == News()


async def test_a_protected_list_is_known_by_time_size_and_identity(tmp_path: Path) -> None:
    path = tmp_path / "protected.txt"
    path.write_text("u1\n")
    os.utime(path, ns=(10**18, 10**18))
    protected = ProtectedLists([path])
    assert protected.load() == {"u1"}

    async def settled() -> frozenset[str] | None:
        first = await protected.look()
        while (await protected.look()).holds:
            pass
        return first.keys

    assert await settled() is None
    path.write_text("u1\nu2\n")
    assert await settled() == {"u1", "u2"}, "its size and time"

    os.utime(path, ns=(10**18, 10**18))
    assert await settled() == {"u1", "u2"}, "its time"

    other = tmp_path / "other.txt"
    other.write_text("u1\nu3\nu2\n")
    os.utime(other, ns=(10**18, 10**18))
    other.replace(path)
    assert await settled() == {"u1", "u2", "u3"}, "another file in its place"

    path.unlink()
    assert await protected.look() == News(holds=True), "gone"
