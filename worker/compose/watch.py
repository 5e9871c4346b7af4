"""What can end or steer a session from outside its rows: the inbox, the deadline, a silence that lasts."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from worker.compose.engine import Engine
from worker.compose.sticking import RATE_COMMAND
from worker.compose.stopping import Stop, StopRequest
from worker.errors import BulkUnverifyError, UsageError
from worker.intake import load_protected
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


class ProtectedLists:
    """The protected lists on disk, read again when one of them changes (promise 11).

    Args:
        paths: The lists; none of them protects nobody.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._seen = self._stamps()

    @property
    def names(self) -> str:
        """The lists' file names, for the record."""
        return ", ".join(path.name for path in self._paths)

    def load(self) -> frozenset[str]:
        """Return the ids on the lists.

        Raises:
            InputError: One of them cannot be read.
        """
        return frozenset[str]().union(*map(load_protected, self._paths))

    def changed(self) -> bool:
        """Return whether a list changed since this was asked last."""
        stamps = self._stamps()
        changed = stamps != self._seen
        self._seen = stamps
        return changed

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]


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
        if self._protected.changed():
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
        try:
            ids = self._protected.load()
        except BulkUnverifyError as error:
            self._halt(f"the protected list changed and cannot be read: {error}")
            return
        await self._ledger.protect(ids)
        self._log.info("protected_list_read_again", ids=len(ids))

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
                self._engine.pause()
            case "continue":
                self._engine.resume()
            case "cancel":
                self._request.ask(Stop(RunState.CANCELLED, "cancelled from another shell"))
            case "rate":
                assert rate is not None
                self._engine.set_rate(rate)
                await self._ledger.keep_setting(RATE_COMMAND, str(rate))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
