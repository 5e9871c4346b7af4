"""Starts what is measured as processes of their own, pinned to cores, and reads what they cost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

HERE: Final = Path(__file__).parent
_POLL_S: Final = 0.01
_KEPT_OUTPUT: Final = 20_000
_CORES: Final = sorted(os.sched_getaffinity(0))
CLIENT_CORE: Final = _CORES[0]
SERVER_CORE: Final = _CORES[-1]


class BenchError(Exception):
    """What was measured did not do its work: its figures would mean nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """A process that ended.

    Attributes:
        output: The end of its standard output.
        exit_code: As it ended.
        elapsed_s: Start to end.
        cpu_s: User and system time of all its threads.
        peak_rss_bytes: The most memory it held (VmHWM), read every 10 ms; 0 unless asked for.
    """

    output: str
    exit_code: int
    elapsed_s: float
    cpu_s: float
    peak_rss_bytes: int = 0

    def figures(self) -> dict[str, Any]:
        """Return the last line of the output, which is a JSON object."""
        value = json.loads(self.output.splitlines()[-1])
        assert isinstance(value, dict)
        return value


def script(name: str, *arguments: object) -> list[str]:
    """Return the command that runs one of the scripts beside this file."""
    return [sys.executable, str(HERE / name), *map(str, arguments)]


def finish(
    command: Sequence[str],
    *,
    core: int | None = None,
    env: Mapping[str, str] | None = None,
    allowed: Sequence[int] = (0,),
    watch_memory: bool = False,
) -> Finished:
    """Run `command` to its end; one at a time, because the CPU time is that of all children that ended.

    Raises:
        BenchError: It ended with a code that is not `allowed`; the message holds the end of its errors.
    """
    cpu_before, started = _children_cpu_s(), time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=errors, text=True, env=env
        )
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        peak = _watch_memory(process) if watch_memory else 0
        exit_code = process.wait()
        elapsed_s = time.perf_counter() - started
        said, complained = (_end_of(stream) for stream in (output, errors))
    if exit_code not in allowed:
        raise BenchError(f"{' '.join(command)} ended with {exit_code}: {complained}{said}")
    return Finished(said, exit_code, elapsed_s, _children_cpu_s() - cpu_before, peak)


def _end_of(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()[-_KEPT_OUTPUT:]


@contextlib.contextmanager
def serving(command: Sequence[str], core: int, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server that prints a JSON object with its `port` and ends when its input is closed."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    os.sched_setaffinity(process.pid, {core})
    try:
        first = process.stdout.readline()
        if not first:
            raise BenchError(f"{' '.join(command)} did not start.")
        yield Server(json.loads(first)["port"], process.pid)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.terminate()
        process.wait(10)


@dataclasses.dataclass(frozen=True, slots=True)
class Calls:
    """What calls a tenant had.

    Attributes:
        number: How many.
        first_at: Seconds by a clock of its own when the first one came.
        last_at: Those of the last one.
    """

    number: int
    first_at: float
    last_at: float

    def per_s(self) -> float:
        """Return calls a second, from the first to the last one."""
        return (self.number - 1) / (self.last_at - self.first_at)


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A server that was started here."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Return the CPU time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def calls(self) -> Calls:
        """Return what calls it has had, if it is the fast tenant."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/calls") as answer:
            return Calls(**json.load(answer))


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _watch_memory(process: subprocess.Popen[str]) -> int:
    """Return the peak of VmHWM (`ru_maxrss` starts at the size of the process that forked)."""
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak = max(peak, int(line.split()[1]) * 1024)
        time.sleep(_POLL_S)
    return peak
