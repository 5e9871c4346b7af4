"""Ports that do what a test tells them, and remember what was asked of them."""

from __future__ import annotations

import asyncio
import collections
import heapq
from collections.abc import Callable, Sequence

import msgspec

from worker.guard import Guard, Halt
from worker.model import (
    ANOTHER_USER,
    Answer,
    Attempt,
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
from worker.probe import PROBE
from worker.retry import RetryLimits


class Rows:
    """A source of rows 1 to `count`; time is counted, and passes when only rows that wait are left."""

    def __init__(self, count: int) -> None:
        self._left = collections.deque(Row(n, f"user-{n}", f"mail-{n}") for n in range(1, count + 1))
        self._waiting: list[tuple[float, int, Row]] = []
        self._out = 0
        self._closed = False
        self._changed = asyncio.Event()
        self.now = 0.0
        self.slept: list[float] = []
        """How long each row waited."""
        self.claimed: list[int] = []
        self.protected: set[int] = set()
        self.pending, self.failed = count, 0
        self.elsewhere = 0
        """How often a row from elsewhere was asked for."""

    async def claim(self, limit: int) -> Sequence[Row]:
        await asyncio.sleep(0)
        self.now += 0.01 * min(limit, len(self._left))
        if self._closed:
            return []
        taken: list[Row] = []
        while self._waiting and self._waiting[0][0] <= self.now and len(taken) < max(1, limit // 2):
            taken.append(heapq.heappop(self._waiting)[2])
        taken += [self._left.popleft() for _ in range(min(limit - len(taken), len(self._left)))]
        self.claimed += [row.number for row in taken]
        self._out += len(taken)
        return taken

    async def more(self) -> bool:
        while not self._closed:
            if self._waiting:
                self.now = max(self.now, self._waiting[0][0])
                return True
            if not self._out:
                return False
            self._changed.clear()
            await self._changed.wait()
        return False

    async def claim_elsewhere(self) -> Row | None:
        await asyncio.sleep(0)
        self.elsewhere += 1
        if not self._left or self._closed:
            return None
        self._out += 1
        self.claimed.append(self._left[-1].number)
        return self._left.pop()

    def allows(self, row: Row) -> bool:
        return row.number not in self.protected

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    def wait(self, each: Unfinished) -> None:
        """Take a row that was given back; what is given back without an effort is not claimed again."""
        self._out -= 1
        self._changed.set()
        if each.effort is not None and not self._closed:
            self.failed += each.row.effort is None
            row = msgspec.structs.replace(each.row, effort=each.effort, earlier_requests=each.requests)
            heapq.heappush(self._waiting, (self.now + each.effort.wait_s, row.number, row))
            self.slept.append(each.effort.wait_s)

    def finish(self, result: Result) -> None:
        self._out -= 1
        self._changed.set()
        self.pending -= 1
        self.failed -= result.row.effort is not None


class Echo:
    """An operation whose verdict is the reply's status."""

    name = "echo"

    def call(self, row: Row) -> Call:
        return Call("POST", row.user_id)

    def judge(self, row: Row, reply: Reply) -> Verdict:
        if isinstance(reply, NoAnswer):
            outcome = Outcome.UNCONFIRMED if reply.sent else Outcome.EXHAUSTED
            return Verdict(Decision.RETRY, outcome, None, str(reply.trouble), reply.detail)
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
        self.probes, self.answers_probes = 0, True
        self.in_flight = 0
        self.most_in_flight = 0
        self.distrusted: list[int] = []
        """The number of attempts at each `distrust`."""
        self.however_late: list[bool] = []
        """What each attempt was sent with."""

    async def send(self, call: Call, *, however_late: bool = False) -> Reply | None:
        if call == PROBE:
            self.probes += 1
            return Answer(200, {}, b"[]") if self.answers_probes else NoAnswer(Trouble.TIMEOUT, "", sent=True)
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
        self.answered = self.troubled = 0
        self.outages: set[int] = set()
        self.refuses: Callable[[Reply], bool] = lambda reply: (
            isinstance(reply, Answer) and reply.status == 429
        )
        self.replies: list[Reply | None] = []

    async def enter(self) -> bool:
        if self._closed:
            return False
        await self._slots.acquire()
        if self._closed:
            self._slots.release()
        return not self._closed

    def leave(self, reply: Reply | None, attempt: Attempt | None = None) -> bool:
        self.replies.append(reply)
        self._slots.release()
        if reply is None or attempt is None:
            return False
        if attempt.verdict.decision is Decision.FINAL:
            self.answered += 1
            self.troubled = 0
            return False
        refused = self.refuses(reply) and not attempt.sick
        self.troubled += not refused
        return refused

    def was_out(self, answered: int) -> bool:
        return answered in self.outages

    def pass_on(self) -> None:
        self.leave(None)

    def close(self) -> None:
        self._closed = True


class Book:
    """A recorder in memory."""

    def __init__(self, source: Rows) -> None:
        self._source = source
        self.results: dict[int, Result] = {}
        self.given_back: dict[int, Unfinished] = {}

    def record(self, result: Result) -> None:
        assert result.row.number not in self.results, "recorded twice"
        self.results[result.row.number] = result
        self.given_back.pop(result.row.number, None)
        self._source.finish(result)

    def give_back(self, rows: Sequence[Unfinished]) -> None:
        self.given_back |= {each.row.number: each for each in rows}
        for each in rows:
            self._source.wait(each)

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
        self.source, self.server = Rows(rows), Server(script)
        self.book = Book(self.source)
        self.pacer = Turns(concurrency)
        self.on_halt: Callable[[Halt], None] = lambda _: None
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
            jitter=lambda: 1.0,
        )

    @property
    def slept(self) -> list[float]:
        return self.source.slept

    def _clock(self) -> float:
        return self.source.now

    def _tell(self, halt: Halt) -> None:
        self.on_halt(halt)
