"""What the `sandbox` command does: write a batch, say where it serves, serve until told to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

from worker.errors import UsageError
from worker.sandbox.batch import BatchPlan, write_batch
from worker.sandbox.options import MADE_UP_KEY, SandboxOptions
from worker.sandbox.people import People
from worker.sandbox.server import Sandbox

KEY_VARIABLE: Final = "BULK_UNVERIFY_SANDBOX_KEY"


def key_from() -> str:
    """Return the key that the sandbox is to take: the environment's, or the made-up one."""
    return os.environ.get(KEY_VARIABLE) or MADE_UP_KEY


def write(options: SandboxOptions, path: Path | None, plan: BatchPlan) -> None:
    """Write a matching batch and print what must become of it as one line of JSON on standard error.

    Raises:
        UsageError: There is no path, or the plan does not add up.
    """
    if path is None:
        raise UsageError("--write-only needs --write-csv FILE: it says what to write.")
    outcome = write_batch(path, People(options.seed, options.users), plan, options.seed)
    print(json.dumps({"csv": str(path), "expected": dataclasses.asdict(outcome)}), file=sys.stderr)  # noqa: T201 - the command's output


def serve(options: SandboxOptions) -> None:
    """Serve until SIGINT or SIGTERM; the address goes to standard output as one line of JSON.

    `key` is the made-up key; where the environment gave another one it is null, for that is not told.

    Raises:
        ConfigurationError: The sandbox cannot serve at that address.
    """
    asyncio.run(_serve(options))


async def _serve(options: SandboxOptions) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with Sandbox(options) as sandbox:
        made_up = sandbox.api_key == MADE_UP_KEY
        line = {
            "url": sandbox.url,
            "domain": sandbox.domain,
            "key": MADE_UP_KEY if made_up else None,
            "key_variable": None if made_up else KEY_VARIABLE,
            "users": options.users,
            "seed": options.seed,
            "pid": os.getpid(),
        }
        print(json.dumps(line), flush=True)  # noqa: T201 - the command's output
        await told.wait()
