"""A body that came with its head is taken as it lies there, unless something went wrong with it."""

from __future__ import annotations

import asyncio
from typing import cast
from unittest.mock import MagicMock

import aiohttp
import pytest
from multidict import CIMultiDict

from worker.model import Answer, Damage
from worker.transport.bodies import read_answer


def response(content: aiohttp.StreamReader) -> MagicMock:
    """Return a response with `content`; it reads the way aiohttp's own does."""
    made = MagicMock(aiohttp.ClientResponse)
    made.status, made.headers, made.content, made.closed = 200, CIMultiDict(), content, False
    made.content_length = 4
    made.read = content.read
    return made


@pytest.fixture
async def content() -> aiohttp.StreamReader:
    return aiohttp.StreamReader(MagicMock(), 2**16, loop=asyncio.get_running_loop())


async def read(content: aiohttp.StreamReader) -> Answer:
    return await read_answer(cast("aiohttp.ClientResponse", response(content)))


async def test_all_parts_are_taken_in_their_order(content: aiohttp.StreamReader) -> None:
    for part in (b"on", b"e t", b"wo"):
        content.feed_data(part)
    content.feed_eof()
    answer = await read(content)
    assert (answer.body, answer.damage) == (b"one two", Damage.NONE)


async def test_one_that_broke_is_not_taken_for_whole(content: aiohttp.StreamReader) -> None:
    content.feed_data(b"hal")
    content.feed_eof()
    content.set_exception(aiohttp.ClientPayloadError("broken"))
    answer = await read(content)
    assert (answer.body, answer.damage) == (b"", Damage.TRUNCATED)


async def test_an_answer_that_has_none_is_empty() -> None:
    answer = await read(aiohttp.EMPTY_PAYLOAD)
    assert (answer.body, answer.damage) == (b"", Damage.NONE)
