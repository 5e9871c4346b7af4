"""An opened input: one table, read once as a stream of numbered and validated rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

from worker.errors import InputError
from worker.intake.opened import Opened
from worker.intake.opening import open_records
from worker.intake.options import InputOptions
from worker.intake.origins import Origins, no_origins
from worker.intake.parts import Part, joined
from worker.intake.restored import Beside
from worker.intake.rows import limited, number_rows
from worker.intake.stored import NothingHeldError, StoredFile, digest, open_stored
from worker.model import InputRow
from worker.warned import Warnings


class _Open(NamedTuple):
    """The part that is being read."""

    part: Part
    stored: StoredFile
    opened: Opened


class Table:
    """An opened input. As a context manager: it opens its first part, and closes what is open.

    Args:
        parts: The files, in order.
        options: How to read them.
        origins: The runs that are known.

    Attributes:
        name: What messages call its first part that holds anything.
        user_index: Index of the user's column within a row's cells.
        identifier_index: The same of the identifier's.
        dialect: What was detected of that part: `format`, `delimiter`, `encoding`, `compression`.
        warnings: What looks wrong in the rows, complete once they are exhausted.
    """

    def __init__(self, parts: Sequence[Part], options: InputOptions, origins: Origins) -> None:
        self.warnings = Warnings()
        self._beside = Beside(self.warnings, origins)
        self._only = len(parts) == 1
        self._options = options
        self._coming = iter(parts)
        self._digests: list[str] = []
        self._read = False
        self._files = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Open the first part that holds anything.

        Raises:
            InputError: It is no batch, or no part holds anything.
        """
        with contextlib.ExitStack() as opening:
            opening.push(self._files)
            first = self._next(None)
            if first is None:
                raise InputError("Every one of these files is empty: give files with a header and rows.")
            opening.pop_all()
        self._first = first.opened
        self.name = first.stored.name
        self.user_index, self.identifier_index = first.opened.shape.ids
        self.dialect = MappingProxyType({**first.opened.dialect, "compression": first.stored.compression})
        self._rows = limited(self._all_rows(first), self._options.max_rows, self.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the part that is open."""
        self._files.close()

    @property
    def header(self) -> tuple[str, ...]:
        """The input's own columns; for JSON lines final only once the rows are exhausted."""
        return tuple(self._first.columns)

    @property
    def sha256(self) -> str:
        """SHA-256 of the input's bytes as stored (packed ones where it is packed), of all parts in their order.

        Raises:
            RuntimeError: The rows are not exhausted yet.
        """
        if not self._read:
            raise RuntimeError(f"{self.name} has not been read to its end, so it has no digest yet")
        return joined(self._digests)

    def rows(self) -> Iterator[InputRow]:
        """Return the rows in the input's order; one pass, however often it is asked for.

        Raises:
            InputError: While reading: a part breaks off, is broken inside or has other columns, or there are too
                many rows.
        """
        return self._rows

    def _all_rows(self, first: _Open) -> Iterator[InputRow]:
        number = 0
        current: _Open | None = first
        while current is not None:
            name = self.warnings.part = current.part.name
            opened = current.opened
            number = yield from number_rows(opened.records, opened.shape, self.warnings, number, name)
            self._digests.append(current.stored.sha256)
            self._files.close()
            current = self._next(first)
        self._read = True

    def _next(self, first: _Open | None) -> _Open | None:
        """Open the next part that holds anything; None if there is none."""
        for part in self._coming:
            try:
                stored = self._files.enter_context(open_stored(part.path, part.shown))
                opened = open_records(stored, part.path, self._options, self._beside, first and first.opened)
            except NothingHeldError:
                if self._only:
                    raise
                self._files.close()
                self._digests.append(digest(part.path))
                self.warnings.add("empty_part", part.name)
            else:
                return _Open(part, stored, opened)
        return None


def open_table(source: Path | Sequence[Part], options: InputOptions, origins: Origins = no_origins) -> Table:
    """Return the table in a file, or in several parts, to be opened as a context.

    Args:
        source: The file, or its parts.
        options: How to read it.
        origins: The runs that are known: a report of theirs that comes back is compared with them.

    Raises:
        UsageError: An option can be meant for no file.
    """
    options.check()
    return Table([Part(source)] if isinstance(source, Path) else source, options, origins)
