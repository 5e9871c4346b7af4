"""Reading an answer's body: never more than the limit, and never the key."""

from __future__ import annotations

import asyncio
import html
import json
import re
from typing import Final
from urllib.parse import unquote

import aiohttp
import msgspec

from worker.model import Answer, Damage

_MOST_BODY_BYTES: Final = 1 << 20
_OK: Final = 200
_SOUND: Final = Damage.NONE
_REDACTED: Final = b"[redacted]"
_JSON_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")


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
    if "Content-Encoding" in headers and headers["Content-Encoding"].lower() != "identity":
        damage = damage or Damage.ENCODED
    if not response.closed:
        response.release()
    return Answer(response.status, headers, body, damage)


def cut_off(response: aiohttp.ClientResponse) -> Answer:
    """Close the connection and return what its head said: the body broke off, or took longer than it may."""
    response.close()
    return Answer(response.status, response.headers, b"", Damage.TRUNCATED)


def without_echo(answer: Answer, key: str) -> Answer:
    r"""Return `answer` without the key that was sent: the body of an error is shown to people.

    What stands in front of a tenant (a debugging proxy, a WAF's page) may show the request's headers. Where it
    shows the key in escapes (.NET writes a `+` as `\u002B`) there is no telling where: all of the body goes.
    """
    if answer.status == _OK:
        return answer
    body = answer.body
    for form in (key, json.dumps(key)[1:-1]):
        body = body.replace(form.encode(), _REDACTED)
    if _shows(body.decode("utf-8", "replace"), key):
        body = _REDACTED
    headers = answer.headers
    if _shows(headers.get("Location", "").lower(), key.lower()):  # its host is told, which has no case
        headers = {name: value for name, value in headers.items() if name.lower() != "location"}
    if body is answer.body and headers is answer.headers:
        return answer
    return msgspec.structs.replace(answer, headers=headers, body=body)


def _shows(text: str, key: str) -> bool:
    """Return whether `key` stands in `text` once the escapes of JSON, URLs and HTML are resolved."""
    plain = _JSON_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    return key.replace("\\", "") in html.unescape(unquote(plain)).replace("\\", "")


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
