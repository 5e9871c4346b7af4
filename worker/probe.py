"""A question to the tenant that is about no row: does the API answer at all? Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from worker.model import Answer, Call, Reply

PROBE: Final = Call("GET", "users?size=1")
"""Source: `GET /users?page=&size=&filter=&sort=`; the answer is a list."""
_OK: Final = 200
_decode: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def is_answered(reply: Reply | None) -> bool:
    """Return whether the API itself answered `PROBE`: nothing but a list is its own."""
    if not isinstance(reply, Answer) or reply.status != _OK or reply.damage:
        return False
    try:
        _decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def describe(reply: Reply | None) -> str:
    """Return what came back for `PROBE`, in few words."""
    if isinstance(reply, Answer):
        return str(reply.status)
    return "nothing" if reply is None else f"nothing ({reply.detail})"
