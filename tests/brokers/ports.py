"""Ports of servers that a test starts."""

from __future__ import annotations

import socket
import time


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
