"""A fleet on a clock of numbers: workers, the way to the store and back, and a store that can be away."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import random
from collections.abc import Callable

from multidict import CIMultiDict

from worker.model import Answer
from worker.pacing.fleet import FleetRate
from worker.pacing.governor import Governor
from worker.pacing.plan import RatePlan
from worker.sharing import Ask, Found, Grant

EPOCH = 1_800_000_000.0
TICK_S = 0.001
_OK = Answer(200, CIMultiDict(), b"")


class Store:
    """The rules of the real one, without its leaders: who gets which slots, and what holds them all."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._tat = self.resume_s = self._expected_until = 0.0
        self._expected = self._accepted = self._refused = 0
        self._since = 0.0
        self._heard: dict[str, float] = {}

    def reserve(self, ask: Ask, now: float) -> Grant:
        self._heard[ask.worker] = now
        workers = {name for name, at in self._heard.items() if at > now - 30}
        if now >= self._expected_until:
            self._since = now if ask.expected else 0.0
        present = sum(self._heard[name] >= max(now - 3, self._since) for name in workers)
        if ask.expected:
            self._expected, self._expected_until = ask.expected, now + 5
        total = max(len(workers), self._expected if now < self._expected_until else 0)
        interval_s = total / (self._per_s * present)
        if now + ask.cool_down_s > max(now, self.resume_s):
            self.resume_s, self._tat = now + ask.cool_down_s, 0.0
        self._accepted += ask.accepted
        self._refused += ask.refused
        furthest_s = now + 1.0 + 2 * len(workers) * interval_s
        first_s = max(min(self._tat, furthest_s), self.resume_s, now - 0.002)
        slots = 0 if self.resume_s > now else ask.slots
        self._tat = first_s + slots * interval_s
        return Grant(
            at_s=now,
            first_s=first_s,
            interval_s=interval_s,
            slots=slots,
            resume_s=self.resume_s,
            ceiling_per_s=self._per_s,
            rate_per_s=self._per_s,
            found=Found(self._per_s),
            told_per_s=None,
            leads=False,
            accepted=self._accepted,
            refused=self._refused,
            workers=len(workers),
            present=present,
        )


@dataclasses.dataclass
class Worker:
    """One worker: its clock began at another moment than the others'."""

    name: str
    plan: RatePlan
    ahead_s: float
    least_workers: int

    def __post_init__(self) -> None:
        self.rate = FleetRate(self.plan, workers=self.least_workers, worker=self.name, now=self.ahead_s)
        self.governor = Governor(self.plan, self.ahead_s, lambda: EPOCH, self.rate)
        self.is_asking = False
        self.stalled_until = 0.0


@dataclasses.dataclass
class World:
    """Simulates; `calls` are the moments at which calls went, each with who made it.

    Attributes:
        away: From when to when the store is.
        wipe: Whether it has lost its memory when it is back.
        stall_s: How long a worker may be held up at any moment.
        latency_s: The way to the store, or back, takes at most this.
        set_by_s: Seconds by which the store's clock is set.
    """

    per_s: float
    workers: int
    seed: int
    away: tuple[float, float] = (0.0, 0.0)
    wipe: bool = False
    stall_s: float = 0.0
    latency_s: float = 0.003
    set_by_s: float = 0.0
    answer: Callable[[float, str], Answer | None] = lambda _at, _name: None

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        plan = RatePlan(self.per_s, adaptive=True)
        ahead = [self._chance.uniform(0, 1e5) for _ in range(self.workers)]
        self.fleet = [Worker(f"w{n}", plan, ahead_s, self.workers) for n, ahead_s in enumerate(ahead)]
        self._store = Store(self.per_s)
        self._posted: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._now = 0.0

    def wipe_now(self) -> None:
        """Have the store lose its memory while nobody asks."""
        self._store = Store(self.per_s)

    def run(self, until_s: float) -> list[tuple[float, str]]:
        calls: list[tuple[float, str]] = []
        while self._now < until_s:
            self._now += TICK_S
            if self.wipe and self._is_away(self._now):
                self._store = Store(self.per_s)
            for worker in self.fleet:
                if self._now >= worker.stalled_until:
                    self._turn(worker, calls)
            while self._posted and self._posted[0][0] <= self._now:
                heapq.heappop(self._posted)[2]()
        return calls

    def _turn(self, worker: Worker, calls: list[tuple[float, str]]) -> None:
        here = self._now + worker.ahead_s
        while worker.governor.take(here) == 0.0:
            calls.append((self._now, worker.name))
            answer = self.answer(self._now, worker.name) or _OK
            worker.governor.learn(answer, here, alone=False)
        line = worker.governor.demand(here, 10)
        if not worker.is_asking and worker.rate.due_s(here, line) <= 0:
            self._send(worker, worker.rate.ask(here, line))
        if self._chance.random() < 0.01:
            worker.stalled_until = self._now + self._chance.uniform(0, self.stall_s)

    def _send(self, worker: Worker, ask: Ask) -> None:
        worker.is_asking = True
        arrives = self._now + self._way()
        if self._is_away(arrives):
            self._post(self._now + self._chance.choice([0.001, 1.0]), lambda: self._lose(worker))
        else:
            grant = self._store.reserve(ask, EPOCH + arrives + self.set_by_s)
            self._post(arrives + self._way(), lambda: self._receive(worker, ask, grant))

    def _lose(self, worker: Worker) -> None:
        worker.is_asking = False
        worker.rate.lost(self._now + worker.ahead_s)

    def _receive(self, worker: Worker, ask: Ask, grant: Grant) -> None:
        worker.is_asking = False
        here = self._now + worker.ahead_s
        worker.governor.hold(here, worker.rate.granted(ask, grant, here))

    def _post(self, at: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._posted, (at, next(self._numbers), what))

    def _way(self) -> float:
        return self._chance.uniform(0.1, 1.0) * self.latency_s

    def _is_away(self, at: float) -> bool:
        return self.away[0] <= at < self.away[1]
