"""An opened input: one table, read once as a stream of numbered and validated rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from worker.intake.opening import open_records
from worker.intake.options import InputOptions
from worker.intake.rows import limited, number_rows
from worker.intake.stored import StoredFile, open_stored
from worker.model import InputRow
from worker.warned import Warnings


class Table:
    """An opened input.

    Args:
        stored: The bytes, for the digest.
        columns: The columns' names; JSON lines append to them while rows are read.
        ids: Indexes of the user's and the identifier's column within a row's cells.
        dialect: What was detected: `format`, `delimiter`, `encoding`, `compression`.
        rows: The rows.
        warnings: What looks wrong in them, complete once they are exhausted.
    """

    def __init__(
        self,
        stored: StoredFile,
        columns: list[str],
        ids: tuple[int, int],
        dialect: Mapping[str, str],
        rows: Iterator[InputRow],
        warnings: Warnings,
    ) -> None:
        self._stored = stored
        self._columns = columns
        self._rows = rows
        self.name = stored.name
        self.warnings = warnings
        self.user_index, self.identifier_index = ids
        self.dialect = MappingProxyType({**dialect, "compression": stored.compression})

    @property
    def header(self) -> tuple[str, ...]:
        """The input's own columns; for JSON lines final only once the rows are exhausted."""
        return tuple(self._columns)

    @property
    def sha256(self) -> str:
        """SHA-256 of the input's bytes as stored (packed ones where it is packed).

        Raises:
            RuntimeError: The rows are not exhausted yet.
        """
        return self._stored.sha256

    def rows(self) -> Iterator[InputRow]:
        """Return the rows in the input's order; one pass, however often it is asked for.

        Raises:
            InputError: While reading: the file breaks off, is broken inside, or has too many rows.
        """
        return self._rows


@contextlib.contextmanager
def open_table(path: Path, options: InputOptions) -> Iterator[Table]:
    """Open `path`, detect its dialect and find its columns.

    Raises:
        InputError: The file as a whole is no batch.
        UsageError: An option can be meant for no file.
    """
    options.check()
    with open_stored(path) as stored:
        opened, warnings = open_records(stored, path, options), Warnings()
        rows = limited(number_rows(opened.records, opened.shape, warnings), options.max_rows, stored.name)
        yield Table(stored, opened.columns, opened.shape.ids, opened.dialect, rows, warnings)
