"""Why a session ends before its rows do: a person, a deadline, an outage that outlasts the patience."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from typing import Final

from worker.model import RunState

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED_EXIT: Final = 130


@dataclasses.dataclass(frozen=True, slots=True)
class Stop:
    """How a session was ended from outside its rows.

    Attributes:
        state: What the run's state becomes.
        reason: One sentence for people.
    """

    state: RunState
    reason: str


class StopRequest:
    """The first stop that was asked for; later ones change nothing.

    Args:
        act: Called once, when the first stop arrives.
    """

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self.stop: Stop | None = None

    def ask(self, stop: Stop) -> None:
        """Ask for `stop`."""
        if self.stop is None:
            self.stop = stop
            self._act()


@contextlib.contextmanager
def heed_signals(request: StopRequest, say: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into an orderly stop; a second one ends the process at once.

    Ending at once is safe: what is on disk is complete, and what was in flight is known (promise 3).
    """
    loop = asyncio.get_running_loop()
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        if received:
            os._exit(INTERRUPTED_EXIT)
        received.append(number)
        request.ask(Stop(RunState.INTERRUPTED, f"interrupted by {number.name}"))
        with contextlib.suppress(OSError):  # the terminal may be what ended, and the signal its last word
            say("Stopping: calls in flight finish and are recorded. A second signal ends it at once.")

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]  # nohup: the run is to outlive its terminal
    for number in before:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
