"""Runs the product's sandbox as a process of its own, with a batch of its users in a file.

Prints `{"port": N}` when it listens; ends when its input is closed.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from pathlib import Path

from batches import HEADER

from worker.sandbox.options import SandboxOptions, Trouble
from worker.sandbox.server import Sandbox


async def _serve(batch: Path, rows: int, trouble: Trouble) -> None:
    async with Sandbox(SandboxOptions(users=rows, trouble=trouble)) as sandbox:
        with batch.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(HEADER)
            writer.writerows((*pair, "person@example.com") for pair in sandbox.pairs(rows))
        sys.stdout.write(json.dumps({"port": int(sandbox.url.rpartition(":")[2])}) + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), Trouble.model_validate_json(sys.argv[3])))
