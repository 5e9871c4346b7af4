"""The real command with nobody to call: the tenant's port is closed, so what is sent would fail loudly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

GOOD = "user_id,identifier_id\nu1,i1\n"


def call(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return execute(folder, [sys.executable, "-m", "worker", *words], **env)


def execute(folder: Path, command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    """Run `command` in `folder`; an empty value of `env` takes the variable out."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("MONOCLOUD_")}
    base |= {
        "MONOCLOUD_MANAGEMENT_API_KEY": "a-key",
        "MONOCLOUD_MANAGEMENT_DOMAIN": "http://127.0.0.1:9",
        "BULK_UNVERIFY_LOCK_DIR": str(folder),
    }
    return subprocess.run(
        command,
        env={name: value for name, value in (base | env).items() if value},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for part in said:
        assert part in done.stderr
