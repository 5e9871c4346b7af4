"""`stand_in.py tenant PORT LATENCY` answers as a tenant does; `stand_in.py tap PORT TO LOG` notes what passes.

The tap writes a line for each call when it is over: seconds since the epoch at which it went, and its status, or
`closed` for a connection that ended without an answer.
"""

from __future__ import annotations

import asyncio
import collections
import json
import re
import sys
import time
from pathlib import Path
from typing import IO

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency_s: float) -> None:
    """Answer each call on a connection with a user whose identifier is not verified."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode().split("/")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if length:
                await reader.readexactly(int(length[1]))
            await asyncio.sleep(latency_s)
            user, identifier = (path[3], path[5]) if len(path) > 5 else ("", "")
            body = json.dumps({"user_id": user, "emails": [{"id": identifier, "verified": False}]}).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def tap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: int, log: IO[str]) -> None:
    """Pass one connection on and note its calls."""
    began: collections.deque[float] = collections.deque()
    try:
        there, back = await asyncio.open_connection("127.0.0.1", to)
    except OSError:
        writer.close()
        return

    async def out() -> None:
        while chunk := await reader.read(65536):
            if chunk.startswith((b"POST", b"GET")):
                began.append(time.time())
            back.write(chunk)
        back.close()

    async def home() -> None:
        while chunk := await there.read(65536):
            if began and (found := _STATUS.match(chunk)):
                log.write(f"{began.popleft():.4f} {found[1].decode()}\n")
            writer.write(chunk)
        writer.close()

    sides = [asyncio.ensure_future(out()), asyncio.ensure_future(home())]
    await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
    _, pending = await asyncio.wait(sides, timeout=0.05)
    for side in pending:
        side.cancel()
    await asyncio.gather(*sides, return_exceptions=True)
    for at in began:
        log.write(f"{at:.4f} closed\n")
    writer.close()
    back.close()


async def _main(kind: str, port: int, *rest: str) -> None:
    if kind == "tenant":
        server = await asyncio.start_server(
            lambda r, w: answer(r, w, float(rest[0])), "127.0.0.1", port, backlog=1024
        )
    else:
        log = Path(rest[1]).open("w", buffering=1)  # noqa: ASYNC230, SIM115 - ends with the process
        server = await asyncio.start_server(
            lambda r, w: tap(r, w, int(rest[0]), log), "127.0.0.1", port, backlog=1024
        )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
