"""Bytes to physical lines, in blocks: encodings, line ends, and damage that is marked instead of raised."""

from __future__ import annotations

import codecs
import dataclasses
import io
import re
from collections.abc import Iterator
from typing import Final

from worker.errors import InputError

LONGEST_LINE_CHARS: Final = 1 << 20
"""A longer physical line is cut here, so that a file without line ends cannot fill the memory."""

LONE_RETURN: Final = "\ud80d"
"""Stands for a carriage return that ends no line, until its record is cut; no decoder makes it."""

_LONE_RETURN: Final = re.compile(r"\r(?!\n|\Z)")
_FIRST_END: Final = re.compile(r"\r\n|\n|\r(?=.)", re.DOTALL)
_ESCAPES_BASE: Final = 0xDC00
_ESCAPED_BYTE: Final = re.compile("[\ud800-\udfff]")
_DAMAGE_MARKER: Final = "bulk-unverify-mark"
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks (Unicode 16, 23.8); UTF-32's little-endian one begins with UTF-16's, so it comes first."""


def _mark_bytes(error: UnicodeError) -> tuple[str, int]:
    """Turn each byte that does not decode into a lone surrogate, like `surrogateescape` but for ASCII too."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    damaged = error.object[error.start : error.end]
    return "".join(chr(_ESCAPES_BASE + byte) for byte in damaged), error.end


codecs.register_error(_DAMAGE_MARKER, _mark_bytes)


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """Some physical lines that follow each other, each with its line end.

    Attributes:
        lines: The lines; only the file's last may lack its end.
        suspect: Whether a line may hold a NUL or bytes that did not decode.
        cut: Whether this is one line, cut short at `LONGEST_LINE_CHARS`.
        unended: Whether this is the input's last line, and it lacks its end.
    """

    lines: list[str]
    suspect: bool
    cut: bool = False
    unended: bool = False


def detect_encoding(head: bytes, told: str | None, name: str) -> tuple[str, int]:
    """Return the codec to use and how many bytes of mark come before the text.

    Args:
        head: The input's first bytes, unpacked.
        told: A codec's normal name, or None.
        name: What messages call the input.

    Raises:
        InputError: The mark contradicts what was told.
    """
    for mark, codec in _MARKS:
        if not head.startswith(mark):
            continue
        family = codec[:6]
        if told is None or told == codec:
            return codec, len(mark)
        if told.startswith(family):
            return (codec, len(mark)) if told in {family, f"{family}-sig"} else (told, 0)
        if codec == "utf-32-le" and told.startswith("utf-16"):
            return "utf-16-le", 2
        raise InputError(
            f"{name} starts with the byte order mark of {codec}, but --encoding says {told}:"
            " leave --encoding out."
        )
    return told or "utf-8", 0


def is_damaged(text: str) -> bool:
    """Tell whether `text` holds bytes that did not decode."""
    return not text.isascii() and _ESCAPED_BYTE.search(text) is not None


def show_damage(text: str) -> str:
    r"""Return `text` with each byte that did not decode written as `\xNN`."""
    return _ESCAPED_BYTE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def pieces(chunks: Iterator[bytes], encoding: str, skip_bytes: int, name: str) -> Iterator[str]:
    """Yield the text of `chunks`, piece by piece.

    Args:
        chunks: The bytes, in order.
        encoding: A codec's name.
        skip_bytes: Length of the mark at the start, all of it in the first chunk.
        name: What messages call the input.

    Raises:
        InputError: The encoding cannot go on after what it read (UTF-16 that needs a mark and has none).
    """
    decoder = codecs.getincrementaldecoder(encoding)(errors=_DAMAGE_MARKER)
    try:
        for chunk in chunks:
            yield decoder.decode(chunk[skip_bytes:])
            skip_bytes = 0
        yield decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise InputError(
            f"{name} cannot be read as {encoding} ({error}): give the right --encoding, such as utf-16-le."
        ) from error


def blocks(text: Iterator[str]) -> Iterator[Block]:
    r"""Yield text that comes in pieces as lines that end with `\n` or `\r\n`, or, if the first one does, with `\r`.

    A `\r` by itself in a file of other line ends is a part of its cell; it is held by `LONE_RETURN`, which `inspect`
    takes back, because no reader of CSV leaves it there.
    """
    splitter = _Splitter()
    for piece in text:
        yield from splitter.take(piece)
    yield from splitter.finish()


class _Splitter:
    """Cuts text into lines, keeping an unfinished one for the next piece."""

    def __init__(self) -> None:
        self._rest = ""
        self._skipping = False
        self._ends: str | None = (
            None  # as `io.StringIO` takes them: "" for all, "\n" where a lone "\r" is none
        )

    def take(self, text: str) -> Iterator[Block]:
        lines = self._split(self._rest + text)
        # A line that ends with "\r" is unfinished too: the next piece may begin with its "\n".
        self._rest = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        if self._skipping:
            self._skip(lines)
        if lines:
            yield self._block(lines)
        if len(self._rest) > LONGEST_LINE_CHARS and not self._skipping:
            yield Block([self._rest[:LONGEST_LINE_CHARS]], suspect=True, cut=True)
            self._skipping = True
            self._skip([])

    def finish(self) -> Iterator[Block]:
        if self._rest and not self._skipping:
            yield dataclasses.replace(self._block([self._rest]), unended=not self._rest.endswith("\r"))

    def _skip(self, lines: list[str]) -> None:
        """Drop what is left of a line that was cut."""
        if lines:
            del lines[0]
            self._skipping = False
        elif not self._rest.endswith("\r"):
            self._rest = ""

    def _split(self, text: str) -> list[str]:
        if self._ends is None and (first := _FIRST_END.search(text)):
            self._ends = "" if first[0] == "\r" else "\n"
        return io.StringIO(text, newline=self._ends or "").readlines()

    def _block(self, lines: list[str]) -> Block:
        text = "".join(lines)
        if self._ends == "\n" and "\r" in text and _LONE_RETURN.search(text):
            lines = [_LONE_RETURN.sub(LONE_RETURN, line) for line in lines]
            return Block(lines, suspect=True)
        return Block(lines, suspect="\0" in text or is_damaged(text))
