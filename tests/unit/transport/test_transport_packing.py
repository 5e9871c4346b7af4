"""Bodies that come compressed although plain was asked for."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model import Damage
from worker.transport.packing import unpack

MOST = 1000


def raw(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def in_two(body: bytes) -> bytes:
    return gzip.compress(body[: len(body) // 2]) + gzip.compress(body[len(body) // 2 :])


PACKED = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("gzip", in_two),
    ("deflate", zlib.compress),
    ("deflate", raw),
    ("identity", bytes),
    ("", bytes),
    ("deflate, gzip", lambda body: gzip.compress(zlib.compress(body))),
    ("gzip, identity", gzip.compress),
]


@given(st.sampled_from(PACKED), st.binary(max_size=2 * MOST))
def test_what_was_packed_is_unpacked_within_the_limit(
    packed: tuple[str, Callable[[bytes], bytes]], body: bytes
) -> None:
    encoding, pack = packed
    unpacked, damage = unpack(pack(body), encoding, MOST)
    if encoding in ("identity", "") or len(body) <= MOST:
        assert (unpacked, damage) == (body, Damage.NONE)
    else:
        assert damage is Damage.OVERSIZED
        assert len(unpacked) <= MOST


@given(st.sampled_from(["gzip", "deflate", "gzip, deflate"]), st.binary(max_size=50))
def test_what_is_no_such_thing_is_never_longer_and_never_raises(encoding: str, body: bytes) -> None:
    assert len(unpack(body, encoding, MOST)[0]) <= MOST


@pytest.mark.parametrize(
    ("body", "encoding", "damage"),
    [
        (b"?", "br", Damage.ENCODED),
        (b"?", "zstd", Damage.ENCODED),
        (gzip.compress(b"x", mtime=0), "br, gzip", Damage.ENCODED),
        (b"?", ",".join(["gzip"] * 50), Damage.ENCODED),
        (b"no gzip", "gzip", Damage.ENCODED),
        (gzip.compress(b"x" * 500, mtime=0)[:-3], "gzip", Damage.TRUNCATED),
        (gzip.compress(b"", mtime=0) * 5000, "gzip", Damage.ENCODED),
        (b'{"title": "unpacked by somebody"}', "gzip", Damage.NONE),
        (b"", "br", Damage.NONE),
    ],
)
def test_what_cannot_be_read_is_told(body: bytes, encoding: str, damage: Damage) -> None:
    assert unpack(body, encoding, MOST)[1] is damage


def test_a_bomb_fills_no_memory() -> None:
    bomb = gzip.compress(gzip.compress(bytes(1 << 27)))
    tracemalloc.start()
    try:
        assert unpack(bomb, "gzip, gzip", 1 << 20)[1] is Damage.OVERSIZED
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()
