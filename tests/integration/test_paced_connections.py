"""The whole command at a rate, to a tenant whose new connections are all held for a while and then come at once."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
import trustme
from integration.loopback import holding

from worker.sandbox import Sandbox, SandboxOptions

PER_S = 20


@pytest.mark.parametrize("rate", [f"{PER_S}/s", "unlimited"])
async def test_connections_that_come_at_once_make_no_burst(tmp_path: Path, rate: str) -> None:
    """Found by a reviewer: the turns came before the connections, so the calls that had waited went together."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    options = SandboxOptions(users=500, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    async with Sandbox(options) as sandbox, holding(int(sandbox.url.rpartition(":")[2]), 1.2) as port:
        pairs = sandbox.pairs(60)
        lines = [",".join(pair) for pair in [("user_id", "identifier_id"), *pairs]]
        (tmp_path / "batch.csv").write_text("\n".join(lines))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", "run", "batch.csv", "--yes", "--rate", rate,
            "--ca-bundle", "authority.pem", "--attempts", "1",
            cwd=tmp_path,
            env=os.environ | {
                "MONOCLOUD_MANAGEMENT_API_KEY": sandbox.api_key,
                "MONOCLOUD_MANAGEMENT_DOMAIN": f"127.0.0.1:{port}",
                "BULK_UNVERIFY_LOCK_DIR": str(tmp_path),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        most, seen = sandbox.record.most_in_one_second(), sandbox.record.by_pair()
    assert process.returncode == 0, out
    assert seen == dict.fromkeys(pairs, 1)
    if rate == "unlimited":
        assert most > 2 * PER_S
    else:
        assert most <= PER_S + 1
