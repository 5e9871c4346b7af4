"""A tenant that only says yes, as cheaply as Python can: so that a measured client is never waiting for it.

Answers `POST /api/users/{user}/emails/{identifier}/unverify` with a 1.6 KB user document in which that
identifier is unverified, `GET /calls` with how many such calls it had and when (`{"number": N, "first_at": S,
"last_at": S}`), and everything else with 404. Prints `{"port": N}` when it listens; ends when its input is closed.
A tool of the benches alone: the sandbox is the faithful one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Final

_BUFFER_BYTES: Final = 1 << 18
_PREFIX: Final = b"POST /api/users/"
_MIDDLE: Final = b"/emails/"
_SUFFIX: Final = b"/unverify "
_END: Final = b"\r\n\r\n"
_ASKED: Final = b"GET /calls "
_USER_MARK: Final = "USERID"
_IDENTIFIER_MARK: Final = "IDENTIFIERID"
_NOT_FOUND: Final = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length: 41\r\n\r\n"
    b'{"type":"about:blank","title":"no","s":1}'
)


def user_document() -> bytes:
    """Return a user as the API's reference shows it, with marks where the two ids go; about 1.6 KB."""
    contact = {"primary": False, "verified": True, "source": "local", "verification_source": "email"}
    user = {
        "user_id": _USER_MARK,
        "disabled": False,
        "creation_time": 1700000000,
        "last_updated": 1763900000,
        "last_activity": 1763800000,
        "last_sign_in_success": 1763800000,
        "last_sign_in_success_ip": "203.0.113.7",
        "last_sign_in_attempt": 1763800000,
        "last_sign_in_attempt_ip": "203.0.113.7",
        "sign_in_attempts_count": 118,
        "sign_in_success_count": 112,
        "failure_count": 0,
        "block_until": None,
        "password_updated_at": 1700000000,
        "has_password": True,
        "force_password_reset": False,
        "last_known_city": "Rotterdam",
        "last_known_region": "South Holland",
        "last_known_country": "NL",
        "claims": {"given_name": "Example", "locale": "nl-NL"},
        "public_data": {"plan": "team", "theme": "dark", "onboarded": True},
        "private_data": {"crm_id": "0017R00002abcdEQAQ", "segments": ["b2b", "emea", "renewal"]},
        "connections": [{"idp": "local", "connection_id": "c0ffee00-0000-4000-8000-000000000001"}],
        "external_providers": [],
        "emails": [
            contact
            | {"id": _IDENTIFIER_MARK, "email": "person@example.com", "primary": True, "verified": False},
            contact | {"id": "6cec8047-6149-4d9b-8d99-91c83c22a9dc", "email": "person@example.org"},
        ],
        "phone_numbers": [contact | {"id": "0b9f7c9e-1d0e-4c55-9b66-4f2c5f1f7a10", "phone": "+31101234567"}],
        "passkeys": [
            {
                "passkey_id": "pk_4f2c5f1f7a10",
                "name": "Laptop",
                "public_key": "pQECAyYgASFYIAx7",
                "aa_guid": "adce0002-35bc-c60a-648b-0b25f1f05503",
                "backup_state": True,
                "backup_eligibility": True,
                "user_present": True,
                "user_verified": True,
                "user_agent": "Firefox/145.0",
            }
        ],
        "username": {"id": "2d1f5a9c-7a55-4d0c-8a11-0c9f1c2b3a4d", "username": "person", "source": "local"},
    }
    return json.dumps(user, separators=(",", ":")).encode()


class Calls:
    """What calls came.

    Attributes:
        number: How many.
        first_at: Monotonic seconds of the first; 0 before it came.
        last_at: Those of the last.
    """

    def __init__(self) -> None:
        self.number = 0
        self.first_at = self.last_at = 0.0

    def count(self) -> None:
        """Count one more."""
        self.number += 1
        self.last_at = time.monotonic()
        self.first_at = self.first_at or self.last_at

    def told(self) -> bytes:
        """Return the answer that tells of them."""
        body = json.dumps(
            {"number": self.number, "first_at": self.first_at, "last_at": self.last_at}
        ).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


class FastTenant(asyncio.BufferedProtocol):
    """One connection. The buffer is shared by all: what was received is used up before the next receive."""

    _buffer = bytearray(_BUFFER_BYTES)
    _view = memoryview(_buffer)
    _head, _between, _tail = (
        user_document()
        .replace(_USER_MARK.encode(), b"\0")
        .replace(_IDENTIFIER_MARK.encode(), b"\0")
        .split(b"\0")
    )
    _fixed_bytes = len(_head) + len(_between) + len(_tail)

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._rest = b""
        self._answers: dict[int, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._write = transport.write

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        data = self._rest + bytes(self._view[:nbytes])
        *requests, self._rest = data.split(_END)
        self._write(b"".join([self._answer(request) for request in requests]))

    def eof_received(self) -> None:
        """Close with the peer."""

    def _answer(self, request: bytes) -> bytes:
        middle = request.find(_MIDDLE)
        end = request.find(_SUFFIX, middle)
        if end < 0 or not request.startswith(_PREFIX):
            return self._calls.told() if request.startswith(_ASKED) else _NOT_FOUND
        self._calls.count()
        user_id = request[len(_PREFIX) : middle]
        identifier_id = request[middle + len(_MIDDLE) : end]
        length = self._fixed_bytes + len(user_id) + len(identifier_id)
        start = self._answers.get(length) or self._start(length)
        return b"".join((start, user_id, self._between, identifier_id, self._tail))

    def _start(self, length: int) -> bytes:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        self._answers[length] = head.encode() + self._head
        return self._answers[length]


async def _serve(context: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    calls = Calls()
    server = await loop.create_server(lambda: FastTenant(calls), "127.0.0.1", 0, ssl=context, backlog=1024)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", type=Path, help="PEM file with key and certificate: serve https.")
    arguments = parser.parse_args()
    context = None
    if arguments.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate)
    asyncio.run(_serve(context))


if __name__ == "__main__":
    main()
