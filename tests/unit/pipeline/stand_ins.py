"""Ports that do what a test tells them, and remember what was asked of them."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Sequence

from worker.guard import Guard, Halt
from worker.model import (
    ANOTHER_USER,
    Answer,
    Call,
    Decision,
    NoAnswer,
    Outcome,
    Reply,
    Result,
    Row,
    Trouble,
    Unfinished,
    Verdict,
)
from worker.pipeline import Pipeline, Ports
from worker.retry import RetryLimits


class Rows:
    """A source of rows 1 to `count`."""

    def __init__(self, count: int) -> None:
        self._left = collections.deque(Row(n, f"user-{n}", f"mail-{n}") for n in range(1, count + 1))
        self.claimed: list[int] = []
        self.protected: set[int] = set()

    async def claim(self, limit: int) -> Sequence[Row]:
        await asyncio.sleep(0)
        taken = [self._left.popleft() for _ in range(min(limit, len(self._left)))]
        self.claimed += [row.number for row in taken]
        return taken

    def allows(self, row: Row) -> bool:
        return row.number not in self.protected


class Echo:
    """An operation whose verdict is the reply's status."""

    name = "echo"

    def call(self, row: Row) -> Call:
        return Call("POST", row.user_id)

    def judge(self, row: Row, reply: Reply) -> Verdict:
        if isinstance(reply, NoAnswer):
            return Verdict(Decision.RETRY, Outcome.EXHAUSTED, None, str(reply.trouble), reply.detail)
        table = {
            200: (Decision.FINAL, Outcome.SUCCEEDED),
            204: (Decision.FINAL, Outcome.UNCONFIRMED),
            206: (Decision.FINAL, Outcome.UNCONFIRMED),
            401: (Decision.HALT, Outcome.PENDING),
            404: (Decision.FINAL, Outcome.NOT_FOUND),
            429: (Decision.THROTTLED, Outcome.EXHAUSTED),
            503: (Decision.RETRY, Outcome.EXHAUSTED),
        }
        decision, outcome = table[reply.status]
        return Verdict(decision, outcome, reply.status, ANOTHER_USER if reply.status == 206 else "")


class Server:
    """A transport that answers as `script` says: (row's path, number of the attempt) to a status.

    None stands for a call that was held up.
    """

    def __init__(self, script: Callable[[str, int], int | Trouble | None]) -> None:
        self._script = script
        self.attempts: collections.Counter[str] = collections.Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self.distrusted: list[int] = []
        """The number of attempts at each `distrust`."""
        self.however_late: list[bool] = []
        """What each attempt was sent with."""

    async def send(self, call: Call, *, however_late: bool = False) -> Reply | None:
        self.attempts[call.path] += 1
        self.however_late.append(however_late)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        answer = self._script(call.path, self.attempts[call.path])
        if answer is None:
            return None
        if isinstance(answer, Trouble):
            return NoAnswer(answer, "made up", sent=answer is Trouble.TIMEOUT)
        return Answer(answer, {}, b"")

    def distrust(self) -> None:
        self.distrusted.append(self.attempts.total())


class Turns:
    """A pacer that only bounds how many are in flight."""

    def __init__(self, concurrency: int) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._closed = False
        self.in_outage = False
        self.paused_s = 0.0
        self.replies: list[Reply | None] = []

    async def enter(self) -> bool:
        if self._closed:
            return False
        await self._slots.acquire()
        if self._closed:
            self._slots.release()
        return not self._closed

    def leave(self, reply: Reply | None) -> None:
        self.replies.append(reply)
        self._slots.release()

    def pass_on(self) -> None:
        self.leave(None)

    def close(self) -> None:
        self._closed = True


class Book:
    """A recorder in memory."""

    def __init__(self) -> None:
        self.results: dict[int, Result] = {}
        self.given_back: dict[int, Unfinished] = {}

    def record(self, result: Result) -> None:
        assert result.row.number not in self.results, "recorded twice"
        self.results[result.row.number] = result

    def give_back(self, rows: Sequence[Unfinished]) -> None:
        self.given_back |= {each.row.number: each for each in rows}

    async def room(self) -> None:
        """There is always room in memory."""

    async def flush(self) -> None:
        """Memory needs no flushing."""

    def outcomes(self) -> collections.Counter[Outcome]:
        return collections.Counter(result.verdict.outcome for result in self.results.values())


class Bench:
    """A pipeline on stand-ins."""

    def __init__(
        self,
        rows: int,
        script: Callable[[str, int], int | Trouble | None],
        *,
        concurrency: int = 4,
        attempts: int = 3,
        time_limit_s: float = 1000.0,
        max_failures: float = 1.0,
    ) -> None:
        self.source, self.server, self.book = Rows(rows), Server(script), Book()
        self.pacer = Turns(concurrency)
        self.on_halt: Callable[[Halt], None] = lambda _: None
        self.now = 0.0
        ports = Ports(self.source, Echo(), self.server, self.pacer, self.book, lambda _: 0.0)
        guard = Guard(max_failures=max_failures, accept=frozenset())
        limits = RetryLimits(attempts, time_limit_s)
        self.pipeline = Pipeline(
            ports,
            guard,
            limits,
            concurrency=concurrency,
            on_halt=self._tell,
            monotonic=self._clock,
            wall=self._clock,
            sleep=self._sleep,
        )
        self.slept: list[float] = []

    def _clock(self) -> float:
        return self.now

    def _tell(self, halt: Halt) -> None:
        self.on_halt(halt)

    async def _sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now += delay_s
        await asyncio.sleep(0)
