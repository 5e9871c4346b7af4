"""Runs the product against real limiters and writes `LIMITERS.md`: `make limiters`, outside CI.

Each row is written as soon as it is measured, and one that is there is not measured again: delete its line to have
it measured once more. What cannot be started is written as a row that says so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from table import SET_UPS, SetUp

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parents[2]
_TABLE: Final = _HERE.parent / "LIMITERS.md"
_SERVERS: Final = {
    "nginx": ("{program}", "-p", "{D}", "-c", "{conf}"),
    "haproxy": ("{program}", "-f", "{conf}"),
    "varnishd": ("{program}", "-F", "-f", "{conf}", "-a", "127.0.0.1:{L}", "-n", "{D}/v", "-s", "malloc,32m"),
    "envoy": ("{program}", "-c", "{conf}", "--base-id", "{L}", "-l", "error"),
}
_UNTIL_S: Final = 60.0
_FROM_S: Final = 20.0
_GIVEN_S: Final = 150.0
_OK: Final = "200"
_HEAD: Final = """# The pace against real limiters

Written by `make limiters` (not in CI: a busy machine moves the figures). Used: 200s from second 20 to 60 by what the
configuration says can be had (in brackets; nothing was swept). Refused: calls from second 20 on that brought no 200.
Load: of the machine at the end of the row. Beside them what d522d46 did, measured once, from second 10 on.

| limiter | rate | can be had | used | refused | rows | exit | load | d522d46 (used; refused) |
|---|---|---|---|---|---|---|---|---|
"""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + 20.0
    while time.monotonic() < ends:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not listen (exit {process.poll()})")


@contextlib.contextmanager
def _process(command: Sequence[str], port: int, **other: str) -> Iterator[None]:
    with (_HERE / "last.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=os.environ | other, stdout=log, stderr=log, cwd=_tools(), start_new_session=True
        )
    try:
        _wait_for(port, process)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tools() -> Path:
    return Path(os.environ.get("LIMITERS_TOOLS", _ROOT / ".venv-bench" / "limiters"))


def _command(set_up: SetUp, port: int, tenant: int, folder: Path) -> list[str]:
    if set_up.program == "node":
        app = _tools() / "limiters.mjs"
        app.write_text((_HERE / "set-ups" / "limiters.mjs").read_text())
        return ["node", str(app), set_up.what, str(port)]
    if set_up.program in ("uvicorn", "gunicorn"):
        bind = ("--port", str(port)) if set_up.program == "uvicorn" else ("-b", f"127.0.0.1:{port}")
        directory = "--app-dir" if set_up.program == "uvicorn" else "--chdir"
        return [
            str(_tools() / "py/bin" / set_up.program),
            *bind,
            directory,
            str(_HERE / "set-ups"),
            "py_limiters:app",
        ]
    text = (_HERE / "set-ups" / set_up.what).read_text()
    for old, new in set_up.edit:
        assert old in text, f"{set_up.name}: {old!r} is not in {set_up.what}"
        text = text.replace(old, new)
    for name, value in (("L", port), ("U", tenant), ("D", folder)):
        text = text.replace(f"{{{name}}}", str(value))
    conf = folder / "limiter.conf"
    conf.write_text(text)
    program = str(_tools() / "py/bin/envoy") if set_up.program == "envoy" else set_up.program
    fill = {"program": program, "conf": str(conf), "D": str(folder), "L": str(port)}
    return [part.format(**fill) for part in _SERVERS[set_up.program]]


@contextlib.contextmanager
def _running(set_up: SetUp, folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the port of the tap in front of the limiter, and where it notes the calls."""
    tenant, limiter, tap = (_free_port() for _ in range(3))
    stand_in, log = [sys.executable, str(_HERE / "stand_in.py")], folder / "calls"
    with (
        _process([*stand_in, "tenant", str(tenant), str(set_up.latency_s)], tenant),
        _process(_command(set_up, limiter, tenant, folder), limiter, KIND=set_up.what),
        _process([*stand_in, "tap", str(tap), str(limiter), str(log)], tap),
    ):
        yield tap, log


def _run(set_up: SetUp, rate: str) -> str:
    """Run the product once and return the row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        rows = folder / "rows.csv"
        rows.write_text(
            "user_id,identifier_id\n" + "".join(f"user{n},{uuid.UUID(int=n)}\n" for n in range(set_up.rows))
        )
        with _running(set_up, folder) as (port, calls):
            time.sleep(2.0)
            calls.write_text("")
            command = [
                str(_ROOT / ".venv/bin/bulk-unverify"), "run", str(rows), "--yes", "--json", "--rate", rate,
                "--runs", str(folder / "runs"), "--tenant", f"http://127.0.0.1:{port}",
            ]  # fmt: skip
            began = time.time()
            run = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=os.environ | {"MONOCLOUD_MANAGEMENT_API_KEY": "mk_limiters_bench"},
            )  # fmt: skip
            try:
                output = run.communicate(timeout=_GIVEN_S)[0]
                cut = ""
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGINT)
                output, cut = run.communicate()[0], " (cut)"
            seen = [line.split() for line in calls.read_text().splitlines()]
        return _row(set_up, rate, seen, began, output.decode(), f"{run.returncode}{cut}")


def _row(set_up: SetUp, rate: str, seen: list[list[str]], began: float, output: str, ended: str) -> str:
    import json  # noqa: PLC0415

    calls = [(float(at) - began, status) for at, status in seen]
    last = max((at for at, _ in calls), default=0.0)
    until = min(_UNTIL_S, last)
    later = [status for at, status in calls if _FROM_S <= at < until]
    good = later.count(_OK)
    used = good / max(until - _FROM_S, 1.0) / set_up.per_s
    refused = (len(later) - good) / max(len(later), 1)
    outcomes = json.loads(output.splitlines()[-1]).get("outcomes", {}) if output.strip() else {}
    rows = ", ".join(f"{count} {name}" for name, count in outcomes.items() if count)
    before = set_up.before[rate != "auto"]
    load = os.getloadavg()[0]
    return (
        f"| {set_up.name} | {rate} | ({set_up.per_s:g}/s) | {used:.0%} | {refused:.2%} | {rows} in {last:.0f} s "
        f"| {ended} | {load:.0f} | {before} |"
    )


def main() -> None:
    """Measure what is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="words of the set-ups to measure; all of them by default")
    wanted = parser.parse_args().only
    if not _TABLE.exists():
        _TABLE.write_text(_HEAD)
    for set_up in SET_UPS:
        if wanted and not any(word in set_up.name or word == set_up.what for word in wanted):
            continue
        for rate in ("auto", set_up.fixed):
            if f"| {set_up.name} | {rate} |" in _TABLE.read_text():
                continue
            try:
                row = _run(set_up, rate)
            except (RuntimeError, OSError):
                why = f"could not be started on this machine ({set_up.program})"
                row = f"| {set_up.name} | {rate} | - | {why} | | | | | |"
            with _TABLE.open("a") as table:
                table.write(row + "\n")
            print(row, flush=True)


if __name__ == "__main__":
    main()
