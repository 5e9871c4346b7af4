"""The sandbox's API as a client sees it over real HTTP."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import trustme
from yarl import URL

from worker.errors import ConfigurationError
from worker.sandbox import Sandbox, SandboxOptions

_KEY = {"X-API-KEY": "sandbox-key"}


class Client:
    """A raw client of one sandbox."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:
        """Return status, decoded body and headers of one call; the path is sent as it is."""
        url = URL(f"{self.sandbox.url}/api/{path}", encoded=True)
        async with self.session.request(method, url, **({"headers": _KEY} | more)) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None, response.headers

    async def act(
        self, user_id: str, identifier_id: str, what: str = "emails", verb: str = "unverify"
    ) -> Any:
        """Call `verb` on a contact and return (status, body)."""
        path = f"users/{quote(user_id, safe='')}/{what}/{quote(identifier_id, safe='')}/{verb}"
        return (await self.ask("POST", path))[:2]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Sandbox(SandboxOptions(users=2000)) as sandbox, aiohttp.ClientSession() as session:
        yield Client(sandbox, session)


@pytest.fixture
async def pro() -> AsyncIterator[Client]:
    options = SandboxOptions(users=50, plan="pro", already_unverified=422)
    async with Sandbox(options) as sandbox, aiohttp.ClientSession() as session:
        yield Client(sandbox, session)


def _verified(user: dict[str, Any], field: str, identifier_id: str) -> bool:
    return next(entry["verified"] for entry in user[field] if entry["id"] == identifier_id)


async def test_unverify_shows_and_keeps_the_change_and_verify_undoes_it(client: Client) -> None:
    user_id, email_id = client.sandbox.pairs(1)[0]
    status, user = await client.act(user_id, email_id)
    assert (status, _verified(user, "emails", email_id)) == (200, False)
    _, seen, _ = await client.ask("GET", f"users/{user_id}")
    assert seen == user
    status, user = await client.act(user_id, email_id, verb="verify")
    assert (status, _verified(user, "emails", email_id)) == (200, True)


async def test_every_odd_id_reaches_its_user(client: Client) -> None:
    odd = [pair for pair in client.sandbox.pairs(2000) if len(pair[0]) != 21]
    assert len(odd) > 30
    for user_id, email_id in odd:
        status, user = await client.act(user_id, email_id)
        assert (status, user["user_id"]) == (200, user_id)
        assert not _verified(user, "emails", email_id)
    assert client.sandbox.record.by_pair() == dict.fromkeys(odd, 1)


async def test_phones_have_the_same_calls(client: Client) -> None:
    person = next(p for p in map(client.sandbox.people.person, range(50)) if p.phone_id)
    for verb, verified in (("verify", True), ("unverify", False), ("verify", True)):
        status, user = await client.act(person.user_id, person.phone_id, "phones", verb)
        assert (status, _verified(user, "phone_numbers", person.phone_id)) == (200, verified)
    assert (await client.act(person.user_id, person.email_ids[0], "phones"))[0] == 404


async def test_what_is_not_there_is_a_404_problem(client: Client) -> None:
    user_id, email_id = client.sandbox.pairs(1)[0]
    stranger = client.sandbox.people.person(2000)
    for pair in ((user_id, "nothing"), (stranger.user_id, stranger.email_ids[0]), ("..", email_id)):
        status, problem = await client.act(*pair)
        assert (status, problem["status"]) == (404, 404)
    status, _, headers = await client.ask("POST", f"api/users/{user_id}/emails/{email_id}/unverify")
    assert status == 404
    assert headers["Content-Type"].startswith("application/problem+json")
    assert (await client.ask("GET", f"users/{user_id}/emails/{email_id}/unverify"))[0] == 405


@pytest.mark.parametrize(("headers", "kind"), [({}, "missing"), ({"X-API-KEY": "other"}, "wrong")])
async def test_without_the_right_key_all_is_401(client: Client, headers: dict[str, str], kind: str) -> None:
    status, problem, answered = await client.ask("GET", "users", headers=headers)
    assert (status, problem["title"]) == (401, "Unauthorized")
    assert answered["Content-Type"].startswith("application/problem+json")
    assert client.sandbox.record.keys == {"right": 0, "wrong": 0, "missing": 0, kind: 1}
    assert "other" not in json.dumps(client.sandbox.record.summary())


async def test_disable_and_force_reset_show(client: Client) -> None:
    user_id, _ = client.sandbox.pairs(1)[0]
    status, user, _ = await client.ask("POST", f"users/{user_id}/disable", json={"revoke_sessions": True})
    assert (status, user["disabled"], user["force_password_reset"]) == (200, True, False)
    status, user, _ = await client.ask("POST", f"users/{user_id}/password/force_reset")
    assert (status, user["disabled"], user["force_password_reset"]) == (200, True, True)
    for body in ("{", "[]", '{"revoke_sessions": 1}'):
        assert (await client.ask("POST", f"users/{user_id}/disable", data=body))[0] == 400


async def test_verify_link_tells_when_it_expires(client: Client) -> None:
    user_id, email_id = client.sandbox.pairs(1)[0]
    path = f"users/{user_id}/emails/{email_id}/verify/link"
    _, day, _ = await client.ask("POST", path)
    _, minute, _ = await client.ask("POST", path, json={"expiry": 60})
    assert day["email_sent"] is minute["email_sent"] is True
    assert day["expires_at"] - minute["expires_at"] == pytest.approx(86_400 - 60, abs=5)
    status, problem, _ = await client.ask("POST", path, json={"expiry": -1})
    assert (status, list(problem["errors"])) == (422, ["expiry"])


async def test_the_list_has_pages(client: Client) -> None:
    status, users, headers = await client.ask("GET", "users?page=2&size=3&sort=creation_time%3A1")
    assert status == 200
    assert [user["user_id"] for user in users] == [user_id for user_id, _ in client.sandbox.pairs(6)[3:]]
    assert json.loads(headers["x-pagination"])["total_count"] == 2000


async def test_sessions_cost_money(client: Client, pro: Client) -> None:
    user_id, _ = client.sandbox.pairs(1)[0]
    assert (await client.ask("GET", f"users/{user_id}/sessions"))[0] == 402
    assert (await client.ask("DELETE", f"users/{user_id}/sessions/x"))[0] == 402
    user_id, _ = pro.sandbox.pairs(1)[0]
    _, sessions, _ = await pro.ask("GET", f"users/{user_id}/sessions")
    path = f"users/{user_id}/sessions/{sessions[0]['session_id']}"
    assert [(await pro.ask("DELETE", path))[0] for _ in range(2)] == [204, 404]
    assert (await pro.ask("GET", f"users/{user_id}/sessions"))[1] == sessions[1:]


async def test_an_unverified_email_can_be_refused(pro: Client) -> None:
    pair = pro.sandbox.pairs(1)[0]
    assert (await pro.act(*pair))[0] == 200
    status, problem = await pro.act(*pair)
    assert status == 422
    assert problem["type"].endswith("#identity-validation-error")


async def test_it_serves_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with Sandbox(SandboxOptions(tls_cert=cert, tls_key=key)) as sandbox:
        assert sandbox.domain.startswith("https://127.0.0.1:")
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session:
            user_id, email_id = sandbox.pairs(1)[0]
            assert (await Client(sandbox, session).act(user_id, email_id))[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::", ""])
def test_it_binds_to_loopback_alone(host: str) -> None:
    with pytest.raises(ConfigurationError, match="loopback"):
        Sandbox(SandboxOptions(host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "localhost"])
async def test_it_serves_on_any_loopback_address(host: str) -> None:
    async with Sandbox(SandboxOptions(host=host)) as sandbox, aiohttp.ClientSession() as session:
        assert (await Client(sandbox, session).ask("GET", "users"))[0] == 200


async def test_a_taken_port_is_refused_by_number() -> None:
    async with Sandbox(SandboxOptions()) as first:
        port = URL(first.url).port
        with pytest.raises(ConfigurationError, match=str(port)):
            async with Sandbox(SandboxOptions(port=port)):
                pass


def test_a_certificate_that_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate", encoding="utf-8")
    options = SandboxOptions(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "cert.pem")
    with pytest.raises(ConfigurationError, match=r"cert\.pem"):
        Sandbox(options)
