"""Putting an answer, or what goes wrong with it, on the wire."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from typing import Final

from aiohttp import web

from worker.sandbox.replies import Reply
from worker.sandbox.script import Fate

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on with no time: closing sends a reset instead of a farewell."""
_GARBAGE: Final = b"220 mail.example ESMTP ready\r\n"


def make_response(reply: Reply, fate: Fate) -> web.Response:
    """Return `reply` as `fate` would have it encoded."""
    response = web.Response(status=reply.status, body=encode(reply.body, fate), headers=reply.headers)
    if reply.content_type:
        response.headers["Content-Type"] = reply.content_type
    if fate.gzip:
        response.headers["Content-Encoding"] = "gzip"
    if fate.headers:
        response.headers.update(fate.headers)
    if fate.close:
        response.force_close()
    return response


def encode(text: str, fate: Fate) -> bytes:
    """Return the body's bytes."""
    body = text.encode("latin-1", "replace") if fate.latin1 else text.encode("utf-8", "replace")
    return gzip.compress(body, compresslevel=1, mtime=0) if fate.gzip else body


def reset_transport(transport: asyncio.BaseTransport | None) -> None:
    """Reset a connection, so that the other side sees an error and not an end; None is gone already."""
    if transport is None:
        return
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


async def stall() -> None:
    """Never return; ends by cancellation when the client leaves or the sandbox closes."""
    await asyncio.Event().wait()


def write_garbage(transport: asyncio.Transport | None) -> None:
    """Answer with bytes that are no HTTP, and close the connection."""
    if transport is not None:
        transport.write(_GARBAGE)
        transport.close()


def write_truncated(transport: asyncio.Transport | None, response: web.Response) -> None:
    """Send the head of `response`, which promises its whole body, and half of that; close the connection."""
    body = response.body if isinstance(response.body, bytes) else b""
    headers = {**response.headers, "Content-Length": str(len(body))}
    lines = [f"HTTP/1.1 {response.status} OK", *(f"{name}: {value}" for name, value in headers.items())]
    if transport is not None:
        transport.write("\r\n".join([*lines, "", ""]).encode() + body[: len(body) // 2])
        transport.close()
