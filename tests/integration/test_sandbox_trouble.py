"""Each kind of trouble, proven with a raw client to do what it says."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from worker.sandbox import Limit, Outage, Sandbox, SandboxOptions, Trouble
from worker.sandbox.options import HeaderForm, Kind, LimitKind, OutageKind
from worker.sandbox.record import DROPPED

_WITHIN_S = 0.3
"""How long a test waits for an answer that must not come."""


class RawClient:
    """Speaks HTTP by hand on one connection, to see exactly what comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def post(self, sandbox: Sandbox, pair: tuple[str, str], key: str = "sandbox-key") -> None:
        user_id, email_id = (quote(part, safe="") for part in pair)
        self._writer.write(
            f"POST /api/users/{user_id}/emails/{email_id}/unverify HTTP/1.1\r\nHost: sandbox\r\n"
            f"X-API-KEY: {key}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    async def everything(self) -> bytes:
        """Return all that comes until the connection ends."""
        return await self._reader.read()

    async def head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")


@contextlib.asynccontextmanager
async def raw(sandbox: Sandbox) -> AsyncIterator[RawClient]:
    url = URL(sandbox.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def troubled(**trouble: Any) -> AsyncIterator[tuple[Sandbox, aiohttp.ClientSession]]:
    options = SandboxOptions(users=500, trouble=Trouble(**trouble))
    headers = {"X-API-KEY": "sandbox-key"}
    async with (
        Sandbox(options) as sandbox,
        aiohttp.ClientSession(headers=headers, auto_decompress=False) as session,
    ):
        yield sandbox, session


async def post(
    sandbox: Sandbox, session: aiohttp.ClientSession, pair: tuple[str, str] | None = None
) -> tuple[int, bytes, Any]:
    user_id, email_id = (quote(part, safe="") for part in pair or sandbox.pairs(1)[0])
    url = URL(f"{sandbox.url}/api/users/{user_id}/emails/{email_id}/unverify", encoded=True)
    async with session.post(url, allow_redirects=False) as response:
        return response.status, await response.read(), response.headers


async def arrival(sandbox: Sandbox) -> None:
    """Wait until the sandbox has received a request."""
    for _ in range(500):
        if len(sandbox.record):
            return
        await asyncio.sleep(0.01)


def still_verified(sandbox: Sandbox, index: int = 0) -> bool:
    return sandbox.tenant.is_verified(sandbox.people.person(index), 0)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Kind.SERVER_ERROR, 503),
        (Kind.BAD_REQUEST, 400),
        (Kind.UNAUTHORIZED, 401),
        (Kind.PAYMENT, 402),
        (Kind.FORBIDDEN, 403),
        (Kind.NOT_FOUND, 404),
        (Kind.CONFLICT, 409),
        (Kind.UNPROCESSABLE, 422),
        (Kind.THROTTLED, 429),
    ],
)
async def test_problems_come_instead_of_the_call(kind: Kind, status: int) -> None:
    trouble = {kind.value: 1.0, "server_error_statuses": (503,)}
    async with troubled(**trouble) as (sandbox, session):
        got, body, headers = await post(sandbox, session)
        assert (got, json.loads(body)["status"]) == (status, status)
        assert headers["Content-Type"].startswith("application/problem+json")
        assert still_verified(sandbox)
        assert sandbox.record.by_status() == {status: 1}
        assert sandbox.record.summary()["acted"] == 0


@pytest.mark.parametrize("form", ["identity", "validation", "other"])
async def test_a_422_has_three_forms(form: str) -> None:
    async with troubled(unprocessable=1.0, unprocessable_form=form) as (sandbox, session):
        problem = json.loads((await post(sandbox, session))[1])
    if form == "identity":
        assert problem["type"] == "https://httpstatuses.io/422#identity-validation-error"
        assert set(problem["errors"][0]) == {"code", "description"}
    elif form == "validation":
        assert problem["type"] == "https://httpstatuses.io/422#validation-error"
        assert isinstance(problem["errors"]["identifier_id"], list)
    else:
        assert problem["type"] == "https://httpstatuses.io/422"
        assert "errors" not in problem


@pytest.mark.parametrize(("kind", "status"), [(Kind.HTML_ERROR, 502), (Kind.HTML_OK, 200)])
async def test_a_proxy_answers_with_a_page(kind: Kind, status: int) -> None:
    async with troubled(**{kind.value: 1.0}) as (sandbox, session):
        got, body, headers = await post(sandbox, session)
        assert (got, headers["Content-Type"].split(";")[0]) == (status, "text/html")
        assert b"<html>" in body
        assert still_verified(sandbox)


@pytest.mark.parametrize(
    ("kind", "status", "acted"),
    [
        (Kind.EMPTY_ERROR, 500, False),
        (Kind.EMPTY_OK, 200, True),
        (Kind.ACCEPTED, 202, True),
        (Kind.NO_CONTENT, 204, True),
    ],
)
async def test_answers_can_be_empty(kind: Kind, status: int, acted: bool) -> None:
    async with troubled(**{kind.value: 1.0}) as (sandbox, session):
        assert (await post(sandbox, session))[:2] == (status, b"")
        assert still_verified(sandbox) is not acted
        assert sandbox.record.summary()["acted"] == acted


@pytest.mark.parametrize(("kind", "acted"), [(Kind.RESET, False), (Kind.RESET_AFTER, True)])
async def test_a_reset_is_seen_as_one(kind: Kind, acted: bool) -> None:
    async with troubled(**{kind.value: 1.0}) as (sandbox, _), raw(sandbox) as client:
        client.post(sandbox, sandbox.pairs(1)[0])
        with pytest.raises(ConnectionResetError):
            await client.everything()
        assert still_verified(sandbox) is not acted
        assert sandbox.record.by_status() == {DROPPED: 1}
        assert sandbox.record.acted_by_pair() == ({sandbox.pairs(1)[0]: 1} if acted else {})


@pytest.mark.parametrize(("kind", "acted"), [(Kind.STALL, False), (Kind.STALL_AFTER, True)])
async def test_a_stall_never_answers(kind: Kind, acted: bool) -> None:
    async with troubled(**{kind.value: 1.0}) as (sandbox, _), raw(sandbox) as client:
        client.post(sandbox, sandbox.pairs(1)[0])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.everything(), _WITHIN_S)
        assert still_verified(sandbox) is not acted
        assert sandbox.record.by_status() == {DROPPED: 1}


async def test_garbage_is_no_http() -> None:
    async with troubled(garbage=1.0) as (sandbox, _), raw(sandbox) as client:
        client.post(sandbox, sandbox.pairs(1)[0])
        answer = await client.everything()
        assert answer
        assert not answer.startswith(b"HTTP/")
        assert still_verified(sandbox)


async def test_a_truncated_body_is_half_of_what_was_promised() -> None:
    async with troubled(truncated=1.0) as (sandbox, _), raw(sandbox) as client:
        client.post(sandbox, sandbox.pairs(1)[0])
        head, _, body = (await client.everything()).partition(b"\r\n\r\n")
        promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert head.startswith(b"HTTP/1.1 200")
        assert len(body) == promised // 2 > 500
        assert not still_verified(sandbox)
        assert sandbox.record.by_status() == {200: 1}


async def test_a_truncated_body_is_an_error_for_a_usual_client() -> None:
    async with troubled(truncated=1.0) as (sandbox, session):
        with pytest.raises(aiohttp.ClientPayloadError):
            await post(sandbox, session)


async def test_an_oversized_body_is_as_large_as_asked() -> None:
    async with troubled(oversized=1.0, oversized_bytes=3_000_000) as (sandbox, session):
        status, body, _ = await post(sandbox, session)
        assert status == 200
        assert 3_000_000 < len(body) < 3_010_000
        assert json.loads(body)[1]["user_id"] == sandbox.pairs(1)[0][0]
        assert not still_verified(sandbox)


async def test_the_identifier_can_be_missing() -> None:
    async with troubled(identifier_missing=1.0) as (sandbox, session):
        user_id, email_id = sandbox.pairs(1)[0]
        user = json.loads((await post(sandbox, session))[1])
        assert user["user_id"] == user_id
        assert email_id not in {email["id"] for email in user["emails"]}
        assert not still_verified(sandbox)


async def test_the_identifier_can_still_be_verified_however_often_one_tries() -> None:
    async with troubled() as (sandbox, session):
        await post(sandbox, session)
        sandbox.set_trouble(Trouble(still_verified=1.0))
        for pair in sandbox.pairs(2):
            status, body, _ = await post(sandbox, session, pair)
            assert status == 200
            assert json.loads(body)["emails"][0]["verified"] is True
        assert still_verified(sandbox, 1)
        assert sandbox.record.summary()["acted"] == 1


@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_leads_to_a_listener_that_counts(status: int) -> None:
    async with troubled(redirect=1.0, redirect_status=status) as (sandbox, session):
        got, _, headers = await post(sandbox, session)
        target = URL(headers["Location"])
        assert got == status
        assert target.host == "127.0.0.1"
        assert target.port != URL(sandbox.url).port
        assert still_verified(sandbox)
        assert sandbox.record.elsewhere == {"requests": 0, "with_key": 0}
        async with session.post(target):
            pass
        assert sandbox.record.elsewhere == {"requests": 1, "with_key": 1}


async def test_slow_answers_come_late_and_are_done_at_once() -> None:
    async with troubled(slow=1.0, slow_s=_WITHIN_S) as (sandbox, session):
        start_s = time.monotonic()
        call = asyncio.create_task(post(sandbox, session))
        await arrival(sandbox)
        assert not still_verified(sandbox)
        assert (await call)[0] == 200
        assert time.monotonic() - start_s >= _WITHIN_S


async def test_a_slow_answer_that_nobody_waits_for_is_dropped() -> None:
    async with troubled(slow=1.0, slow_s=_WITHIN_S) as (sandbox, _):
        async with raw(sandbox) as client:
            client.post(sandbox, sandbox.pairs(1)[0])
            await arrival(sandbox)
        await asyncio.sleep(_WITHIN_S * 1.5)
        assert sandbox.record.by_status() == {DROPPED: 1}
        assert sandbox.record.summary()["acted"] == 1


async def test_a_gzip_body_comes_although_nobody_asked() -> None:
    async with troubled(gzip=1.0) as (sandbox, session):
        _, body, headers = await post(sandbox, session)
        assert headers["Content-Encoding"] == "gzip"
        assert json.loads(gzip.decompress(body))["user_id"] == sandbox.pairs(1)[0][0]


async def test_a_latin_1_body_is_no_utf_8() -> None:
    async with troubled(latin1=1.0) as (sandbox, session):
        for pair in sandbox.pairs(20):
            _, body, headers = await post(sandbox, session, pair)
            assert "utf-8" in headers["Content-Type"]
            with pytest.raises(UnicodeDecodeError):
                body.decode("utf-8")
            assert json.loads(body.decode("latin-1"))["emails"]


async def test_a_connection_can_end_with_each_answer() -> None:
    async with troubled(close=1.0) as (sandbox, _), raw(sandbox) as client:
        client.post(sandbox, sandbox.pairs(1)[0])
        answer = await client.everything()
        assert b"connection: close" in answer.lower()
        assert answer.rstrip().endswith(b"}")


async def test_a_connection_is_kept_otherwise() -> None:
    async with troubled() as (sandbox, _), raw(sandbox) as client:
        for pair in sandbox.pairs(1) * 2:
            client.post(sandbox, pair)
            assert b"200 OK" in await client.head()


async def test_the_key_is_revoked_half_way() -> None:
    async with troubled(key_revoked_after=3) as (sandbox, session):
        statuses = [(await post(sandbox, session, pair))[0] for pair in sandbox.pairs(5)]
        assert statuses == [200, 200, 200, 401, 401]
        assert sandbox.record.keys["right"] == 5


async def test_some_users_have_vanished() -> None:
    async with troubled() as (sandbox, session):
        gone, there = sandbox.pairs(2)
        sandbox.set_trouble(Trouble(for_users={gone[0]: Kind.NOT_FOUND}))
        assert [(await post(sandbox, session, pair))[0] for pair in (gone, there)] == [404, 200]


async def test_a_share_strikes_the_same_pairs_each_time() -> None:
    struck = []
    for order in (1, -1):
        async with troubled(server_error=0.3, unprocessable=0.2) as (sandbox, session):
            pairs = sandbox.pairs(100)[::order]
            struck.append({pair: (await post(sandbox, session, pair))[0] // 100 for pair in pairs})
    assert struck[0] == struck[1]
    assert set(struck[0].values()) == {2, 4, 5}


@pytest.mark.parametrize("kind", list(LimitKind))
async def test_a_hidden_limit_answers_429_and_tells_when(kind: LimitKind) -> None:
    limit = Limit(
        kind=kind,
        requests=5,
        per_s=3600.0,
        headers=(HeaderForm.RETRY_AFTER_SECONDS, HeaderForm.RATELIMIT_DRAFT),
    )
    async with troubled(limits=(limit,)) as (sandbox, session):
        replies = [await post(sandbox, session, pair) for pair in sandbox.pairs(8)]
        # A fixed window of an hour may have its border between two calls, once in a blue moon.
        assert [status for status, _, _ in replies] == [200] * 5 + [429] * 3
        assert [";r=4;" in replies[0][2]["RateLimit"], ";r=0;" in replies[7][2]["RateLimit"]] == [True, True]
        assert "Retry-After" not in replies[4][2]
        assert 0 < int(replies[5][2]["Retry-After"]) <= 3600
        assert sandbox.record.answered_between(0.0, 60.0) == (5, 3)


async def test_an_outage_of_503_ends() -> None:
    async with troubled(outages=(Outage(from_request=2, for_s=_WITHIN_S),)) as (sandbox, session):
        statuses = [(await post(sandbox, session))[0] for _ in range(3)]
        await asyncio.sleep(_WITHIN_S)
        assert [*statuses, (await post(sandbox, session))[0]] == [200, 503, 503, 200]


async def test_an_outage_refuses_connections_and_then_takes_them_on_the_same_port() -> None:
    outage = Outage(kind=OutageKind.REFUSE, from_request=2, for_s=_WITHIN_S)
    async with troubled(outages=(outage,)) as (sandbox, session):
        url = URL(sandbox.url)
        async with raw(sandbox) as idle:
            assert (await post(sandbox, session))[0] == 200
            with pytest.raises(aiohttp.ClientConnectionError):
                await post(sandbox, session)
            with pytest.raises(ConnectionResetError):
                await idle.everything()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(url.host, url.port)
        await asyncio.sleep(_WITHIN_S * 1.2)
        assert (await post(sandbox, session))[0] == 200
        assert sandbox.record.by_status() == {DROPPED: 1, 200: 2}


async def test_a_sandbox_can_close_while_it_refuses() -> None:
    outage = Outage(kind=OutageKind.REFUSE, for_s=60.0)
    async with troubled(outages=(outage,)) as (sandbox, session):
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(sandbox, session)


async def test_trouble_can_be_combined() -> None:
    async with (
        troubled(truncated=1.0, gzip=1.0, slow=1.0, slow_s=0.05) as (sandbox, _),
        raw(sandbox) as client,
    ):
        client.post(sandbox, sandbox.pairs(1)[0])
        head, _, body = (await client.everything()).partition(b"\r\n\r\n")
        assert b"gzip" in head.lower()
        with pytest.raises(EOFError):
            gzip.decompress(body)
