"""Measures the product against its targets and writes one table: `python tests/bench/run.py --help`.

Not a test: a busy machine moves the figures. Ratios are measured in turns in one run for that reason.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import files
import fleet_pace
import pace
import queues
import start
import throughput
from figures import Figure, render
from processes import HERE, BenchError
from product import COMMAND, Run

_RESULTS: Final = HERE / "RESULTS.md"
_BROKE: Final = "broke"


class Bench:
    """The sections, each in a folder of its own.

    Args:
        folder: Where everything is made; removed by the caller.
        quick: Fewer rows and shorter times.
        rounds: How often what is compared takes turns.
    """

    def __init__(self, folder: Path, *, quick: bool, rounds: int) -> None:
        self._folder = folder
        self._quick = quick
        self._rounds = rounds
        self.sections: dict[str, Callable[[], list[Figure]]] = {
            "throughput": lambda: throughput.measure(
                self._place("throughput"), quick=self._quick, rounds=self._rounds
            ),
            "queues": lambda: queues.measure(self._place("queues"), quick=self._quick, rounds=self._rounds),
            "plan": lambda: files.measure_plan(self._place("plan"), quick=self._quick, rounds=self._rounds),
            "report": self._report,
            "memory": self._memory,
            "rate": lambda: pace.measure_rates(self._place("rate"), quick=self._quick),
            "fleet": lambda: fleet_pace.measure(self._place("fleet"), quick=self._quick),
            "auto": lambda: pace.measure_auto(self._place("auto"), quick=self._quick),
            "start": start.measure,
        }

    def _report(self) -> list[Figure]:
        return files.measure_report(self._place("report"), self._large_run, rounds=self._rounds)

    def _memory(self) -> list[Figure]:
        small = files.finished_run(self._place("small-run"), self._rows // 10)
        return [
            *files.measure_plan_memory(self._place("large-plan"), quick=self._quick),
            *files.compare_run_memory(small, self._large_run),
        ]

    @functools.cached_property
    def _large_run(self) -> Run:
        return files.finished_run(self._place("large-run"), self._rows)

    @property
    def _rows(self) -> int:
        return 50_000 if self._quick else 1_000_000

    def _place(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder


def main(arguments: Sequence[str]) -> int:
    """Measure what was asked for; 0 if every target was met, 1 if one was not, 2 if a section broke."""
    names = list(Bench(Path(), quick=False, rounds=0).sections)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(names), help=f"Sections, of {', '.join(names)}.")
    parser.add_argument(
        "--quick", action="store_true", help="Fewer rows, shorter times: to try the bench itself."
    )
    parser.add_argument("--rounds", type=int, default=5, help="Turns that each of two things takes.")
    parser.add_argument(
        "--output",
        type=Path,
        help="Where the table goes; RESULTS.md beside this file, unless quick or broken.",
    )
    parser.add_argument(
        "--workspace", type=Path, help="Where the files are made (about 6 GB); emptied after."
    )
    chosen = parser.parse_args(arguments)
    wanted = chosen.only.split(",")
    if unknown := set(wanted) - set(names):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if not Path(COMMAND).is_file():
        parser.error("bulk-unverify is not installed beside this Python: install the project first.")
    folder = Path(tempfile.mkdtemp(prefix="bulk-unverify-bench-", dir=chosen.workspace))
    try:
        bench = Bench(folder, quick=chosen.quick, rounds=chosen.rounds)
        figures = [figure for name in wanted for figure in _section(name, bench.sections[name])]
    finally:
        shutil.rmtree(folder)
    said = f"run.py --only {','.join(wanted)} --rounds {chosen.rounds}" + " --quick" * chosen.quick
    table = render(figures, quick=chosen.quick, command=said)
    sys.stdout.write(table)
    broke = any(figure.measured == _BROKE for figure in figures)
    output = chosen.output or (None if chosen.quick or broke else _RESULTS)
    if output is not None:
        output.write_text(table, encoding="utf-8")
    return 2 if broke else int(any(figure.passed is False for figure in figures))


def _section(name: str, measure: Callable[[], list[Figure]]) -> list[Figure]:
    """Measure one section; one that breaks leaves a line in the table and does not stop the others."""
    sys.stderr.write(f"measuring {name} ...\n")
    try:
        return measure()
    except (BenchError, OSError, ValueError, LookupError, sqlite3.Error) as error:
        sys.stderr.write(f"{name}: {error!r}\n")
        return [Figure(name, "the whole section", "works", _BROKE, False, "see the bench's error output")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
