"""The protected lists on disk, read again when one of them changes, and not by halves (promise 11)."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from worker.errors import BulkUnverifyError
from worker.intake import load_protected
from worker.protection import ProtectedList, keys_of

PATIENCE_S: Final = 10.0
"""How long whoever rewrites a list may take, before one that cannot be read halts and a shorter one counts."""

_Stamps = list[tuple[int, int, int, int] | None]


@dataclasses.dataclass(frozen=True, slots=True)
class News:
    """What a look at the lists found.

    Attributes:
        keys: Keys of the ids that were read just now; None if nothing was.
        holds: Whether nobody may be called: a list is being rewritten.
        error: Why a list cannot be read, once that took longer than the patience.
    """

    keys: frozenset[str] | None = None
    holds: bool = False
    error: BulkUnverifyError | None = None


_NOTHING: Final = News()


class ProtectedLists:
    """The protected lists of a session.

    A list that changes holds everybody until it can be read, has kept still since the look before, and does not
    seem to be one half of a list: fewer ids than before, or a last line without an end where it had one.

    Args:
        paths: The lists; none of them protects nobody.
        clock: Monotonic seconds.
    """

    def __init__(self, paths: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = paths
        self._clock = clock
        self._seen = self._stamps()
        self._read = self._seen
        """As they were when they were read last."""
        self._complete: tuple[ProtectedList, ...] = ()
        self._newest: tuple[ProtectedList, ...] = ()
        self._changing_since: float | None = None

    @property
    def names(self) -> str:
        """The lists' file names, for the record."""
        return ", ".join(path.name for path in self._paths)

    def load(self) -> frozenset[str]:
        """Read the lists as they are, and return the keys of the ids on them.

        Raises:
            InputError: One of them cannot be read.
        """
        self._seen = self._read = self._stamps()
        self._complete = self._newest = tuple(map(load_protected, self._paths))
        self._changing_since = None
        return keys_of(self._complete)

    async def look(self) -> News:
        """Look whether a list changed, and read it if so; to be called a few times a second."""
        stamps = self._stamps()
        still, self._seen = stamps == self._seen, stamps
        if still and self._changing_since is None:
            return _NOTHING
        now = self._clock()
        if self._changing_since is None:
            self._changing_since, self._read = now, []
        is_late = now - self._changing_since >= PATIENCE_S
        keys = None
        if self._read != stamps:
            try:
                self._newest = tuple([await asyncio.to_thread(load_protected, path) for path in self._paths])
            except BulkUnverifyError as error:
                return News(holds=True, error=error if is_late else None)
            self._read, keys = stamps, keys_of(self._newest)
        if is_late or (still and self._stamps() == stamps and not self._seem_half()):
            self._complete, self._changing_since = self._newest, None
        return News(keys, holds=self._changing_since is not None)

    def _seem_half(self) -> bool:
        before = {each.path: each for each in self._complete}
        return any(_seems_half(each, before[each.path]) for each in self._newest if each.path in before)

    def _stamps(self) -> _Stamps:
        return [_stamp(path) for path in self._paths]


def _seems_half(now: ProtectedList, before: ProtectedList) -> bool:
    return not before.named <= now.named or (before.is_ended and not now.is_ended)


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
