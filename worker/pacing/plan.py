"""The rate that a person asks for."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Final

from worker.errors import UsageError

_RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)/([smh])")
_UNIT_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SMALLEST_PER_S: Final = 1.0 / 86_400.0
_LARGEST_PER_S: Final = 1_000_000.0


@dataclasses.dataclass(frozen=True, slots=True)
class RatePlan:
    """A rate to keep.

    Attributes:
        ceiling_per_s: Never more calls a second than this, or None for no ceiling.
        adaptive: Whether to give way to a limit of the server's below the ceiling.
    """

    ceiling_per_s: float | None
    adaptive: bool

    @property
    def is_unlimited(self) -> bool:
        """Whether there is nothing to keep to."""
        return self.ceiling_per_s is None and not self.adaptive

    def share(self, workers: int) -> RatePlan:
        """Return what each of `workers` may take of the rate."""
        if self.ceiling_per_s is None:
            return self
        return RatePlan(self.ceiling_per_s / workers, self.adaptive)

    def __str__(self) -> str:
        if self.ceiling_per_s is not None:
            return f"{self.ceiling_per_s:.6g}/s"
        return "auto" if self.adaptive else "unlimited"


def parse_rate(text: str) -> RatePlan:
    """Return the plan that `text` means: `50/s`, `3000/m`, `100/h`, `auto` or `unlimited`.

    Raises:
        UsageError: It is none of these, or less than one call a day.
    """
    compact = text.replace(" ", "").lower()
    if compact in ("auto", "unlimited"):
        return RatePlan(None, adaptive=compact == "auto")
    match = _RATE.fullmatch(compact)
    per_s = float(match[1]) / _UNIT_S[match[2]] if match else math.nan
    if not 0 < per_s <= _LARGEST_PER_S:
        raise UsageError(f"{text!r} is not a rate. Write for example 50/s, 3000/m, auto or unlimited.")
    if per_s < _SMALLEST_PER_S:
        raise UsageError("The smallest rate is one call a day, 0.0417/h. `pause` makes a run wait.")
    return RatePlan(per_s, adaptive=True)
