"""The standard streams of the command: none is missing, and no lost terminal ends the work."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from typing import TYPE_CHECKING, BinaryIO, Final

from worker.printable import shown

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_LINE_ENDS: Final = re.compile(r"(\r?\n|\t)")


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


class OnTerminal(io.RawIOBase):
    """Standard output where it is a terminal: cells of others are shown on it, and steer it in no way.

    Args:
        out: Its binary stream, which stays open.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write text in UTF-8; a character may be cut in two."""
        text = self._decode(memoryview(data).tobytes())
        self._out.write("".join(map(_but_for_line_ends, _LINE_ENDS.split(text))).encode())
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Write out what was held back."""
        self._out.flush()


def _but_for_line_ends(part: str) -> str:
    return part if _LINE_ENDS.fullmatch(part) else shown(part)


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
