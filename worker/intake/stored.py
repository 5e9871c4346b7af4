"""The bytes of an input: opened, hashed as they lie on disk, unpacked, and refused where they are no text."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from worker.errors import InputError
from worker.intake.zstd import ZstdError, new_unpacker

PLAIN_CHUNK_BYTES: Final = 1 << 17
_PACKED_CHUNK_BYTES: Final = 1 << 14
"""Small, because packed bytes may unpack to a thousand times as many."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = (b"\x2a\x4d\x18", range(0x50, 0x60))
"""RFC 8878, 3.1.2: a frame to skip begins with a byte of 0x50 to 0x5F and these three."""


class NothingHeldError(InputError):
    """A file holds nothing at all; as one part of several it may."""


class _Unpacker(Protocol):
    """What the decompression objects of zlib and Zstandard have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _gunzip() -> _Unpacker:
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


_UNPACKERS: Final[dict[str, Callable[[], _Unpacker]]] = {"gzip": _gunzip, "zstd": new_unpacker}


class StoredFile:
    """A file read once from its start: its unpacked bytes, and the digest of the stored ones.

    Args:
        file: Opened for reading, at its start; the caller closes it.
        name: What messages call it.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._whole = False
        self.name = name
        self._first = self._read(PLAIN_CHUNK_BYTES)
        if not self._first:
            raise NothingHeldError(f"{name} is empty (0 bytes): give a file with a header and rows.")
        self.compression = _compression(self._first)

    @property
    def sha256(self) -> str:
        """SHA-256 of the stored (packed) bytes, in hexadecimal; only once `chunks` is exhausted."""
        if not self._whole:
            raise RuntimeError(f"{self.name} has not been read to its end, so it has no digest yet")
        return self._hash.hexdigest()

    @property
    def head(self) -> bytes:
        """The first of the stored (packed) bytes."""
        return self._first

    def pass_over(self) -> None:
        """Read what others read by its path, for the digest.

        Raises:
            InputError: The file cannot be read.
        """
        for _ in self._stored(PLAIN_CHUNK_BYTES):
            pass

    def chunks(self) -> Iterator[bytes]:
        """Yield the unpacked bytes, in order, once.

        Raises:
            InputError: The file cannot be read, or is packed and broken.
        """
        if self.compression == "none":
            yield from self._stored(PLAIN_CHUNK_BYTES)
            return
        try:
            yield from self._unpacked(_UNPACKERS[self.compression])
        except (zlib.error, ZstdError) as error:
            raise InputError(
                f"{self.name} is packed with {self.compression} and broken ({error}): copy it again."
            ) from error

    def _stored(self, size_bytes: int) -> Iterator[bytes]:
        chunk = self._first
        while chunk:
            yield chunk
            chunk = self._read(size_bytes)
        self._whole = True

    def _unpacked(self, unpacker: Callable[[], _Unpacker]) -> Iterator[bytes]:
        member: _Unpacker | None = None
        for chunk in self._stored(_PACKED_CHUNK_BYTES):
            for start in range(0, len(chunk), _PACKED_CHUNK_BYTES):
                data = chunk[start : start + _PACKED_CHUNK_BYTES]
                # Members may follow each other, and tapes pad the last one with zeros.
                while data := data if member else data.lstrip(b"\0"):
                    member = member or unpacker()
                    yield member.decompress(data)
                    data, member = (member.unused_data, None) if member.eof else (b"", member)
        if member is not None:
            raise InputError(
                f"{self.name} is packed with {self.compression} and ends in the middle: copy it again."
            )

    def _read(self, size_bytes: int) -> bytes:
        try:
            chunk = self._file.read(size_bytes)
        except OSError as error:
            raise InputError(unreadable(self.name, error)) from error
        self._hash.update(chunk)
        return chunk


@contextlib.contextmanager
def open_stored(path: Path, shown: str | None = None) -> Iterator[StoredFile]:
    """Open `path` for reading; messages call it `shown`, or by its path.

    Raises:
        InputError: It does not exist, is a directory, or may not be read.
        NothingHeldError: It is empty.
    """
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise InputError(unreadable(shown or str(path), error)) from error
    with file:
        yield StoredFile(file, shown or str(path))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise InputError(unreadable(str(path), error)) from error


def _compression(head: bytes) -> str:
    magic, first = _ZSTD_SKIPPABLE
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    if head.startswith(_ZSTD_MAGIC) or (head[0] in first and head[1:4] == magic):
        return "zstd"
    return "none"


def unreadable(name: str, error: Exception) -> str:
    """Return the sentence that says why an input cannot be read."""
    if isinstance(error, FileNotFoundError):
        return f"{name} does not exist: check the path."
    if isinstance(error, IsADirectoryError):
        return f"{name} is a folder: give a file."
    if isinstance(error, PermissionError):
        return f"{name} may not be read by this user: change its permissions or run as its owner."
    return f"{name} cannot be read ({error})."
