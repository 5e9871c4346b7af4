"""Bodies that come compressed although plain was asked for: some proxies compress whatever passes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from worker.model import Damage

_GZIP: Final = zlib.MAX_WBITS | 16
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_ZLIB_METHOD: Final = 8
_WINDOWS: Final[Mapping[str, int]] = MappingProxyType({"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB})
_MOST_LAYERS: Final = 3
_MOST_MEMBERS: Final = 1000
"""Parts that one gzip body may be made of: each empty one costs time, and adds nothing to the limit."""


def unpack(body: bytes, encoding: str, most_bytes: int) -> tuple[bytes, Damage]:
    """Return `body` as it was before it was compressed, never more than `most_bytes` of it.

    Args:
        body: As it came.
        encoding: The header's value: encodings in the order in which they were applied.
        most_bytes: How much is unpacked at most, so that a bomb fills no memory.
    """
    layers = [name for each in encoding.lower().split(",") if (name := each.strip()) not in ("", "identity")]
    if not body or not layers:
        return body, Damage.NONE
    if len(layers) > _MOST_LAYERS or not all(layer in _WINDOWS for layer in layers):
        return body, Damage.ENCODED
    damage = Damage.NONE
    for layer in reversed(layers):
        if damage is Damage.NONE:
            body, damage = _inflate(body, _WINDOWS[layer], most_bytes)
    return body, damage


def _inflate(body: bytes, window: int, most_bytes: int) -> tuple[bytes, Damage]:
    """Undo one layer; `deflate` comes with zlib's header, as it should, or without (RFC 9110, section 8.4.1.2)."""
    if window == _GZIP and body.startswith(b"{"):
        return body, Damage.NONE  # something unpacked it and left the header
    if window == _ZLIB and (body[0] & 0x0F != _ZLIB_METHOD or int.from_bytes(body[:2], "big") % 31):
        window = _RAW
    plain = bytearray()
    for _ in range(_MOST_MEMBERS):
        unpacker = zlib.decompressobj(window)
        try:
            plain += unpacker.decompress(body, most_bytes + 1 - len(plain))
        except zlib.error:
            return b"", Damage.ENCODED
        if len(plain) > most_bytes:
            return bytes(plain[:most_bytes]), Damage.OVERSIZED
        if not unpacker.eof:
            return b"", Damage.TRUNCATED
        body = unpacker.unused_data
        if window != _GZIP or not body.startswith(b"\x1f\x8b"):
            return bytes(plain), Damage.NONE
    return b"", Damage.ENCODED
