"""Opens Parquet: its columns and its records, a row group at a time. Needs the extra `parquet` (pyarrow)."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from worker.errors import InputError, UsageError
from worker.intake.opened import Opened
from worker.intake.opened_table import open_values
from worker.intake.options import InputOptions
from worker.intake.restored import Beside
from worker.intake.stored import StoredFile

MAGIC: Final = b"PAR1"
_ROWS_AT_ONCE: Final = 4096


def open_parquet(
    stored: StoredFile, path: Path, options: InputOptions, beside: Beside, like: Opened | None
) -> Opened:
    """Find the columns of a Parquet file; arguments as of `open_records`. A row's line is its number.

    Raises:
        UsageError: pyarrow is not installed.
        InputError: The file as a whole is no batch.
    """
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            f"{stored.name} is Parquet, which needs pyarrow: install `bulk-unverify[parquet]`, or export it as CSV."
        ) from error
    with _understood(arrow, stored.name):
        file = parquet.ParquetFile(path)
        header = [str(name) for name in file.schema_arrow.names]
    return open_values(stored, "parquet", header, _rows(arrow, file, stored), options, beside, like)


def _rows(arrow: Any, file: Any, stored: StoredFile) -> Iterator[tuple[int, Sequence[Any]]]:
    line = 0
    with _understood(arrow, stored.name), contextlib.closing(file):
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                line += 1
                yield line, values
    stored.pass_over()


@contextlib.contextmanager
def _understood(arrow: Any, name: str) -> Iterator[None]:
    try:
        yield
    except (arrow.lib.ArrowException, OSError) as error:
        said = " ".join(str(error).split())
        raise InputError(
            f"{name} is a Parquet file that cannot be read ({said}): export it again."
        ) from error
