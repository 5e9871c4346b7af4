"""What can be wrong before a run, found out one thing at a time."""

from __future__ import annotations

import dataclasses
import email.utils
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from jobs.judging import is_foreign
from worker.connection import ApiKey, Tenant, default_timeout_s, load_key, load_tenant
from worker.errors import BulkUnverifyError
from worker.model import Answer, Call, NoAnswer, Reply
from worker.transport import AiohttpTransport

T = TypeVar("T")

_READ: Final = Call("GET", "users?page=1&size=1")
_CLOCK_OFF_S: Final = 30.0
_DISK_FREE_BYTES: Final = 500_000_000
_OK: Final = 200
_ADVICE: Final = {
    200: "what answered (200) lists no users: something stands in front of the tenant, or this is no tenant."
    " Check domain and proxy",
    401: "the tenant refuses this key (401). It is wrong, revoked, or of another tenant",
    402: "the tenant's plan lacks the Management API (402)",
    403: "the key may not read users (403). It may still be allowed to change them; better use a full key",
    404: "there is no API at this address (404). Check the domain: it is the tenant's, without a path",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        subject: What was looked at.
        ok: Whether it is as it should be.
        text: What was found and, if it is bad, what to do.
    """

    subject: str
    ok: bool
    text: str


async def check_up(
    *, tenant_text: str | None, timeout_s: float | None, ca_bundle: Path | None, runs_dir: Path
) -> list[Finding]:
    """Check settings, key, disk and, if those allow it, the tenant and the clock. Changes nothing."""
    findings = [_disk(runs_dir)]
    tenant = _try(findings, "tenant", lambda: load_tenant(tenant_text), lambda found: found.name)
    key = _try(findings, "key", load_key, lambda _: "found (not shown)")
    limit_s = timeout_s or _try(
        findings, "time limit", default_timeout_s, lambda found: f"{found:g} s a call"
    )
    if tenant is not None and key is not None and limit_s is not None:
        findings += await _ask(tenant, key, limit_s, ca_bundle)
    return findings


async def _ask(tenant: Tenant, key: ApiKey, timeout_s: float, ca_bundle: Path | None) -> list[Finding]:
    try:
        async with AiohttpTransport(
            tenant, key, timeout_s=timeout_s, concurrency=1, ca_bundle=ca_bundle
        ) as transport:
            reply = await transport.send(_READ)
        assert reply is not None  # nothing is late where nothing is paced
    except BulkUnverifyError as error:
        return [Finding("answer", ok=False, text=str(error))]
    return [_answer(reply), *_clock(reply)]


def _try(
    findings: list[Finding], subject: str, find: Callable[[], T], describe: Callable[[T], str]
) -> T | None:
    try:
        found = find()
    except BulkUnverifyError as error:
        findings.append(Finding(subject, ok=False, text=str(error)))
        return None
    findings.append(Finding(subject, ok=True, text=describe(found)))
    return found


def _answer(reply: Reply) -> Finding:
    if isinstance(reply, NoAnswer):
        return Finding("answer", ok=False, text=f"no answer: {reply.detail}. Check domain, network and proxy")
    if reply.status == _OK and _is_list(reply.body):
        return Finding("answer", ok=True, text="the tenant accepts the key and lists users")
    if is_foreign(reply):
        text = (
            f"something else than the tenant's API answered ({reply.status}): a proxy, a firewall, or another server."
            " Check the domain, which has no path, and whoever filters what leaves here"
        )
    else:
        text = _ADVICE.get(reply.status, f"the tenant answered {reply.status}. Look at its status page")
    return Finding("answer", ok=False, text=text)


def _is_list(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=list)
    except msgspec.DecodeError:
        return False
    return True


def _clock(reply: Reply) -> list[Finding]:
    if not isinstance(reply, Answer) or "Date" not in reply.headers:
        return []
    try:
        theirs = email.utils.parsedate_to_datetime(reply.headers["Date"]).timestamp()
    except ValueError:
        return [Finding("clock", ok=True, text="the tenant's Date header cannot be read; not compared")]
    off_s = abs(time.time() - theirs)
    text = f"{off_s:.0f} s from the tenant's"
    return [
        Finding("clock", ok=off_s <= _CLOCK_OFF_S, text=text + ("" if off_s <= _CLOCK_OFF_S else ". Set it"))
    ]


def _disk(runs_dir: Path) -> Finding:
    try:
        folder = next(path for path in (runs_dir, *runs_dir.absolute().parents) if path.exists())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        text = f"{runs_dir} cannot be looked at: {error.strerror}. Choose another --runs folder"
        return Finding("disk", ok=False, text=text)
    if not folder.is_dir():
        return Finding("disk", ok=False, text=f"{folder} is no folder. Choose another --runs folder")
    writable = os.access(folder, os.W_OK)
    if not writable:
        return Finding("disk", ok=False, text=f"{folder} cannot be written to. Choose another --runs folder")
    text = f"{free / 1e9:.1f} GB free for {runs_dir}"
    enough = free >= _DISK_FREE_BYTES
    return Finding(
        "disk", ok=enough, text=text + ("" if enough else ". Free some space: a row takes 500 bytes")
    )
