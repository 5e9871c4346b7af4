"""A server that answers one call twice: each call after it on that connection gets the answer of the one before."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.fault

ROWS = 30
_NOT_FOUND = b'HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\n{"title": "Not Found"}'


class _Stammer(socketserver.StreamRequestHandler):
    """Answers the first row's call twice, the second time while the next call is in flight; the rest once each."""

    def handle(self) -> None:
        late: list[bytes] = []
        while head := self._read_head():
            found = re.match(rb"POST /api/users/(.+?)/emails/(.+?)/unverify ", head)
            assert found is not None
            user, email = (part.decode() for part in found.groups())
            body = json.dumps({"user_id": user, "emails": [{"id": email, "verified": False}]}).encode()
            said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            if user == "u1":
                said, late = _NOT_FOUND, [_NOT_FOUND]
            elif late:
                said, late = late[0], [said]
            self.wfile.write(said)

    def _read_head(self) -> bytes:
        lines = list(iter(self.rfile.readline, b"\r\n")) if self.rfile.peek(1) else []
        return b"".join(lines)


@pytest.fixture
def stammering() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Stammer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_an_answer_that_comes_twice_spoils_two_rows_and_no_more(desk: Any, stammering: str) -> None:
    desk.env["MONOCLOUD_MANAGEMENT_DOMAIN"] = stammering
    batch = desk.folder / "shifted.csv"
    # One e-mail id for all: only the user that a document names tells whose it is.
    batch.write_text("user_id,identifier_id\n" + "".join(f"u{row},mail\n" for row in range(1, ROWS + 1)))
    flags = ["--yes", "--json", "--rate", "1000/s", "--concurrency", "1", "--max-failures", "100%"]
    ran = desk.call("run", str(batch), *flags)
    assert ran.outcomes == {"not_found": 2, "unconfirmed": 1, "succeeded": ROWS - 3}, ran.err
