"""What befalls a request: outages, the key, the limits and the drawn trouble, in that order.

Everything is decided from the time, the seed and the request's own name; nothing here waits or writes.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import struct
from collections.abc import Mapping
from typing import Final

from worker.sandbox.headers import rate_headers
from worker.sandbox.limits import admit, make_limiter
from worker.sandbox.options import Kind, Outage, OutageKind, Trouble

_DRAWS: Final = struct.Struct(">6Q")
_WHOLE: Final = float(1 << 64)
_NOTHING_DRAWN: Final = (1.0,) * 6
_OUTAGES: Final[Mapping[OutageKind, Kind]] = {
    OutageKind.UNAVAILABLE: Kind.SERVER_ERROR,
    OutageKind.REFUSE: Kind.RESET,
    OutageKind.RESET: Kind.RESET,
    OutageKind.STALL: Kind.STALL,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Fate:
    """What befalls one request.

    Attributes:
        kind: The trouble, or None for the API's own answer.
        status: The status of a `server_error`, or of a `foreign` answer.
        headers: What the limits tell.
        slow_s: Seconds by which the answer is late.
        gzip: Whether the body comes gzip-encoded.
        latin1: Whether the body comes in Latin-1.
        close: Whether the connection is closed after the answer.
        refuse_s: Seconds for which connections are to be refused from now on; 0 for not at all.
    """

    kind: Kind | None = None
    status: int = 0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    slow_s: float = 0.0
    gzip: bool = False
    latin1: bool = False
    close: bool = False
    refuse_s: float = 0.0


_UNTROUBLED: Final = Fate()


class Script:
    """One setting of trouble, with how far it has got."""

    def __init__(self, trouble: Trouble, seed: int, now_s: float) -> None:
        self._trouble = trouble
        self._seed = seed
        self._requests = 0
        self._limiters = [make_limiter(limit, now_s) for limit in trouble.limits]
        self._until_s: dict[Outage, float] = {}
        self._attempts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._shares = trouble.shares()
        self._draws = bool(self._shares or trouble.slow or trouble.gzip or trouble.latin1 or trouble.close)

    def decide(
        self, user_id: str, identifier_id: str, *, key_right: bool, now_s: float, epoch_s: float
    ) -> Fate:
        """Return what befalls the next request, which arrived at `now_s` on the script's clock."""
        self._requests += 1
        outage = self._outage(now_s)
        if outage is not None:
            refuse_s = self._until_s[outage] - now_s if outage.kind is OutageKind.REFUSE else 0.0
            return Fate(_OUTAGES[outage.kind], 503, refuse_s=refuse_s)
        if not key_right or self._revoked():
            return Fate(Kind.UNAUTHORIZED)
        standings = admit(self._limiters, now_s)
        told = rate_headers(standings, epoch_s) if standings else {}
        if any(standing.wait_s > 0.0 for standing in standings):
            return Fate(Kind.THROTTLED, headers=told)
        if not (self._draws or told or self._trouble.for_users):
            return _UNTROUBLED
        return self._drawn(user_id, identifier_id, told)

    def _outage(self, now_s: float) -> Outage | None:
        for outage in self._trouble.outages:
            if self._requests < outage.from_request:
                continue
            if now_s < self._until_s.setdefault(outage, now_s + outage.for_s):
                return outage
        return None

    def _revoked(self) -> bool:
        after = self._trouble.key_revoked_after
        return after is not None and self._requests > after

    def _drawn(self, user_id: str, identifier_id: str, told: Mapping[str, str]) -> Fate:
        trouble = self._trouble
        draws = self._draw(user_id, identifier_id) if self._draws else _NOTHING_DRAWN
        kind = trouble.for_users.get(user_id) or self._chosen(draws[0])
        statuses = trouble.foreign_statuses if kind is Kind.FOREIGN else trouble.server_error_statuses
        return Fate(
            kind=kind,
            status=statuses[int(draws[5] * len(statuses)) % len(statuses)],
            headers=told,
            slow_s=trouble.slow_s if draws[1] < trouble.slow else 0.0,
            gzip=draws[2] < trouble.gzip,
            latin1=draws[3] < trouble.latin1,
            close=draws[4] < trouble.close,
        )

    def _draw(self, user_id: str, identifier_id: str) -> tuple[float, ...]:
        """Return six even draws from 0 to under 1 for the next attempt of a pair."""
        pair = (user_id, identifier_id)
        self._attempts[pair] += 1
        name = f"{self._seed}\0{user_id}\0{identifier_id}\0{self._attempts[pair]}"
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_DRAWS.size).digest()
        # 2**64 - 1 rounds up to a whole in floating point; a draw must stay below a share of 1.
        return tuple(min(number / _WHOLE, 1.0 - 1e-12) for number in _DRAWS.unpack(digest))

    def _chosen(self, draw: float) -> Kind | None:
        """Return the kind on whose stretch of 0 to 1 the draw lies."""
        for kind, share in self._shares:
            if draw < share:
                return kind
            draw -= share
        return None
