"""The standard streams of the command: none is missing, and no lost terminal ends the work."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Unheard(io.FileIO):
    """A file that loses what it cannot take.

    Its terminal may have been closed (EIO), its reader may have gone (EPIPE), or be asleep with a full pipe.
    """

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def prepare_streams() -> None:
    """Put the null device where a stream is closed (`<&-`), and let standard error never raise.

    Python has None for a closed one, and the next file to be opened, the ledger for one, would take its number.
    What is written to standard error only tells a person of the run: with nobody there, the run goes on.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for good
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Unheard(sys.stderr.fileno(), "w", closefd=False)),
        encoding=sys.stderr.encoding,
        errors=sys.stderr.errors,
        line_buffering=True,
    )
