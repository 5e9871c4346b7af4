"""A discrete-event stand-in for the loop, the network and a server with a hidden limit: seconds pass as numbers."""

from __future__ import annotations

import dataclasses
import heapq
import math
import random

from worker.model import Answer
from worker.pacing.governor import Governor
from worker.pacing.plan import RatePlan
from worker.sandbox.headers import rate_headers
from worker.sandbox.limits import Limiter, admit, make_limiter
from worker.sandbox.options import Limit

EPOCH = 1_800_000_000.0
_SHORTEST_TIMER_S = 0.001
_OK = Answer(200, {}, b"")


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the server saw: the moment of each call and whether it was accepted."""

    calls: list[tuple[float, bool]]

    def accepted(self, from_s: float, to_s: float) -> int:
        return sum(ok for at, ok in self.calls if from_s <= at < to_s)

    def throttled(self, from_s: float, to_s: float) -> int:
        return sum(not ok for at, ok in self.calls if from_s <= at < to_s)


def simulate(
    plan: RatePlan,
    limit: Limit,
    *,
    duration_s: float = 60.0,
    latency_s: float = 0.01,
    concurrency: int = 32,
    seed: int = 1,
    phase_s: float = 0.0,
    then: tuple[float, Limit] | None = None,
) -> Seen:
    """Return what a server with a hidden `limit` sees of a client that always has another call to make.

    The client starts `phase_s` into a window; from the moment in `then` on another limit holds. Timers are late
    by up to a millisecond and latency varies by a fifth, both from `seed`.
    """
    chance = random.Random(seed)
    limiter = make_limiter(limit, phase_s)
    now = 0.0
    governor = Governor(plan, 0.0, lambda: EPOCH + now)
    calls: list[tuple[float, bool]] = []
    replies: list[tuple[float, int, Answer]] = []
    wake_at = 0.0
    while now < duration_s:
        now = min(wake_at, replies[0][0] if replies else math.inf)
        while replies and replies[0][0] <= now:
            governor.learn(heapq.heappop(replies)[2], now, alone=not replies)
        wake_at = math.inf
        while len(replies) < concurrency:
            wait_s = governor.take(now)
            if wait_s:
                wake_at = now + max(wait_s, _SHORTEST_TIMER_S) + chance.random() * 0.001
                break
            if then is not None and now >= then[0]:
                limiter, then = make_limiter(then[1], now + phase_s), None
            out_s, back_s = (latency_s * chance.uniform(0.4, 0.6) for _ in "ab")
            answer = _answer(limiter, now + out_s + phase_s)
            calls.append((now + out_s, answer.status == 200))
            heapq.heappush(replies, (now + out_s + back_s, len(calls), answer))
    calls.sort()
    return Seen(calls)


def _answer(limiter: Limiter, at_s: float) -> Answer:
    standings = admit([limiter], at_s)
    ok = all(standing.wait_s == 0.0 for standing in standings)
    return Answer(200 if ok else 429, rate_headers(standings, EPOCH + at_s), b"")
