"""Zstandard, from the language where it has it (3.14 on), else from the package `zstandard`."""

from __future__ import annotations

import sys
from typing import Final

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError

    new_unpacker: Final = ZstdDecompressor
else:
    from zstandard import ZstdDecompressor, ZstdError

    new_unpacker: Final = ZstdDecompressor().decompressobj

__all__ = ["ZstdError", "new_unpacker"]
