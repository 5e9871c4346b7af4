"""Rows a second: the product against the bare loop, in turns, against the same server on another core."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path
from typing import Final

import trustme
from batches import write_batch
from figures import Figure, at_least, spread
from processes import CLIENT_CORE, SERVER_CORE, BenchError, Server, finish, script, serving
from product import Product

_TASKS: Final = 64
_ROWS: Final = 200_000
_QUICK_ROWS: Final = 30_000


@dataclasses.dataclass(frozen=True, slots=True)
class _Round:
    """Seconds of one turn of each, and the share of its core that the server was busy."""

    bare_s: float
    bare_cpu_s: float
    calling_s: float
    whole_s: float
    whole_cpu_s: float
    server_busy: float


@dataclasses.dataclass(frozen=True, slots=True)
class _Stage:
    """What one scheme is measured with."""

    folder: Path
    file: Path
    base: str
    flags: tuple[object, ...]
    rows: int


def measure(folder: Path, *, quick: bool, rounds: int) -> list[Figure]:
    """Return the figures over plain http and over TLS.

    Each client process, all its threads included, is held on one core; the server on another.
    """
    rows = _QUICK_ROWS if quick else _ROWS
    file = folder / "batch.csv"
    write_batch(file, rows)
    authority, pem = folder / "authority.pem", folder / "server.pem"
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(str(authority))
    issuer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    figures = []
    for scheme, secured, flags in (
        ("http", (), ()),
        ("https", ("--certificate", pem), ("--ca-bundle", authority)),
    ):
        with serving(script("fast_tenant.py", *secured), SERVER_CORE) as server:
            stage = _Stage(folder, file, f"{scheme}://127.0.0.1:{server.port}", flags, rows)
            turns = [
                _one_round(dataclasses.replace(stage, folder=folder / scheme / str(turn)), server)
                for turn in range(rounds)
            ]
        figures += _figures(scheme, turns, rows)
    return figures


def _one_round(stage: _Stage, server: Server) -> _Round:
    bare = finish(
        script("bare_loop.py", stage.base, stage.file, "--tasks", _TASKS, *stage.flags), core=CLIENT_CORE
    ).figures()
    product = Product(stage.folder, stage.base)
    busy_before = server.cpu_s()
    run = product.run(
        stage.file, "--rate", "unlimited", "--concurrency", _TASKS, *stage.flags, core=CLIENT_CORE
    )
    if run.summary["outcomes"]["succeeded"] != stage.rows:
        raise BenchError(f"Not every row succeeded: {run.summary['outcomes']}")
    calling_s = run.calling_s()
    return _Round(
        bare["elapsed_s"],
        bare["cpu_s"],
        calling_s,
        run.process.elapsed_s,
        run.process.cpu_s,
        (server.cpu_s() - busy_before) / calling_s,
    )


def _figures(scheme: str, turns: list[_Round], rows: int) -> list[Figure]:
    calling = [turn.bare_s / turn.calling_s for turn in turns]
    whole = [turn.bare_s / turn.whole_s for turn in turns]
    busy = max(turn.server_busy for turn in turns)
    calling_notes = (
        f"bare loop {_per_s(rows, [turn.bare_s for turn in turns])} rows/s, "
        f"product {_per_s(rows, [turn.calling_s for turn in turns])}; {spread(calling)}; "
        f"server busy {busy:.0%} of its core"
    )
    whole_notes = (
        f"whole command, start of Python included, {_per_s(rows, [turn.whole_s for turn in turns])} rows/s; "
        f"{spread(whole)}; CPU a row {_micros(rows, [turn.whole_cpu_s for turn in turns])} µs, "
        f"bare loop's calls {_micros(rows, [turn.bare_cpu_s for turn in turns])} µs"
    )
    what = f"{scheme}: product / bare aiohttp loop of {_TASKS} tasks, rows/s"
    return [
        at_least(
            "throughput",
            f"{what}, calling phase, {rows:,} rows",
            statistics.median(calling),
            1.25,
            calling_notes,
        ),
        at_least("throughput", f"{what}, plan + run + report", statistics.median(whole), 1.0, whole_notes),
    ]


def _per_s(rows: int, seconds: list[float]) -> str:
    return f"{rows / statistics.median(seconds):,.0f}"


def _micros(rows: int, seconds: list[float]) -> str:
    return f"{statistics.median(seconds) / rows * 1e6:.0f}"
