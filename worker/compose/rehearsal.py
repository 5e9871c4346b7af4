"""A sandbox in a process of its own, with a batch that matches it: what `demo` runs against."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.errors import ConfigurationError

_TROUBLE: Final = ("server-error=3%", "reset=1%")
_LIMIT: Final = "250/s,kind=token-bucket,burst=50,headers=retry-after-seconds"
_STOP_WITHIN_S: Final = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """A running sandbox and its batch.

    Attributes:
        domain: What goes into MONOCLOUD_MANAGEMENT_DOMAIN.
        key: Its key: the made-up one, or that of the variable which gave it another.
        batch: The CSV file.
        expected: Rows by outcome that a sound run ends with, without zeros.
        trouble: What troubles it makes, for people.
    """

    domain: str
    key: str
    batch: Path
    expected: dict[str, int]
    trouble: str

    def received(self) -> int:
        """Return how many requests the sandbox counted."""
        directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever HTTP_PROXY says
        with directly.open(f"{self.domain}/_sandbox/record") as answer:
            return int(json.load(answer)["requests"])


@contextlib.contextmanager
def staged_sandbox(folder: Path, rows: int) -> Iterator[Stage]:
    """Start a sandbox with trouble on, write a batch of `rows` rows for it, and stop it in the end.

    Raises:
        ConfigurationError: The folder cannot be made, or the sandbox did not start.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--folder {folder}: cannot make this folder: {error.strerror}.") from error
    batch = folder / "batch.csv"
    command = [
        sys.executable, "-m", "worker", "sandbox", "--limit", _LIMIT,
        *(part for trouble in _TROUBLE for part in ("--trouble", trouble)),
        "--write-csv", str(batch), "--rows", str(rows),
        "--bad", str(rows // 200), "--duplicates", str(rows // 100), "--vanished", str(rows // 100),
    ]  # fmt: skip
    with subprocess.Popen(  # noqa: S603 - our own program, our own arguments
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield _stage(process, batch)
        finally:
            process.terminate()
            process.wait(_STOP_WITHIN_S)


def _stage(process: subprocess.Popen[str], batch: Path) -> Stage:
    assert process.stdout is not None
    assert process.stderr is not None
    expected, hello = process.stderr.readline(), process.stdout.readline()
    if not hello:
        raise ConfigurationError(f"The sandbox did not start: {expected}{process.stderr.read()}")
    told = json.loads(hello)
    counts = {outcome: count for outcome, count in json.loads(expected)["expected"].items() if count}
    key = told["key"] or os.environ[told["key_variable"]]
    return Stage(told["domain"], key, batch, counts, f"limit {_LIMIT}; {', '.join(_TROUBLE)}")
