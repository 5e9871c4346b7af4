"""`/_sandbox/`: the record as others read it, and trouble set from outside."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from worker.sandbox import Sandbox, SandboxOptions


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxOptions(users=3000, api_key="a-made-up-one")) as sandbox:
        yield sandbox


@pytest.fixture
async def session(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"X-API-KEY": "a-made-up-one"}) as session:
        yield session


async def _post(sandbox: Sandbox, session: aiohttp.ClientSession, n: int) -> list[int]:
    statuses = []
    for user_id, email_id in sandbox.pairs(n):
        path = f"/api/users/{quote(user_id, safe='')}/emails/{quote(email_id, safe='')}/unverify"
        async with session.post(URL(sandbox.url + path, encoded=True)) as response:
            statuses.append(response.status)
    return statuses


async def _get(sandbox: Sandbox, session: aiohttp.ClientSession, path: str) -> str:
    async with session.get(f"{sandbox.url}/_sandbox/{path}") as response:
        assert response.status == 200
        return await response.text()


async def test_the_record_counts_calls_and_not_its_own_readers(
    sandbox: Sandbox, session: aiohttp.ClientSession
) -> None:
    await _post(sandbox, session, 40)
    for _ in range(2):
        summary = json.loads(await _get(sandbox, session, "record"))
    assert summary["requests"] == summary["pairs"] == summary["acted"] == 40
    assert summary["by_status"] == {"200": 40}
    assert summary["keys"] == {"right": 40, "wrong": 0, "missing": 0}
    later = json.loads(await _get(sandbox, session, "record?from=1000&to=2000"))
    assert (later["accepted"], later["throttled"]) == (0, 0)


async def test_requests_and_pairs_come_line_by_line_without_the_key(
    sandbox: Sandbox, session: aiohttp.ClientSession
) -> None:
    await _post(sandbox, session, 1200)
    await _post(sandbox, session, 1)
    text = await _get(sandbox, session, "requests")
    requests = [json.loads(line) for line in text.splitlines()]
    assert [request["number"] for request in requests] == list(range(1, 1202))
    assert [(r["user_id"], r["identifier_id"]) for r in requests[:1200]] == sandbox.pairs(1200)
    assert requests[0] == {
        "number": 1,
        "arrived_s": 0.0,
        "method": "POST",
        "action": "unverify-email",
        "user_id": sandbox.pairs(1)[0][0],
        "identifier_id": sandbox.pairs(1)[0][1],
        "status": 200,
        "acted": True,
    }
    pairs = [json.loads(line) for line in (await _get(sandbox, session, "pairs")).splitlines()]
    assert (pairs[0]["requests"], pairs[0]["acted"], pairs[1]["requests"], len(pairs)) == (2, 2, 1, 1200)
    assert "a-made-up-one" not in text + json.dumps(pairs)


async def test_trouble_is_replaced_while_it_runs(sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
    statuses = await _post(sandbox, session, 1)
    for trouble in ({"forbidden": 1.0}, {}):
        async with session.post(f"{sandbox.url}/_sandbox/trouble", json=trouble) as response:
            assert response.status == 200
            assert (await response.json())["forbidden"] == trouble.get("forbidden", 0.0)
        statuses += await _post(sandbox, session, 1)
    assert statuses == [200, 403, 200]


@pytest.mark.parametrize("body", ["{", '{"forbidden": 2}', '{"typo": 1}'])
async def test_wrong_trouble_is_refused_and_changes_nothing(
    sandbox: Sandbox, session: aiohttp.ClientSession, body: str
) -> None:
    async with session.post(f"{sandbox.url}/_sandbox/trouble", data=body) as response:
        assert response.status == 400
        assert "error" in await response.json()
    assert await _post(sandbox, session, 1) == [200]


async def test_a_reset_forgets_the_record_and_the_changes(
    sandbox: Sandbox, session: aiohttp.ClientSession
) -> None:
    await _post(sandbox, session, 1)
    async with session.post(f"{sandbox.url}/_sandbox/reset") as response:
        assert response.status == 200
    assert json.loads(await _get(sandbox, session, "record"))["requests"] == 0
    assert sandbox.tenant.is_verified(sandbox.people.person(0), 0)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "trouble", 404), ("POST", "nothing", 404), ("GET", "record?from=x", 400)],
)
async def test_other_calls_are_told_so(
    sandbox: Sandbox, session: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with session.request(method, f"{sandbox.url}/_sandbox/{path}") as response:
        assert response.status == status
        assert "error" in await response.json()
