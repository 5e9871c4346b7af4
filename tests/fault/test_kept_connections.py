"""Servers that close kept connections: about when they are used again, or on the second call of each."""

from __future__ import annotations

import csv
import json
import re
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.fault

ROWS = 120


class _OnceEach(socketserver.StreamRequestHandler):
    """Answers one call on each connection; at the next one it closes it without a word."""

    def handle(self) -> None:
        if path := self._read_path():
            self.server.answered.append(path)  # type: ignore[attr-defined]
            _, _, _, user, _, email, _ = path.split("/")
            body = json.dumps({"user_id": user, "emails": [{"id": email, "verified": False}]}).encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            self._read_path()

    def _read_path(self) -> str:
        lines = list(iter(self.rfile.readline, b"\r\n")) if self.rfile.peek(1) else []
        found = re.match(rb"POST (\S+) ", b"".join(lines))
        return found[1].decode() if found else ""


@pytest.fixture
def closing() -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _OnceEach) as server:
        server.daemon_threads = True
        server.answered = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


def test_a_connection_that_is_closed_as_it_is_used_again_costs_no_attempt(desk: Any, closing: Any) -> None:
    desk.env["MONOCLOUD_MANAGEMENT_DOMAIN"] = f"http://127.0.0.1:{closing.server_address[1]}"
    batch = desk.folder / "kept.csv"
    batch.write_text("user_id,identifier_id\n" + "".join(f"u{row},m{row}\n" for row in range(ROWS)))
    ran = desk.call(
        "run", str(batch), "--yes", "--json", "--rate", "100/s", "--attempts", "1", "--concurrency", "4"
    )
    assert (ran.code, ran.outcomes) == (0, {"succeeded": ROWS}), ran.err
    assert len(closing.answered) == len(set(closing.answered)) == ROWS
    with (desk.run_folder / "report.csv").open(newline="", encoding="utf-8") as lines:
        attempts = [int(row["_attempts"]) for row in csv.DictReader(lines)]
    assert sum(attempts) == ran.summary["calls"] > ROWS, "a call that was sent is told, charged or not"
    assert max(attempts) <= 3
