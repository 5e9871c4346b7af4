"""Tells a file that is no text by its first bytes, and what it looks like instead."""

from __future__ import annotations

from typing import Final

from worker.errors import InputError

_KINDS: Final = (
    (
        b"PK\x03\x04",
        "a zip archive, or a spreadsheet that is no whole Excel workbook (.xlsx): unpack it, or save it as CSV",
    ),
    (b"PAR1", "a Parquet file: unpack it"),
    (b"ARROW1", "an Arrow (Feather) file: export it as Parquet or CSV"),
    (b"ORC", "an ORC file: export it as Parquet or CSV"),
    (b"\x89HDF\r\n", "an HDF5 file: export it as Parquet or CSV"),
    (b"PGCOPY\n\xff\r\n\0", "PostgreSQL's binary COPY: export it with `FORMAT csv, HEADER`"),
    (b"SQLite format 3\0", "a SQLite database: export the table as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook: save it as CSV"),
    (b"%PDF-", "a PDF: export the data as CSV"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x7fELF", "a program"),
    (b"Obj\x01", "an Avro file: export it as CSV"),
    (b"\xfd7zXZ\0", "packed with xz: unpack it, or pack it with gzip or zstd"),
    (b"BZh91AY&SY", "packed with bzip2: unpack it, or pack it with gzip or zstd"),
    (b"7z\xbc\xaf\x27\x1c", "packed with 7-Zip: unpack it, or pack it with gzip or zstd"),
)
_TAR: Final = b"ustar"
_TAR_AT: Final = 257
"""POSIX.1-1988, 10.1.1: where the header of a tar archive has its magic."""
_SAMPLE_BYTES: Final = 1 << 16
_MOST_NULS: Final = 0.1
"""More NULs than this share are no damage any more."""
_UTF16_NULS: Final = 0.3
"""About half of plain text in UTF-16 is NULs."""


def refuse_binary(head: bytes, encoding: str, name: str) -> None:
    """Refuse a file whose first bytes are no text; single NULs further down make invalid rows instead.

    Args:
        head: The input's first bytes, unpacked.
        encoding: The codec that is to be used.
        name: What messages call the input.

    Raises:
        InputError: Naming what it looks like.
    """
    for magic, kind in _KINDS:
        if head.startswith(magic):
            raise InputError(f"{name} is not text. It looks like {kind}.")
    if head[_TAR_AT:].startswith(_TAR):
        raise InputError(
            f"{name} is a tar archive: unpack it (`tar -xf`), and give its files, or the folder with them."
        )
    if encoding.startswith(("utf-16", "utf-32")):
        return
    sample = head[:_SAMPLE_BYTES]
    share = sample.count(0) / len(sample)
    if share > _UTF16_NULS and (order := _utf16_order(sample)):
        raise InputError(
            f"{name} looks like UTF-16 without a byte order mark: say --encoding {order} if that is so."
        )
    if share > _MOST_NULS or b"\0" in _first_line(sample):
        raise InputError(f"{name} is not text: it holds NUL bytes. Give CSV or JSON lines.")


def _first_line(sample: bytes) -> bytes:
    return next((line for line in sample.splitlines() if line.strip()), b"")


def _utf16_order(sample: bytes) -> str:
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if min(even, odd) * 4 > max(even, odd):
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"
