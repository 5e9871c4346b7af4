"""The whole command at a rate, to a tenant whose new connections are all held for a while and then come at once."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from pathlib import Path

import pytest
import trustme
from integration.loopback import holding, listening, slowing

from worker.sandbox import Sandbox, SandboxOptions

PER_S = 20


def certified(folder: Path) -> tuple[Path, Path]:
    """Write an authority, and a certificate of this machine with its key; return the latter two."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
    return folder / "cert.pem", folder / "key.pem"


async def run(folder: Path, port: int, key: str, *flags: str) -> tuple[int | None, str]:
    """Run batch.csv, and return the exit code and all that was said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker", "run", "batch.csv", "--yes", "--ca-bundle", "authority.pem", *flags,
        cwd=folder,
        env=os.environ | {
            "MONOCLOUD_MANAGEMENT_API_KEY": key,
            "MONOCLOUD_MANAGEMENT_DOMAIN": f"127.0.0.1:{port}",
            "BULK_UNVERIFY_LOCK_DIR": str(folder),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode()


def write_batch(folder: Path, pairs: list[tuple[str, str]]) -> None:
    lines = [",".join(pair) for pair in [("user_id", "identifier_id"), *pairs]]
    (folder / "batch.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("rate", [f"{PER_S}/s", "unlimited"])
async def test_connections_that_come_at_once_make_no_burst(tmp_path: Path, rate: str) -> None:
    """Found by a reviewer: the turns came before the connections, so the calls that had waited went together."""
    cert, key = certified(tmp_path)
    options = SandboxOptions(users=500, tls_cert=cert, tls_key=key)
    async with Sandbox(options) as sandbox, holding(int(sandbox.url.rpartition(":")[2]), 1.2) as port:
        pairs = sandbox.pairs(60)
        write_batch(tmp_path, pairs)
        code, said = await run(tmp_path, port, sandbox.api_key, "--rate", rate, "--attempts", "1")
        most, seen = sandbox.record.surely_in_one_second(), sandbox.record.by_pair()
    assert code == 0, said
    assert seen == dict.fromkeys(pairs, 1)
    if rate == "unlimited":
        assert most > 2 * PER_S
    else:
        assert most <= PER_S + 1


async def test_connections_that_end_unused_are_an_outage(tmp_path: Path) -> None:
    """Found by a reviewer: each call was held up for its connection, again and again, and none ever failed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certified(tmp_path))

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(hang_up, context) as tls_port, slowing(tls_port, 0.06) as (port, came):
        write_batch(tmp_path, [(f"u{row}", "mail") for row in range(500)])
        code, said = await run(tmp_path, port, "a-key", "--rate", "25/s", "--outage-patience", "3s")
    assert code == 3, said
    assert "Halted: the tenant gave no row a final answer for 3" in said, said
    assert "the server closed the connection" in said
    assert len(came) < 100
