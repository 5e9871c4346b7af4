"""What `doctor` finds: each thing by itself, with what to do, and never the key."""

from __future__ import annotations

import email.utils
import errno
import os
import shutil
import time
from pathlib import Path
from typing import NoReturn

import pytest

from worker.compose import checkup
from worker.compose.checkup import Finding, check_up
from worker.model import Answer, NoAnswer, Trouble
from worker.sandbox import Sandbox, SandboxOptions

SECRET = "k3y-that-nobody-may-see"
LIST = b'[{"user_id": "u1"}]'


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("worker.connection.key._CONTAINER_SECRETS", tmp_path / "run-secrets")
    for name in list(os.environ):
        if name.startswith("MONOCLOUD_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)


async def findings_of(folder: Path, tenant: str | None, **more: object) -> dict[str, Finding]:
    timeout_s, ca_bundle = more.get("timeout_s"), more.get("ca_bundle")
    assert timeout_s is None or isinstance(timeout_s, float)
    assert ca_bundle is None or isinstance(ca_bundle, Path)
    found = await check_up(tenant_text=tenant, timeout_s=timeout_s, ca_bundle=ca_bundle, runs_dir=folder)
    assert SECRET not in repr(found)
    return {finding.subject: finding for finding in found}


async def test_all_is_well_with_a_tenant_that_takes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONOCLOUD_MANAGEMENT_API_KEY", SECRET)
    async with Sandbox(SandboxOptions(users=10, api_key=SECRET)) as sandbox:
        found = await findings_of(tmp_path, sandbox.domain)
        assert len(sandbox.record) == 1
    assert list(found) == ["disk", "tenant", "key", "time limit", "answer", "clock"]
    assert all(finding.ok for finding in found.values())
    assert found["tenant"].text == sandbox.domain.removeprefix("http://")
    assert found["key"].text == "found (not shown)"
    assert found["time limit"].text == "10 s a call"
    assert found["answer"].text == "the tenant accepts the key and lists users"
    assert found["clock"].text in {"0 s from the tenant's", "1 s from the tenant's"}
    assert os.listdir(tmp_path) == [], "it changes nothing"  # noqa: PTH208 - and ASYNC240 of the other one


async def test_another_tenants_key_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONOCLOUD_MANAGEMENT_API_KEY", SECRET)
    async with Sandbox(SandboxOptions(users=10)) as sandbox:
        monkeypatch.setenv("MONOCLOUD_MANAGEMENT_DOMAIN", sandbox.domain)
        found = await findings_of(tmp_path, None, timeout_s=5.0)
    assert found["answer"] == Finding(
        "answer",
        ok=False,
        text="the tenant refuses this key (401). It is wrong, revoked, or of another tenant",
    )
    assert "time limit" not in found, "it was given, so it is not looked for"


async def test_nobody_at_the_address_is_told_with_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONOCLOUD_MANAGEMENT_API_KEY", SECRET)
    found = await findings_of(tmp_path, "http://127.0.0.1:9")
    assert not found["answer"].ok
    assert found["answer"].text == (
        "no answer: no connection (Connection refused). Check domain, network and proxy"
    )
    assert "clock" not in found


async def test_every_missing_setting_is_told_at_once_and_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONOCLOUD_MANAGEMENT_TIMEOUT", "soon")
    found = await findings_of(tmp_path, None)
    assert {subject: finding.ok for subject, finding in found.items()} == {
        "disk": True,
        "tenant": False,
        "key": False,
        "time limit": False,
    }
    assert found["tenant"].text == "Which tenant? Give --tenant or set MONOCLOUD_MANAGEMENT_DOMAIN."
    assert found["key"].text.startswith("There is no key. Set MONOCLOUD_MANAGEMENT_API_KEY_FILE")
    assert found["time limit"].text == (
        "MONOCLOUD_MANAGEMENT_TIMEOUT must be a positive number of milliseconds."
    )


async def test_without_a_key_the_tenant_is_not_asked(tmp_path: Path) -> None:
    async with Sandbox(SandboxOptions(users=10)) as sandbox:
        found = await findings_of(tmp_path, sandbox.domain)
        assert len(sandbox.record) == 0
    assert list(found) == ["disk", "tenant", "key", "time limit"]
    assert [finding.ok for finding in found.values()] == [True, True, False, True]


async def test_certificates_that_cannot_be_read_are_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONOCLOUD_MANAGEMENT_API_KEY", SECRET)
    missing = tmp_path / "ca.pem"
    found = await findings_of(tmp_path, "https://127.0.0.1:9", ca_bundle=missing)
    assert not found["answer"].ok
    assert str(missing) in found["answer"].text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (402, "the tenant's plan lacks the Management API (402)"),
        (
            403,
            "the key may not read users (403). It may still be allowed to change them; better use a full key",
        ),
        (
            404,
            "there is no API at this address (404). Check the domain: it is the tenant's, without a path",
        ),
        (503, "the tenant answered 503. Look at its status page"),
    ],
)
def test_an_answer_that_is_no_list_says_what_to_do(status: int, text: str) -> None:
    own = f'{{"title": "No", "status": {status}}}'.encode()
    assert checkup._answer(Answer(status, {}, own)) == Finding("answer", ok=False, text=text)


@pytest.mark.parametrize("status", [400, 403, 404, 407])
@pytest.mark.parametrize("body", [b"", b"<html>blocked</html>", b'{"message":"Forbidden"}'])
def test_an_error_of_something_that_stands_in_front_is_not_laid_on_the_key(status: int, body: bytes) -> None:
    finding = checkup._answer(Answer(status, {}, body))
    assert not finding.ok
    assert finding.text.startswith(f"something else than the tenant's API answered ({status})")


@pytest.mark.parametrize("body", [b"<html>Sign in to the guest network</html>", b"", b"{}", b"\xff"])
def test_a_200_of_something_that_stands_in_front_is_not_the_tenants(body: bytes) -> None:
    finding = checkup._answer(Answer(200, {}, body))
    assert not finding.ok
    assert finding.text == (
        "what answered (200) lists no users: something stands in front of the tenant, or this is no tenant."
        " Check domain and proxy"
    )


@pytest.mark.parametrize("body", [b"[]", LIST])
def test_a_list_of_users_is_the_tenants(body: bytes) -> None:
    assert checkup._answer(Answer(200, {}, body)).ok


def test_no_answer_is_told_in_the_transports_words() -> None:
    reply = NoAnswer(Trouble.TIMEOUT, "no answer within the time limit", sent=True)
    assert checkup._answer(reply).text == (
        "no answer: no answer within the time limit. Check domain, network and proxy"
    )
    assert checkup._clock(reply) == []


@pytest.mark.parametrize("off_s", [-3600.0, 3600.0])
def test_a_clock_that_is_off_is_told_with_by_how_much(off_s: float) -> None:
    date = email.utils.formatdate(time.time() + off_s, usegmt=True)
    (finding,) = checkup._clock(Answer(200, {"Date": date}, LIST))
    assert not finding.ok
    assert finding.text in {f"{off} s from the tenant's. Set it" for off in range(3598, 3603)}


@pytest.mark.parametrize("off_s", [-25.0, 25.0])
def test_a_clock_that_is_off_by_less_than_half_a_minute_will_do(off_s: float) -> None:
    date = email.utils.formatdate(time.time() + off_s, usegmt=True)
    (finding,) = checkup._clock(Answer(200, {"Date": date}, LIST))
    assert finding.ok
    assert not finding.text.endswith("Set it")


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Nov 2026 00:00:00 GMT"])
def test_a_date_that_cannot_be_read_is_no_reason_to_worry(date: str) -> None:
    assert checkup._clock(Answer(200, {"Date": date}, LIST)) == [
        Finding("clock", ok=True, text="the tenant's Date header cannot be read; not compared")
    ]


def test_without_a_date_there_is_nothing_to_compare() -> None:
    assert checkup._clock(Answer(200, {}, LIST)) == []


def test_a_runs_folder_that_is_still_to_be_made_is_judged_by_where_it_will_be(tmp_path: Path) -> None:
    finding = checkup._disk(tmp_path / "not" / "yet")
    assert finding.ok
    assert finding.text.endswith(f" GB free for {tmp_path / 'not' / 'yet'}")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_what_a_row_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=499_999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert checkup._disk(tmp_path) == Finding(
        "disk",
        ok=False,
        text=f"0.5 GB free for {tmp_path}. Free some space: a row takes 500 bytes",
    )


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For root every folder can be written to, so the system's answer is made up."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert checkup._disk(tmp_path / "runs") == Finding(
        "disk", ok=False, text=f"{tmp_path} cannot be written to. Choose another --runs folder"
    )


def test_a_folder_that_may_not_be_looked_at_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """For root nothing is closed, so the system's answer is made up."""
    monkeypatch.setattr(Path, "exists", _closed)
    assert checkup._disk(Path("/closed/runs")) == Finding(
        "disk",
        ok=False,
        text="/closed/runs cannot be looked at: Permission denied. Choose another --runs folder",
    )


def _closed(_path: Path) -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("below", [".", "below"])
def test_a_file_in_the_place_of_the_runs_folder_is_told(tmp_path: Path, below: str) -> None:
    taken = tmp_path / "runs"
    taken.write_text("a file\n")
    assert checkup._disk(taken / below) == Finding(
        "disk", ok=False, text=f"{taken} is no folder. Choose another --runs folder"
    )
