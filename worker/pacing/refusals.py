"""What of all that comes back is a limiter's refusal, in whatever dress. Pure; the clock is passed in."""

from __future__ import annotations

import collections
import enum
from typing import Final

from worker.model import Answer, NoAnswer, Reply, Trouble
from worker.pacing.headers import ServerLimit, server_limit
from worker.pacing.suspicion import FEWEST, GREW, LOOKED_AT, Finding, Suspicion

THROTTLED: Final = "429"
_FORBIDDEN: Final = 403
_SERVER_ERROR: Final = 500
_SUSPECT: Final = frozenset({Trouble.CONNECT, Trouble.DISCONNECTED, Trouble.TIMEOUT, Trouble.PROTOCOL})
_REPEATS: Final = 1
"""A row that was refused so often while others were answered tells nothing of the tenant when it is refused again."""
_OTHERS: Final = 5
"""So many were, between two of its refusals."""
_SHUT: Final = 8
"""After so many attempts without an answer nothing comes through any more."""
_ROWS_KEPT: Final = 4096
_DRESSES: Final = 3
"""A limiter refuses in one dress, or in two; a sick server has more."""
_MUCH: Final = 0.15
"""Share of the attempts in all that is too much for strays beside a limiter."""
_LONGEST_TEST_S: Final = 20.0
"""So long the pace is slower at most, unless nothing comes through at all."""
_QUIET_S: Final = 60.0
"""After slower calls did not help no other kind of trouble is tested for so long, and ever longer."""
_LONGEST_QUIET_S: Final = 600.0


class Kind(enum.Enum):
    """What a reply is to the pace."""

    ANSWER = enum.auto()
    """The API's own final answer: the call was let through."""
    REFUSAL = enum.auto()
    TEST = enum.auto()
    """Taken for a refusal until a slower pace has shown whether it is one."""
    SHUT = enum.auto()
    """Nothing comes through any more: an outage, or a window that is used up."""
    TROUBLE = enum.auto()
    REPEATED = enum.auto()
    """Of a row that is refused again and again while others are answered."""


class Refusals:
    """Tells refusals from trouble."""

    def __init__(self) -> None:
        self._number = self._answers = 0
        self._streak = _SHUT + 1
        """Attempts since the last answer; before the first one nothing is known to come through."""
        self._suspicions: dict[str, Suspicion] = {}
        self._rows: collections.OrderedDict[int, tuple[int, int]] = collections.OrderedDict()
        self._quiet_until, self._quiet_s, self._usual = 0.0, _QUIET_S, 1.0
        """Until when the share that was usual then is taken for trouble, whatever its dress."""
        self._tests_since = 0.0
        """Until when no kind was tested."""
        self.slow_down = False
        """Whether the last reply calls for a slower pace, to see whether that helps."""
        self.share = 0.0
        """The share of the attempts for which it does."""
        self.go_back = False
        """Whether the last reply showed that a slower pace did not help."""

    @property
    def is_testing(self) -> bool:
        """Whether the pace is slower to see whether that helps."""
        return any(each.finding is Finding.TEST for each in self._suspicions.values())

    @property
    def limits(self) -> list[str]:
        """How a limiter is known to refuse, other than by 429."""
        return [dress for dress, each in self._suspicions.items() if each.finding is Finding.LIMIT]

    def see(self, reply: Reply, now: float, sent_at: float, row: int, *, answered: bool) -> Kind:
        """Return what a reply is, and say in `slow_down` and `go_back` what to do at once."""
        self._number += 1
        self._streak = 0 if answered else self._streak + 1
        self.slow_down = self.go_back = False
        dress = "" if answered else dress_of(reply)
        suspicion = self._suspicions.get(dress)
        if suspicion is None and dress and dress != THROTTLED:
            suspicion = self._suspicions[dress] = Suspicion()
        if answered:
            self._answers += 1
            self._rows.pop(row, None)
        elif dress and self._is_repeated(row):
            return Kind.REPEATED
        self._weigh(suspicion, now, sent_at)
        if answered:
            return Kind.ANSWER
        if suspicion is not None and suspicion.finding is Finding.TEST and self._streak > _SHUT:
            return Kind.SHUT
        return Kind.REFUSAL if dress == THROTTLED else _KINDS[suspicion.finding if suspicion else None]

    def belie(self, now: float) -> None:
        """Say that refusals have come whatever the pace: those by 5xx or a closed connection are trouble."""
        for each in self._suspicions.values():
            if each.finding is Finding.LIMIT:
                each.belie(now)

    def forget(self) -> None:
        """Begin anew after an outage."""
        for each in self._suspicions.values():
            each.forget()

    def confirm(self) -> None:
        """Say that what is refused now is refused by a window that is known."""
        for each in self._suspicions.values():
            if each.finding is Finding.TEST:
                each.confirm()

    def _weigh(self, suspicion: Suspicion | None, now: float, sent_at: float) -> None:
        """Have each kind of trouble see an attempt, which met `suspicion` or none of them."""
        for each in self._suspicions.values():
            tested = each.finding in (Finding.TEST, Finding.LIMIT)
            is_it = each is suspicion
            may_test = is_it and self._may_test(now, each)
            if each.see(now, sent_at, self._number, suspect=is_it, may_test=may_test):
                self.slow_down, self.share = True, each.share
            self.go_back |= tested and each.finding is Finding.TROUBLE
        if not self.is_testing:
            self._tests_since = now
        elif now - self._tests_since > _LONGEST_TEST_S and self._streak <= _SHUT:
            self.go_back = True
        self.go_back |= (self.is_testing or bool(self.limits)) and self._is_mixed
        if self.go_back:
            self._be_quiet(now)

    def _may_test(self, now: float, suspicion: Suspicion) -> bool:
        """Return whether slowing down may be tried against one kind of trouble."""
        looked_at = min(self._number, LOOKED_AT)
        if now < self._quiet_until and suspicion.recent(self._number) < GREW * self._usual * looked_at:
            return False
        return not self._is_mixed

    @property
    def _is_mixed(self) -> bool:
        """Whether there are too many kinds of trouble at once for a limiter, and too much of them."""
        counts = [each.recent(self._number) for each in self._suspicions.values()]
        kinds = sum(count >= FEWEST for count in counts)
        return kinds >= _DRESSES and sum(counts) >= _MUCH * min(self._number, LOOKED_AT)

    def _be_quiet(self, now: float) -> None:
        """Test nothing for a while: slower calls did not help, and what else is tested is trouble as well."""
        self.slow_down = False
        recent = sum(each.recent(self._number) for each in self._suspicions.values())
        self._usual = recent / min(self._number, LOOKED_AT)
        self._quiet_until = now + self._quiet_s
        self._quiet_s = min(2 * self._quiet_s, _LONGEST_QUIET_S)
        mixed = self._is_mixed
        for each in self._suspicions.values():
            if each.finding is Finding.TEST or (mixed and each.finding is Finding.LIMIT):
                each.belie(now)

    def _is_repeated(self, row: int) -> bool:
        if not row:
            return False
        times, answers = self._rows.pop(row, (0, -_OTHERS))
        if self._answers - answers >= _OTHERS:
            times, answers = times + 1, self._answers
        self._rows[row] = times, answers
        if len(self._rows) > _ROWS_KEPT:
            self._rows.popitem(last=False)
        return times > _REPEATS


_KINDS: Final = {
    None: Kind.TROUBLE,
    Finding.NOTHING: Kind.TROUBLE,
    Finding.TEST: Kind.TEST,
    Finding.LIMIT: Kind.REFUSAL,
    Finding.TROUBLE: Kind.TROUBLE,
}


def dress_of(reply: Reply) -> str:
    """Return in what dress a reply may be a refusal: a status or a kind of trouble; empty if it cannot be one."""
    if isinstance(reply, NoAnswer):
        return str(reply.trouble.value) if reply.trouble in _SUSPECT and not reply.stale else ""
    if reply.status == int(THROTTLED) or (reply.status == _FORBIDDEN and _is_named(reply)):
        return THROTTLED
    return str(reply.status) if reply.status >= _SERVER_ERROR or reply.status == _FORBIDDEN else ""


def _is_named(reply: Answer) -> bool:
    """Return whether headers say that a limit is used up."""
    if "Retry-After" in reply.headers:
        return True
    limit = server_limit(reply.headers, 0.0) or ServerLimit()
    return limit.remaining == 0.0
