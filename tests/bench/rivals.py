"""Other task queues for Python, each with the worker that its users would write, in an environment of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from processes import CLIENT_CORE, HERE, BenchError, Server, finish

_FOLDER: Final = HERE / "rivals"
_ENVIRONMENTS: Final = HERE.parent.parent / ".venv-bench"
_LOOK_S: Final = 0.1
_SLOWEST_PER_S: Final = 100
_STARTS_S: Final = 30
_ENDS_S: Final = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Rival:
    """A task queue.

    Attributes:
        name: Its name, and that of its environment.
        rows: About ten seconds' work.
        worker: The command that starts one worker process; its first word is in the environment.
        database: Which of the Redis server's it has for itself.
    """

    name: str
    rows: int
    worker: tuple[str, ...]
    database: int

    def per_s(self, rows: int, file: Path, tenant: Server, redis_port: int, concurrency: int) -> float:
        """Publish `rows` of `file`, have one worker do them, and return the rows a second that the tenant saw.

        Raises:
            BenchError: Its environment is not there, or it did not make the calls.
        """
        home = _ENVIRONMENTS / self.name / "bin"
        if not home.is_dir():
            raise BenchError(f"{self.name} is not installed: `make bench` does that.")
        env = os.environ | {
            "BENCH_TENANT": f"http://127.0.0.1:{tenant.port}",
            "BENCH_REDIS": f"redis://127.0.0.1:{redis_port}/{self.database}",
            "BENCH_CONCURRENCY": str(concurrency),
        }
        script = _FOLDER / f"{self.name}_worker.py"
        finish([str(home / "python"), str(script), str(file), str(rows)], env=env)
        words = [word.format(concurrency=concurrency) for word in self.worker]
        with tempfile.TemporaryFile("w+") as complaints, _working(home, words, env, complaints):
            deadline = time.monotonic() + _STARTS_S + rows / _SLOWEST_PER_S
            while (made := tenant.calls()).number < rows:
                if time.monotonic() > deadline:
                    complaints.seek(0)
                    raise BenchError(f"{self.name} made {made.number} of {rows} calls: {complaints.read()}")
                time.sleep(_LOOK_S)
        return made.per_s()

    def versions(self) -> str:
        """Return which release of it, and of its client of Redis, its lock names."""
        lock = (_FOLDER / f"{self.name}.lock").read_text(encoding="utf-8")
        named = re.findall(rf"^({self.name}(?:-redis)?|redis)==(\S+)", lock, re.MULTILINE)
        return ", ".join(" ".join(pair) for pair in named)


@contextlib.contextmanager
def _working(home: Path, words: list[str], env: dict[str, str], complaints: IO[str]) -> Iterator[None]:
    """Hold a worker on the client's core, with all the processes that it starts; they end with the context."""
    process = subprocess.Popen(
        [str(home / words[0]), *words[1:]],
        env=env,
        cwd=_FOLDER,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        start_new_session=True,
    )
    os.sched_setaffinity(process.pid, {CLIENT_CORE})
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_ENDS_S)


RIVALS: Final = (
    Rival("arq", 12_000, ("arq", "arq_worker.Worker"), 1),
    Rival(
        "taskiq",
        16_000,
        (
            *("taskiq", "worker", "--workers", "1", "--max-async-tasks", "{concurrency}"),
            *("--log-level", "WARNING", "taskiq_worker:broker"),
        ),
        2,
    ),
    Rival(
        "celery",
        5_000,
        (
            *(
                "celery",
                "--app",
                "celery_worker",
                "worker",
                "--pool",
                "threads",
                "--concurrency",
                "{concurrency}",
            ),
            *("--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        3,
    ),
)
