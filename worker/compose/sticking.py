"""What steers the next session of a run: what is said now, else what steered the last one, else the default."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from worker.compose.options import NOT_THE_CALLERS, parse_outcomes
from worker.connection import TIMEOUT, default_timeout_s
from worker.errors import BulkUnverifyError
from worker.model import FAILURES
from worker.pacing import parse_rate
from worker.reportable import SessionFacts
from worker.units import exact_duration, parse_duration_s, parse_share

NOTHING: Final = "none"
RATE_COMMAND: Final = "rate_command"
"""Under this name a session's settings hold the rate that was set while it went on."""
DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rate": "25/s",
        "concurrency": "32",
        "attempts": "5",
        "row_time_limit": "15m",
        "timeout": "10s",
        "max_failures": "20%",
        "accept": NOTHING,
        "outage_patience": "15m",
        "deadline": NOTHING,
        "ca_bundle": NOTHING,
    }
)
"""What sticks, by the name of its flag; and what it is where nobody ever said anything."""
DEADLINE_REACHED: Final = "the deadline of "
"""How a halt begins that the deadline made: it is used up then."""
_DURATIONS: Final = frozenset({"row_time_limit", "timeout", "outage_patience", "deadline"})


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One thing that steers a session, and why it is as it is.

    Attributes:
        name: Its flag, without dashes at the front.
        text: As it is typed.
        source: Who said so, or empty: it is the default.
    """

    name: str
    text: str
    source: str

    @property
    def differs(self) -> bool:
        """Whether it is other than the default."""
        return _meant(self.name, self.text) != _meant(self.name, DEFAULTS[self.name])

    @property
    def reset(self) -> str:
        """The flag that sets it back to the default."""
        return f"--{self.name.replace('_', '-')} {DEFAULTS[self.name]}"

    def sentence(self) -> str:
        """Return it for people."""
        return f"{self.name.replace('_', '-')} {self.text}, from {self.source} (`{self.reset}` resets it)"


def settle(said: Mapping[str, object], sessions: Sequence[SessionFacts]) -> list[Setting]:
    """Return what steers the next session.

    Args:
        said: What was said now, by the flags' names; None where nothing was.
        sessions: Those of the run so far, oldest first.

    Raises:
        ConfigurationError: The variable of the time limit holds no such thing.
    """
    return [_settled(name, said.get(name), sessions) for name in DEFAULTS]


def without_callers(settings: Sequence[Setting]) -> list[Setting]:
    """Return those that mean something where a queue's workers call."""
    return [each for each in settings if each.name in NOT_THE_CALLERS]


def _settled(name: str, said: object, sessions: Sequence[SessionFacts]) -> Setting:
    if said is not None:
        return Setting(name, str(said), f"--{name.replace('_', '-')}")
    kept = _kept(name, sessions)
    if kept is not None:
        return kept
    if name == "timeout" and os.environ.get(TIMEOUT):
        return Setting(name, exact_duration(default_timeout_s()), TIMEOUT)
    return Setting(name, DEFAULTS[name], "")


def _kept(name: str, sessions: Sequence[SessionFacts]) -> Setting | None:
    """Return what the last session had that knew of `name`; what cannot be read any more is as good as unsaid."""
    if name == "deadline" and sessions and sessions[-1].halt_reason.startswith(DEADLINE_REACHED):
        return None
    for session in reversed(sessions):
        if name == "rate" and (by_command := session.settings.get(RATE_COMMAND)):
            return Setting(name, by_command, f"the `rate` command in session {session.number}")
        if (text := session.settings.get(name)) is not None:
            with contextlib.suppress(BulkUnverifyError, ValueError):
                _meant(name, text or NOTHING)
                return Setting(name, text or NOTHING, f"session {session.number}")
            return None
    return None


def _meant(name: str, text: str) -> object:
    """Return what a setting's text means, so that two spellings of one value are alike."""
    if text == NOTHING:
        return None
    if name in _DURATIONS:
        return parse_duration_s(text)
    return _MEANT[name](text)


_MEANT: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType(
    {
        "rate": parse_rate,
        "concurrency": int,
        "attempts": int,
        "max_failures": parse_share,
        "accept": lambda text: parse_outcomes(text, allowed=FAILURES, flag="--accept"),
        "ca_bundle": Path,
    }
)
