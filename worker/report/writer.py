"""Writes a run's reports: all of the run folder in one pass over the rows, or one of them somewhere else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from worker.errors import ReportError, UsageError
from worker.model import Outcome
from worker.report.csv_report import (
    ROWS_AT_ONCE,
    encode,
    failed_header,
    failed_line,
    header_line,
    line_maker,
    write_csv,
)
from worker.report.destination import Destination, open_destination, sweep, write_bytes
from worker.report.manifest import MANIFEST_NAME, remove_manifest, write_manifest
from worker.report.tally import Tally
from worker.reportable import ReportRow, RunFacts

REPORT_NAME: Final = "report.csv"
FAILED_NAME: Final = "failed.csv"
INVALID_NAME: Final = "invalid.csv"
"""Rows to be mended and run as a batch of their own; no evidence, as `failed.csv` has them too."""
PAGE_NAME: Final = "report.html"
SUMMARY_NAME: Final = "summary.json"

FAILED: Final = frozenset(
    {Outcome.UNCONFIRMED, Outcome.NOT_FOUND, Outcome.REFUSED, Outcome.EXHAUSTED, Outcome.INVALID}
)
"""Outcomes of the rows in `failed.csv`."""

FORMATS: Final = ("csv", "jsonl", "parquet")


class _Writer(Protocol):
    def __call__(
        self,
        destination: Destination,
        header: Sequence[str],
        rows: Iterable[ReportRow],
        run_id: str,
        only: frozenset[Outcome] | None = None,
    ) -> int: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What `write_all` wrote.

    Attributes:
        rows: Lines of `report.csv` below its header.
        failed: Lines of `failed.csv` below its header.
        summary: The content of `summary.json`.
        problems: Why the report is not the whole run, a sentence each; empty for a sound one.
    """

    rows: int
    failed: int
    summary: dict[str, object]
    problems: list[str]


def write_all(
    run_dir: Path,
    facts: RunFacts,
    rows: Iterable[ReportRow],
    *,
    exit_code: int,
    rate_per_s: float | None,
) -> Written:
    """Write all reports of a run and `manifest.json` into `run_dir`.

    Takes `rows` (every row, in order) once and holds few of them at a time. The caller owns the run:
    nobody else writes these files meanwhile. `facts` is to be read after the last outcome was recorded.

    Raises:
        ReportError: A file could not be written; its older version is still there.
    """
    # The page's libraries take a tenth of a second to import; `report RUN --format csv` does without them.
    from worker.report.html_report import TOP_CAUSES, problems, render  # noqa: PLC0415 - see above
    from worker.report.summary import summary  # noqa: PLC0415 - see above

    for name in (REPORT_NAME, FAILED_NAME, INVALID_NAME, PAGE_NAME, SUMMARY_NAME, MANIFEST_NAME):
        sweep(run_dir / name)
        if (run_dir / name).is_dir():
            raise ReportError(
                f"{run_dir / name} is a folder, in the place of a report of the run: move it away, then run the"
                " same command again."
            )
    remove_manifest(run_dir)
    tally = Tally()
    failed = _write_rows(run_dir, facts, rows, tally)
    write_bytes(run_dir / PAGE_NAME, render(facts, tally, run_dir).encode("utf-8", "backslashreplace"))
    told = summary(
        facts,
        run_dir=run_dir,
        exit_code=exit_code,
        rate_per_s=rate_per_s,
        report=run_dir / REPORT_NAME,
        causes=tally.causes.commonest(TOP_CAUSES),
    )
    found = problems(facts, tally)
    told["complete"] = told["complete"] and not found
    write_bytes(run_dir / SUMMARY_NAME, json.dumps(told, indent=2).encode() + b"\n")
    write_manifest(run_dir, facts.run_id)
    return Written(rows=tally.rows, failed=failed, summary=told, problems=found)


def write_one(
    kind: str,
    destination: Destination,
    facts: RunFacts,
    rows: Iterable[ReportRow],
    only: frozenset[Outcome] | None = None,
) -> int:
    """Write one report in the format `kind` (of `FORMATS`) and return how many rows it has.

    Raises:
        UsageError: There is no such format, its library is missing, or the destination cannot be a file.
        ReportError: It could not be written.
    """
    return _writer(kind)(destination, facts.header, rows, facts.run_id, only)


def _writer(kind: str) -> _Writer:
    match kind:
        case "csv":
            return write_csv
        case "jsonl":
            from worker.report.jsonl_report import write_jsonl  # noqa: PLC0415 - only who asks for it loads it

            return write_jsonl
        case "parquet":
            from worker.report.parquet_report import write_parquet  # noqa: PLC0415 - only who asks for it

            return write_parquet
        case _:
            raise UsageError(f"{kind!r} is no format of a report. Choose one of {', '.join(FORMATS)}.")


def _write_rows(run_dir: Path, facts: RunFacts, rows: Iterable[ReportRow], tally: Tally) -> int:
    """Write the three CSV files in one pass, counting into `tally`; return the rows that failed."""
    line: Callable[[ReportRow], list[str | int | None]] = line_maker(len(facts.header), facts.run_id)
    coming = iter(rows)
    failures = 0
    with ExitStack() as files:
        report, failed, invalid = (
            files.enter_context(open_destination(run_dir / name))
            for name in (REPORT_NAME, FAILED_NAME, INVALID_NAME)
        )
        report.write(encode([header_line(facts.header)]))
        for out in (failed, invalid):
            out.write(encode([failed_header(facts.header)]))
        while batch := list(islice(coming, ROWS_AT_ONCE)):
            lines = list(map(line, batch))
            report.write(encode(lines))
            of_failed = [
                (row.outcome, failed_line(row, cells))
                for row, cells in zip(batch, lines, strict=True)
                if row.outcome in FAILED
            ]
            if of_failed:
                failed.write(encode(cells for _, cells in of_failed))
                invalid.write(encode(cells for outcome, cells in of_failed if outcome is Outcome.INVALID))
                failures += len(of_failed)
            tally.add(batch)
    return failures
