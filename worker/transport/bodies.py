"""Reading an answer's body: never more than the limit, and never the key."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
import msgspec

from worker.model import Answer, Damage
from worker.redaction import Redactor
from worker.transport.packing import unpack

_MOST_BODY_BYTES: Final = 1 << 20
_OK: Final = 200
_SOUND: Final = Damage.NONE


async def read_answer(response: aiohttp.ClientResponse) -> Answer:
    """Read a bounded body and give the connection back, or close it where it cannot be used again."""
    headers, content = response.headers, response.content
    damage = _SOUND
    try:
        if content.is_eof() and content.exception() is None:  # it came with the head: the usual case
            body = _all_of(content)
        else:
            length = response.content_length
            if length is not None and length <= _MOST_BODY_BYTES:
                body = await response.read()
            else:
                body, damage = await _read_bounded(response)
    except aiohttp.ClientError:
        return cut_off(response)
    except asyncio.CancelledError:
        response.close()
        raise
    if not response.closed:
        response.release()
    if "Content-Encoding" in headers and not damage:
        body, damage = unpack(body, headers["Content-Encoding"], _MOST_BODY_BYTES)
    return Answer(response.status, headers, body, damage)


def cut_off(response: aiohttp.ClientResponse) -> Answer:
    """Close the connection and return what its head said: the body broke off, or took longer than it may."""
    response.close()
    return Answer(response.status, response.headers, b"", Damage.TRUNCATED)


def without_echo(answer: Answer, redactor: Redactor) -> Answer:
    """Return `answer` without the key that was sent: the body of an error, and where it leads, are shown to people.

    What stands in front of a tenant (a debugging proxy, a WAF's page) may show the request's headers.
    """
    if answer.status == _OK:
        return answer
    body, headers = redactor.body(answer.body), answer.headers
    leads = headers.get("Location", "")
    if (shown := redactor.text(leads)) != leads:  # its host is told
        headers = {name: shown if name.lower() == "location" else value for name, value in headers.items()}
    if body is answer.body and headers is answer.headers:
        return answer
    return msgspec.structs.replace(answer, headers=headers, body=body)


def _all_of(content: aiohttp.StreamReader) -> bytes:
    """Return the body of a stream that has ended and that nobody has read from.

    `read_nowait` would also let the connection read and parse on, which it does already.
    """
    if content is aiohttp.EMPTY_PAYLOAD:
        return b""
    return b"".join(content._buffer)  # noqa: SLF001 - see above; aiohttp is bound to versions that have it


async def _read_bounded(response: aiohttp.ClientResponse) -> tuple[bytes, Damage]:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > _MOST_BODY_BYTES:
            response.close()
            return bytes(body[:_MOST_BODY_BYTES]), Damage.OVERSIZED
    return bytes(body), Damage.NONE
