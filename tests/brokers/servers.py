"""Brokers of a test's own: started on a free port, in a folder that goes, with all that is needed to lose nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final


class RedisServer:
    """A redis-server that writes each command to disk before it answers."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server")
        assert binary, "redis-server is missing: install it (Debian: apt-get install redis-server)"
        self._binary = binary
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, stream: str) -> str:
        return f"redis://127.0.0.1:{self.port}/0?stream={stream}"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self._process = subprocess.Popen([self._binary, *options], stdout=subprocess.DEVNULL)
        wait_for_port(self.port)

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()


class RabbitServer:
    """A rabbitmq-server with its own port mapper, so that it meets no other on this machine."""

    _BINARY: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    """Not the one on the path, which changes the user and the folder."""

    def __init__(self, folder: Path) -> None:
        epmd = shutil.which("epmd")
        missing = "rabbitmq-server is missing: install it (Debian: apt-get install rabbitmq-server)"
        assert epmd, missing
        assert self._BINARY.exists(), missing
        self._folder = folder
        self.port = free_port()
        mapper_port = str(free_port())
        self._env = os.environ | {
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": mapper_port,
            "RABBITMQ_NODENAME": f"test-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "none"),
        }
        self._mapper = subprocess.Popen([epmd, "-port", mapper_port, "-address", "127.0.0.1"])
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, queue: str) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{queue}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._BINARY],
            env=self._env,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # the server is a child of this script
        )
        wait_for_port(self.port, hello=b"AMQP\x00\x00\x09\x01", answer=b"\x01\x00\x00", within_s=60)

    def kill(self) -> None:
        """End it as a crash does, when queues are old enough to survive it on a single node of 3.10.

        One that was declared less than a second before has no leader ever after (rabbitmq-server, issue 10070).
        """
        assert self._process is not None
        time.sleep(1)
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._mapper.kill()
        self._mapper.wait()


Broker = RedisServer | RabbitServer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for_port(
    port: int, *, hello: bytes = b"PING\r\n", answer: bytes = b"+PONG", within_s: float = 20
) -> None:
    """Return once something listens and answers; Redis does so only when it has read its log."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(hello)
                if connection.recv(len(answer)) == answer:
                    return
        except OSError:
            assert time.monotonic() < deadline, f"nothing answers on port {port}"
        time.sleep(0.02)
