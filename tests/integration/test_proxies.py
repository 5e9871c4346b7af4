"""The whole command through the proxy that the environment names, to a tenant that only the proxy can reach."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from integration.loopback import tunnelling

from worker.sandbox import Sandbox, SandboxOptions

NAME = "acme.example"
LOGIN = "me:hush-hush"


@dataclass
class Done:
    """What the command left behind."""

    code: int
    out: str
    err: str


async def execute(folder: Path, proxy_port: int, *words: str, key: str = "a-key") -> Done:
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env |= {
        "MONOCLOUD_MANAGEMENT_API_KEY": key,
        "MONOCLOUD_MANAGEMENT_DOMAIN": NAME,
        "HTTPS_PROXY": f"http://{LOGIN}@127.0.0.1:{proxy_port}",
        "BULK_UNVERIFY_LOCK_DIR": str(folder),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker", *words, "--json",
        cwd=folder, env=env, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"403 Forbidden"])
async def test_a_proxy_that_refuses_is_told_at_once_and_its_login_is_not(
    tmp_path: Path, status: bytes
) -> None:
    """Found by a reviewer: it was taken for an outage, and the run waited for a quarter of an hour."""
    (tmp_path / "good.csv").write_text("user_id,identifier_id\n" + "".join(f"u{n},i\n" for n in range(500)))
    async with tunnelling(1, status) as (proxy_port, heads):
        done = await execute(tmp_path, proxy_port, "run", "good.csv", "--yes")
    assert done.code == 2, done.err
    assert "HTTPS_PROXY" in json.loads(done.out)["error"]
    assert LOGIN.split(":")[1] not in done.out + done.err
    assert 0 < len(heads) < 500, "it gave up before it had tried every row"


async def test_a_run_goes_through_a_proxy_and_doctor_agrees(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    leaf = authority.issue_cert(NAME)
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    options = SandboxOptions(users=500, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    words = ["--ca-bundle", "authority.pem"]
    async with (
        Sandbox(options) as sandbox,
        tunnelling(int(sandbox.url.rpartition(":")[2]), b"200 OK") as (proxy_port, heads),
    ):
        pairs = sandbox.pairs(300)
        lines = [",".join(pair) for pair in [("user_id", "identifier_id"), *pairs]]
        (tmp_path / "batch.csv").write_text("\n".join(lines))
        doctor = await execute(tmp_path, proxy_port, "doctor", *words, key=sandbox.api_key)
        sandbox.reset()
        flags = ["--yes", "--rate", "1000/s", *words]
        done = await execute(tmp_path, proxy_port, "run", "batch.csv", *flags, key=sandbox.api_key)
        seen = sandbox.record.by_pair()
    assert doctor.code == 0, doctor.err
    assert done.code == 0, done.err
    assert seen == dict.fromkeys(pairs, 1)
    assert {head.partition(b"\r\n")[0] for head in heads} == {f"CONNECT {NAME}:443 HTTP/1.1".encode()}
    assert sandbox.api_key.encode() not in b"".join(heads)
