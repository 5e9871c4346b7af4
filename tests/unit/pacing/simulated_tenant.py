"""A tenant behind a limiter, and a client that calls it, on a clock of numbers.

The limiter may count in any way, refuse in any dress and tell anything in its headers; the tenant may have sick rows,
stray refusals and outages. The client does with rows what the pipeline does; what is under test is the governor.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import itertools
import math
import random
from collections.abc import Callable
from typing import Protocol

from multidict import CIMultiDict

from worker.model import Answer, NoAnswer, Reply, Trouble
from worker.pacing.governor import Governor
from worker.pacing.plan import RatePlan

EPOCH = 1_800_000_000.0
TIMEOUT_S = 10.0
_TIMER_S = 0.001
_OK = Answer(200, CIMultiDict(), b"")
_REFUSED_BEFORE_SICK = 5
_ATTEMPTS = 5


@dataclasses.dataclass(frozen=True)
class Word:
    """What a limiter says of one call.

    Attributes:
        ok: Whether it goes through.
        delay_s: How long it is kept waiting before.
        left: How many more would go through now.
        reset_s: Seconds until the count is as new.
        retry_s: Seconds until a call may go through.
    """

    ok: bool
    delay_s: float = 0.0
    left: int = 0
    reset_s: float = 0.0
    retry_s: float = 0.0


class Limit(Protocol):
    """Counts calls; `under_way` are those that the tenant works on."""

    def see(self, at: float, under_way: int) -> Word: ...


class Bucket:
    """Refills evenly; `block_s`: refuses everything for so long after a refusal."""

    def __init__(self, per_s: float, burst: float, block_s: float = 0.0) -> None:
        self._per_s, self._burst, self._block_s = per_s, burst, block_s
        self._tokens, self._at, self._blocked_until = burst, 0.0, 0.0

    def see(self, at: float, under_way: int) -> Word:
        if at < self._blocked_until:
            return Word(False, retry_s=self._blocked_until - at)
        self._tokens = min(self._burst, self._tokens + (at - self._at) * self._per_s)
        self._at = at
        if self._tokens < 1.0:
            self._blocked_until = at + self._block_s
            return Word(False, retry_s=max((1.0 - self._tokens) / self._per_s, self._block_s))
        self._tokens -= 1.0
        return Word(True, left=int(self._tokens), reset_s=(self._burst - self._tokens) / self._per_s)


class Leaky:
    """nginx's `limit_req` with a burst that waits its turn; what is beyond is refused."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst, self._excess, self._at = per_s, burst, 0.0, 0.0

    def see(self, at: float, under_way: int) -> Word:
        excess = max(0.0, self._excess - (at - self._at) * self._per_s) + (self._at > 0.0)
        if excess > self._burst:
            return Word(False)
        self._excess, self._at = excess, at
        return Word(True, delay_s=excess / self._per_s)


class Fixed:
    """Counts from zero in each window, which begins on the clock or with the first call after the last one."""

    def __init__(self, quota: int, window_s: float, *, first_hit: bool = True, phase_s: float = 0.0) -> None:
        self._quota, self._window_s, self._first_hit = quota, window_s, first_hit
        self._ends, self._count = (-math.inf if first_hit else phase_s), 0

    def see(self, at: float, under_way: int) -> Word:
        if at >= self._ends:
            self._count = 0
            late_s = 0.0 if self._first_hit else (at - self._ends) % self._window_s
            self._ends = at - late_s + self._window_s
        self._count += 1
        left, reset_s = max(0, self._quota - self._count), self._ends - at
        return Word(self._count <= self._quota, left=left, reset_s=reset_s, retry_s=reset_s)


class Moving:
    """Never more than the quota in any window; may count what it refuses as well."""

    def __init__(self, quota: int, window_s: float, *, counts_refused: bool = False) -> None:
        self._quota, self._window_s, self._counts_refused = quota, window_s, counts_refused
        self._seen: collections.deque[float] = collections.deque()

    def see(self, at: float, under_way: int) -> Word:
        while self._seen and self._seen[0] + self._window_s <= at:
            self._seen.popleft()
        ok = len(self._seen) < self._quota
        if ok or self._counts_refused:
            self._seen.append(at)
        left = max(0, self._quota - len(self._seen))
        return Word(ok, left=left, reset_s=self._window_s, retry_s=self._seen[0] + self._window_s - at)


class AtOnce:
    """So many calls at once."""

    def __init__(self, most: int) -> None:
        self._most = most

    def see(self, at: float, under_way: int) -> Word:
        return Word(under_way < self._most)


class Nothing:
    """No limit."""

    def see(self, at: float, under_way: int) -> Word:
        return Word(True)


Headers = Callable[[Word, float], dict[str, str]]


def silent(_word: Word, _epoch: float) -> dict[str, str]:
    """Tell nothing."""
    return {}


def retry_after(word: Word, _epoch: float) -> dict[str, str]:
    """Tell when to come again, with a refusal."""
    return {} if word.ok else {"Retry-After": str(math.ceil(word.retry_s))}


def legacy(quota: int) -> Headers:
    """Return what express-rate-limit tells: the reset as a moment, rounded up."""

    def headers(word: Word, epoch: float) -> dict[str, str]:
        told = {
            "X-RateLimit-Limit": str(quota),
            "X-RateLimit-Remaining": str(word.left),
            "X-RateLimit-Reset": str(math.ceil(epoch + word.reset_s)),
        }
        return told | retry_after(word, epoch)

    return headers


@dataclasses.dataclass
class Tenant:
    """What answers.

    Attributes:
        limit: Its limiter.
        dress: How that refuses: a status, or what becomes of the connection.
        headers: What it tells.
        latency_s: How long the tenant works on a call.
        varies: By which share that varies.
        refusal_s: How long a refusal takes.
        sick: Which rows it always answers with `sick_status`.
        stray_every_s: One refusal each so many seconds, whatever the rate.
        stray_share: And such a share of the calls.
        outages: Spans in which each connection breaks.
        counted_late: Whether a call that was given up still counts as under way.
    """

    limit: Limit
    dress: int | Trouble = 429
    headers: Headers = silent
    latency_s: float = 0.01
    varies: float = 0.2
    refusal_s: float = 0.002
    sick: Callable[[int], bool] = lambda _row: False
    sick_status: int = 500
    stray_every_s: float = math.inf
    stray_share: float = 0.0
    outages: tuple[tuple[float, float], ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._strayed_at = 0.0
        self._under_way: list[float] = []

    def answer(self, at: float, row: int) -> tuple[Reply, float]:
        """Return the reply and how long it takes."""
        if any(begin <= at < end for begin, end in self.outages):
            return NoAnswer(Trouble.CONNECT, "refused", sent=False), 0.001
        while self._under_way and self._under_way[0] <= at:
            heapq.heappop(self._under_way)
        word = self.limit.see(at, len(self._under_way))
        if not word.ok or self._is_stray(at):
            return self._refusal(dataclasses.replace(word, ok=False), at), self._refusal_s()
        took_s = word.delay_s + self.latency_s * self._chance.uniform(1.0 - self.varies, 1.0 + self.varies)
        heapq.heappush(self._under_way, at + took_s)
        headers = CIMultiDict(self.headers(word, EPOCH + at))
        if self.sick(row):
            return Answer(self.sick_status, headers, b""), 0.005
        return Answer(200, headers, b""), took_s

    def _is_stray(self, at: float) -> bool:
        if at - self._strayed_at >= self.stray_every_s:
            self._strayed_at = at
            return True
        return self._chance.random() < self.stray_share

    def _refusal(self, word: Word, at: float) -> Reply:
        if isinstance(self.dress, Trouble):
            return NoAnswer(self.dress, "broke off", sent=True)
        return Answer(self.dress, CIMultiDict(self.headers(word, EPOCH + at)), b"")

    def _refusal_s(self) -> float:
        return TIMEOUT_S if self.dress is Trouble.TIMEOUT else self.refusal_s


@dataclasses.dataclass
class Row:
    """A row on its way."""

    number: int
    refused: int = 0
    charged: int = 0
    tried: int = 0
    answered_then: int = -1
    done: str = ""


@dataclasses.dataclass
class Seen:
    """What came of it: for each call when it was sent, whether it brought a final answer, and how it went."""

    calls: list[tuple[float, bool, str]]
    rows: list[Row]
    rates: list[tuple[float, float, str]]
    ended_at: float

    def good(self, from_s: float, to_s: float) -> int:
        return sum(ok for at, ok, _ in self.calls if from_s <= at < to_s)

    def bad(self, from_s: float, to_s: float) -> int:
        return sum(not ok for at, ok, _ in self.calls if from_s <= at < to_s)

    def refused(self, from_s: float, to_s: float) -> float:
        """The share of the calls that were not answered."""
        bad, good = self.bad(from_s, to_s), self.good(from_s, to_s)
        return bad / max(1, bad + good)

    @property
    def exhausted(self) -> list[Row]:
        return [row for row in self.rows if row.done == "exhausted"]


class Client:
    """Calls a tenant, as the pipeline does; see `run`."""

    def __init__(
        self, tenant: Tenant, plan: RatePlan, *, rows: int | None, concurrency: int, seed: int
    ) -> None:
        self._tenant, self._concurrency = tenant, concurrency
        self._chance = random.Random(seed)
        self._now = 0.0
        self.governor = Governor(plan, 0.0, lambda: EPOCH + self._now)
        self._numbers = iter(range(1, rows + 1)) if rows else itertools.count(1)
        self._again: list[tuple[float, int, Row]] = []
        self._replies: list[tuple[float, int, float, Row, Reply]] = []
        self._answered = 0
        self.seen = Seen([], [], [], 0.0)

    def run(self, duration_s: float) -> Seen:
        """Return what happened in so many seconds, or until every row has its outcome."""
        wake_at, look_at = 0.0, 0.0
        while self._now < duration_s:
            self._now = min(wake_at, self._replies[0][0] if self._replies else math.inf)
            if self._now >= look_at:
                rate = self.governor.rate_per_s(self._now) or math.inf
                self.seen.rates.append((self._now, rate, self.governor.why(self._now)))
                look_at = self._now + 0.25
            while self._replies and self._replies[0][0] <= self._now:
                self._receive()
            wake_at = self._send_all()
            if wake_at == math.inf and not self._replies:
                break
        self.seen.ended_at = self._now
        self.seen.calls.sort()
        return self.seen

    def _send_all(self) -> float:
        while len(self._replies) < self._most_in_flight():
            row = self._next()
            if row is None:
                return max(self._again[0][0], self._now + _TIMER_S) if self._again else math.inf
            wait_s = self.governor.take(self._now)
            if wait_s:
                heapq.heappush(self._again, (self._now, row.number, row))
                return self._now + max(min(wait_s, 60.0), _TIMER_S) + self._chance.random() * 0.001
            self._send(row)
        return math.inf

    def _most_in_flight(self) -> int:
        most = self.governor.most_in_flight(self._now)
        return self._concurrency if most is None else min(most, self._concurrency)

    def _next(self) -> Row | None:
        out = self.governor.outage.since is not None  # a probe is drawn from all rows: most have not failed
        if self._again and self._again[0][0] <= self._now and not out:
            return heapq.heappop(self._again)[2]
        number = next(self._numbers, None)
        if number is None:
            return None
        self.seen.rows.append(Row(number))
        return self.seen.rows[-1]

    def _send(self, row: Row) -> None:
        row.tried += 1
        out_s = self._chance.uniform(0.0005, 0.0015)
        reply, took_s = self._tenant.answer(self._now + out_s, row.number)
        if took_s >= TIMEOUT_S:
            reply, took_s = NoAnswer(Trouble.TIMEOUT, "no answer in 10 s", sent=True), TIMEOUT_S
        heapq.heappush(
            self._replies, (self._now + 2 * out_s + took_s, len(self.seen.calls), self._now, row, reply)
        )
        kind = reply.trouble if isinstance(reply, NoAnswer) else str(reply.status)
        self.seen.calls.append((self._now + out_s, kind == "200", kind))

    def _receive(self) -> None:
        _, _, sent_at, row, reply = heapq.heappop(self._replies)
        answered = isinstance(reply, Answer) and reply.status == 200
        others = self._answered > row.answered_then
        self._answered += answered
        sick = row.refused >= _REFUSED_BEFORE_SICK
        limited = self.governor.learn(
            reply,
            self._now,
            alone=not self._replies,
            row=row.number,
            took_s=self._now - sent_at,
            answered=answered,
            sick=sick,
        )
        self._say(row, reply, answered=answered, limited=limited)
        row.answered_then = self._answered
        if answered:
            row.done = "succeeded"
            return
        if limited and not sick:
            row.refused += others
            heapq.heappush(self._again, (self._now + self._chance.uniform(0.0, 0.5), row.number, row))
            return
        row.charged += others
        if row.charged >= _ATTEMPTS:
            row.done = "exhausted"
            return
        wait_s = self._chance.uniform(0, min(0.5 * 2**row.tried, 30.0))
        heapq.heappush(self._again, (self._now + wait_s, row.number, row))

    def _say(self, row: Row, reply: Reply, *, answered: bool, limited: bool) -> None:
        """Say what became of the attempt, as the pacer does."""
        governor, now, alone = self.governor, self._now, not self._replies
        if answered:
            governor.hear(now)
        elif not limited:
            cause = reply.trouble if isinstance(reply, NoAnswer) else str(reply.status)
            governor.see_trouble(now, row.number, cause, pending=1000, foreign=False, alone=alone)
        elif alone:
            governor.lost(now)


def call(
    tenant: Tenant,
    plan: RatePlan,
    *,
    duration_s: float = 60.0,
    rows: int | None = None,
    concurrency: int = 32,
    seed: int = 1,
) -> Seen:
    """Return what a tenant saw of a client that has `rows` to call, or no end of them."""
    return Client(tenant, plan, rows=rows, concurrency=concurrency, seed=seed).run(duration_s)
