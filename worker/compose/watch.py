"""What can end or steer a session from outside its rows: the inbox, the deadline, a silence that lasts."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Final

import structlog

from worker.compose.engine import Engine
from worker.compose.protected import PATIENCE_S, ProtectedLists
from worker.compose.sticking import RATE_COMMAND
from worker.compose.stopping import Stop, StopRequest
from worker.errors import UsageError
from worker.ledger import Command, RunFolder, RunLedger, Taken, take_commands
from worker.model import RunState
from worker.pacing import parse_rate
from worker.units import format_duration

_EVERY_S: Final = 0.25


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """How long a session may take.

    Attributes:
        deadline_s: Seconds from its start, or None.
        outage_patience_s: Seconds for which nobody may answer.
    """

    deadline_s: float | None
    outage_patience_s: float


class Watch:
    """Looks around four times a second while the pipeline works.

    Args:
        folder: The run, whose inbox is read.
        ledger: Where applied commands are recorded.
        engine: What pause, continue and rate act on, and what may be silent.
        request: Asked to stop the session.
        bounds: How long it may take.
        protected: The protected lists.
        log: Where it says what it did.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        folder: RunFolder,
        ledger: RunLedger,
        engine: Engine,
        request: StopRequest,
        bounds: Bounds,
        protected: ProtectedLists,
        log: structlog.typing.FilteringBoundLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._engine = engine
        self._request = request
        self._bounds = bounds
        self._protected = protected
        self._log = log
        self._clock = clock
        self._began = clock()
        self._is_out = False
        self._looking: asyncio.Task[Taken] | None = None
        self._unread: frozenset[str] = frozenset()
        self._paused = False
        """Whether an operator has it wait."""
        self._held = False
        """Whether a protected list does."""
        self._waits = False
        """Whether the engine was told to."""

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            LedgerError: An applied command could not be recorded.
        """
        while True:
            await self._look()
            await asyncio.sleep(_EVERY_S)

    async def _look(self) -> None:
        await self._look_into_inbox()
        now = self._clock()
        deadline_s, patience_s = self._bounds.deadline_s, self._bounds.outage_patience_s
        silent_s, who = self._engine.silence
        if deadline_s is not None and now - self._began >= deadline_s:
            self._halt(
                f"the deadline of {format_duration(deadline_s)} was reached. Go on with a later --deadline, or"
                " without one"
            )
        elif silent_s >= patience_s:
            self._halt(who.format(time=format_duration(patience_s)))
        await self._note_outage(silent_s)
        await self._protect()

    async def _note_outage(self, silent_s: float) -> None:
        """Record when the tenant is taken to be out, with what attempts met, and when it is back."""
        met = self._engine.outage
        if bool(met) is self._is_out:
            return
        self._is_out = bool(met)
        if met:
            self._log.warning("outage_began", met=met)
        else:
            self._log.info("outage_ended")
        await self._ledger.note_outage(met, silent_s)

    async def _look_into_inbox(self) -> None:
        """Take what lies there, or go on looking the next time: a disk of the network may not answer."""
        if self._looking is None:
            self._looking = asyncio.create_task(asyncio.to_thread(take_commands, self._folder.inbox))
        await asyncio.wait([self._looking], timeout=_EVERY_S)
        if not self._looking.done():
            return
        taken, self._looking = self._looking.result(), None
        for told in taken.unread:
            if told not in self._unread:
                self._log.warning("inbox_not_read", what=told)
        self._unread = frozenset(taken.unread)
        for command in taken.commands:
            await self._apply(command)

    async def _protect(self) -> None:
        news = await self._protected.look()
        if news.keys is not None:
            await self._ledger.protect(news.keys)
            self._log.info("protected_list_read_again", ids=len(news.keys))
        if news.holds and not self._held:
            self._log.warning("protected_list_changes", effect="nobody is called until it can be read whole")
        self._held = news.holds
        self._hold()
        if news.error is not None:
            self._halt(
                f"the protected list changed and could not be read for {format_duration(PATIENCE_S)}, in which"
                f" nobody was called: {news.error}"
            )

    def _hold(self) -> None:
        """Let nobody be called while an operator's pause lasts or a protected list is being rewritten."""
        waits = self._paused or self._held
        if waits is not self._waits:
            self._waits = waits
            (self._engine.pause if waits else self._engine.resume)()

    def _halt(self, reason: str) -> None:
        self._request.ask(Stop(RunState.HALTED, reason))

    async def _apply(self, command: Command) -> None:
        try:
            rate = parse_rate(command.rate) if command.name == "rate" else None
        except UsageError as error:  # whoever left it by hand does not end the session with it
            self._log.warning("not_steered", command=str(command), error=str(error))
            return
        if rate is not None and not self._engine.keeps_rate:
            self._log.warning("not_steered", command=str(command), error="the queue's workers keep the rate")
            return
        await self._ledger.note_command(str(command))
        self._log.info("steered", command=str(command))
        match command.name:
            case "pause":
                self._paused = True
                self._hold()
            case "continue":
                self._paused = False
                self._hold()
            case "cancel":
                self._request.ask(Stop(RunState.CANCELLED, "cancelled from another shell"))
            case "rate":
                assert rate is not None
                self._engine.set_rate(rate)
                await self._ledger.keep_setting(RATE_COMMAND, str(rate))
