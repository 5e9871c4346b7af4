"""The bare loop that the product is measured against: tasks that post, read and JSON-decode, no more.

No pacing, no retry, no record. Prints `{"elapsed_s": S, "cpu_s": S}` of the calls alone: neither the start of
Python nor the reading of the file counts.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp


async def _work(session: aiohttp.ClientSession, base: str, pairs: Iterator[tuple[str, str]]) -> None:
    for user_id, identifier_id in pairs:
        async with session.post(f"{base}/api/users/{user_id}/emails/{identifier_id}/unverify") as reply:
            await reply.json()


async def _call_all(
    base: str, pairs: list[tuple[str, str]], tasks: int, ca_bundle: Path | None
) -> dict[str, float]:
    context: ssl.SSLContext | bool = (
        True if ca_bundle is None else ssl.create_default_context(cafile=ca_bundle)
    )
    left = iter(pairs)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context), headers={"X-API-KEY": "bench"}
    ) as session:
        started, cpu_started = time.perf_counter(), time.process_time()
        await asyncio.gather(*(_work(session, base, left) for _ in range(tasks)))
        return {"elapsed_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu_started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="For example http://127.0.0.1:8080")
    parser.add_argument(
        "file", type=Path, help="CSV whose first two columns are the user and the identifier."
    )
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--ca-bundle", type=Path)
    arguments = parser.parse_args()
    with arguments.file.open(newline="", encoding="utf-8") as lines:
        rows = csv.reader(lines)
        next(rows)
        pairs = [(row[0], row[1]) for row in rows]
    figures = asyncio.run(_call_all(arguments.base, pairs, arguments.tasks, arguments.ca_bundle))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
