"""One allocation that makes every receive cheaper."""

from __future__ import annotations

_PRIMER_BYTES = 1 << 20


def prime_malloc() -> None:
    """Make and drop one large block, so that glibc keeps receive buffers on its heap.

    Stock asyncio takes 256 KiB for each receive, which glibc serves by mmap and munmap every time until a
    larger block was freed once and raised its threshold: 12 to 15% more calls over plain http (field notes).
    Source: the dynamic threshold in mallopt(3), M_MMAP_THRESHOLD.
    """
    bytearray(_PRIMER_BYTES)
