"""What the process asks of the system, asked of real processes, as limits hold for a whole one."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def say(code: str, **limits: tuple[int, int]) -> list[str]:
    """Return what a fresh Python says that has these limits."""

    def limit() -> None:
        for name, values in limits.items():
            resource.setrlimit(getattr(resource, name), values)

    run = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, preexec_fn=limit)
    return done.stdout.splitlines()


ROOM = """
    import resource
    from worker.process import room_for
    allowed, told = room_for({connections})
    print(allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    print(told)
"""


def test_room_that_is_there_is_not_spoken_of() -> None:
    assert say(ROOM.format(connections=32), RLIMIT_NOFILE=(1024, 2048)) == ["32 1024", ""]


def test_the_soft_limit_is_raised_up_to_the_hard_one() -> None:
    numbers, told = say(ROOM.format(connections=500), RLIMIT_NOFILE=(256, 2048))
    assert numbers == "500 540"
    assert told == "Raised the limit of open files from 256 to 540, for 500 connections."


def test_what_cannot_be_raised_lowers_the_calls_in_flight() -> None:
    numbers, told = say(ROOM.format(connections=128), RLIMIT_NOFILE=(64, 100))
    assert numbers == "60 100"
    assert "--concurrency 128: 60 calls in flight at most" in told
    assert say(ROOM.format(connections=128), RLIMIT_NOFILE=(30, 30))[0] == "1 30"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux' own")
def test_the_command_may_not_be_dumped_before_it_reads_a_key() -> None:
    told = say(
        """
        import ctypes, os, resource, sys
        from worker import __main__ as command, connection
        def stop():
            print(ctypes.CDLL(None).prctl(3), *resource.getrlimit(resource.RLIMIT_CORE), flush=True)
            os._exit(0)
        connection.load_key = stop
        os.environ["MONOCLOUD_MANAGEMENT_DOMAIN"] = "http://127.0.0.1:1"
        sys.argv = ["bulk-unverify", "doctor"]
        command.main()
        """
    )
    assert told == ["0 0 0"]


@pytest.mark.skipif(sys.platform != "linux", reason="cores are found by the kernel's pattern")
def test_a_running_command_that_is_told_to_dump_leaves_no_core(tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8").strip()
    if pattern.startswith(("|", "/")):
        pytest.skip("the kernel hands cores to a program here")
    batch = tmp_path / "batch.csv"
    batch.write_text("user_id,identifier_id\nu1,i1\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = os.environ | {
            "MONOCLOUD_MANAGEMENT_DOMAIN": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "MONOCLOUD_MANAGEMENT_API_KEY": "made-up-key-0123456789",
        }
        command = [sys.executable, "-m", "worker", "run", "batch.csv", "--yes", "--timeout", "60s"]

        def ready_to_dump() -> None:
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell has what it starts with & ignore it

        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=env | {"PYTHONPATH": str(Path(__file__).parents[3])},
            stderr=subprocess.DEVNULL,
            preexec_fn=ready_to_dump,  # noqa: PLW1509
        )
        try:
            silent.settimeout(30)
            silent.accept()[0].close()  # it has read the key: it calls
            process.send_signal(signal.SIGQUIT)
            assert process.wait(30) == -signal.SIGQUIT
        finally:
            process.kill()
            process.wait()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("core")] == []
