"""Who ends a session: only the first counts, and signals are heeded once in good order and once at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from worker.compose.stopping import Stop, StopRequest, heed_signals
from worker.model import RunState

HEEDED = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SAID = "Stopping: calls in flight finish and are recorded. A second signal ends it at once."

PATIENT = """
import asyncio
from worker.compose.stopping import StopRequest, heed_signals

async def main():
    with heed_signals(StopRequest(lambda: None), lambda line: print(line, flush=True)):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Session:
    """What a stop acts on: remembers how often it was told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told = 0
        self.stopping = asyncio.Event()
        self.request = StopRequest(self._stop)

    def _stop(self) -> None:
        self.told += 1
        self.stopping.set()


def test_the_first_stop_acts_and_later_ones_change_nothing() -> None:
    told: list[str] = []
    request = StopRequest(lambda: told.append("stop"))
    assert request.stop is None
    first = Stop(RunState.CANCELLED, "cancelled from another shell")
    request.ask(first)
    request.ask(Stop(RunState.HALTED, "the deadline was reached"))
    assert request.stop == first
    assert told == ["stop"]


def test_the_stop_is_known_before_it_acts() -> None:
    """The one who is told looks why."""
    seen: list[Stop | None] = []
    request = StopRequest(lambda: seen.append(request.stop))
    request.ask(Stop(RunState.HALTED, "why"))
    assert seen == [Stop(RunState.HALTED, "why")]


@pytest.mark.parametrize("number", HEEDED)
async def test_a_signal_stops_in_good_order(number: signal.Signals) -> None:
    session, said = Session(), list[str]()
    with heed_signals(session.request, said.append):
        os.kill(os.getpid(), number)
        await asyncio.wait_for(session.stopping.wait(), 10)
    assert session.request.stop == Stop(RunState.INTERRUPTED, f"interrupted by {number.name}")
    assert session.told == 1
    assert said == [SAID]


async def test_a_signal_stops_also_where_nobody_can_be_told() -> None:
    def broken_pipe(_: str) -> None:
        raise BrokenPipeError

    session = Session()
    with heed_signals(session.request, broken_pipe):
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(session.stopping.wait(), 10)
    assert session.request.stop == Stop(RunState.INTERRUPTED, "interrupted by SIGHUP")


async def test_a_signal_after_another_stop_does_not_become_the_reason() -> None:
    session, said = Session(), list[str]()
    heard = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    session.request.ask(Stop(RunState.HALTED, "the deadline was reached"))
    with heed_signals(session.request, say):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(heard.wait(), 10)
    assert session.request.stop == Stop(RunState.HALTED, "the deadline was reached")
    assert said == [SAID]
    assert session.told == 1


async def test_afterwards_signals_are_whose_they_were() -> None:
    def mine(*_: object) -> None: ...

    before = {number: signal.signal(number, mine) for number in HEEDED}
    try:
        with pytest.raises(RuntimeError, match="broke"), heed_signals(Session().request, print):
            raise RuntimeError("broke")
        assert [signal.getsignal(number) for number in HEEDED] == [mine] * 3
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def test_a_hang_up_that_nohup_keeps_away_stays_away() -> None:
    """A run that was started to outlive its terminal does."""
    session = Session()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heed_signals(session.request, print):
            os.kill(os.getpid(), signal.SIGHUP)
            for _ in range(5):
                await asyncio.sleep(0)  # a round of the loop, in which a signal would be heard
            assert session.request.stop is None
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(session.stopping.wait(), 10)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert session.request.stop == Stop(RunState.INTERRUPTED, "interrupted by SIGTERM")


def patient() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PATIENT], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("second", HEEDED)
def test_a_second_signal_ends_the_process_at_once(second: signal.Signals) -> None:
    with patient() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == SAID + "\n"
        process.send_signal(second)
        assert process.wait(10) == 130
