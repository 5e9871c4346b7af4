"""Planning, reporting and memory: the parts of a run whose cost could grow with the file."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Final

from batches import write_batch
from figures import Figure, at_most
from processes import SERVER_CORE, finish, script, serving
from product import Product, Run

_MIB: Final = 1 << 20
_NOWHERE: Final = "http://127.0.0.1:9"
"""A tenant for plans, which send nothing."""


def measure_plan(folder: Path, *, quick: bool, rounds: int) -> list[Figure]:
    """Return the time of planning as a multiple of a bare read and insert; whole processes, any core."""
    rows = 100_000 if quick else 1_000_000
    file = folder / "plan.csv"
    write_batch(file, rows)
    ours, bare = [], []
    for turn in range(rounds):
        place = folder / str(turn)
        place.mkdir(parents=True)
        bare.append(finish(script("bare_files.py", "plan", file, place / "bare.sqlite")).elapsed_s)
        ours.append(Product(place / "runs", _NOWHERE).plan(file).elapsed_s)
        shutil.rmtree(place)
    what = f"plan / csv.reader + grouped insert, {rows:,} rows"
    return [at_most("plan", what, _ratio(ours, bare), 3, _against(ours, bare))]


def measure_report(folder: Path, finished: Run, *, rounds: int) -> list[Figure]:
    """Return the time of a report as a multiple of a bare SELECT and csv.writer, as `measure_plan`."""
    ours, bare = [], []
    product = Product(Path(finished.summary["run_dir"]).parent, _NOWHERE)
    for _ in range(rounds):
        bare.append(finish(script("bare_files.py", "report", finished.ledger, folder / "bare.csv")).elapsed_s)
        command = product.command(
            "report", finished.summary["run_id"], "--format", "csv", "-o", folder / "report.csv"
        )
        ours.append(finish(command, env=product.environment()).elapsed_s)
        (folder / "report.csv").unlink()
    what = f"report --format csv / SELECT + csv.writer, {finished.summary['rows']:,} rows"
    return [at_most("report", what, _ratio(ours, bare), 2, _against(ours, bare))]


def measure_plan_memory(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the peak memory of planning the largest file."""
    rows = 500_000 if quick else 10_000_000
    file = folder / "large.csv"
    write_batch(file, rows)
    done = Product(folder / "runs", _NOWHERE).plan(file, watch_memory=True)
    shutil.rmtree(folder)
    peak_mib = done.peak_rss_bytes / _MIB
    notes = f"{done.elapsed_s:.0f} s, {rows / done.elapsed_s:,.0f} rows/s"
    what = f"peak memory of planning {rows:,} rows"
    return [Figure("memory", what, "under 150 MB", f"{peak_mib:.0f} MiB", done.peak_rss_bytes < 150e6, notes)]


def compare_run_memory(small: Run, large: Run) -> list[Figure]:
    """Return how much more memory ten times the rows took."""
    peaks = [run.process.peak_rss_bytes for run in (small, large)]
    grown = (peaks[1] - peaks[0]) / 1e6
    what = f"peak memory of running {large.summary['rows']:,} rows over running {small.summary['rows']:,}"
    notes = f"{peaks[1] / _MIB:.0f} MiB against {peaks[0] / _MIB:.0f} MiB"
    return [Figure("memory", what, "at most 10 MB more", f"{grown:+.1f} MB", grown <= 10, notes)]


def finished_run(folder: Path, rows: int) -> Run:
    """Return a finished run of `rows` rows, with its peak memory."""
    file = folder / "batch.csv"
    write_batch(file, rows)
    with serving(script("fast_tenant.py"), SERVER_CORE) as server:
        product = Product(folder / "runs", f"http://127.0.0.1:{server.port}")
        return product.run(file, "--rate", "unlimited", "--concurrency", 64, watch_memory=True)


def _ratio(ours: list[float], bare: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, bare, strict=True))


def _against(ours: list[float], bare: list[float]) -> str:
    return (
        f"{statistics.median(ours):.2f} s against {statistics.median(bare):.2f} s, "
        f"median of {len(ours)} in turns, start of Python included"
    )
