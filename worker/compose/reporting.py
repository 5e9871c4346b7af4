"""From a run's ledger to its reports and its exit code."""

from __future__ import annotations

import json
from typing import Final

from worker.ledger import RunFolder, facts, snapshot
from worker.model import Outcome
from worker.report.manifest import MANIFEST_NAME
from worker.report.summary import exit_code
from worker.report.writer import REPORT_NAME, SUMMARY_NAME, write_all
from worker.reportable import COLLECTED

NOT_SOUND: Final = 3
"""Exit code of a run whose report is not the whole run: it must not look like a success."""


def report(folder: RunFolder, *, accept: frozenset[Outcome]) -> dict[str, object]:
    """Write every report of the run, whose lock the caller holds, and return its summary.

    The run's exit code is the summary's `exit_code`.

    Raises:
        LedgerError: The ledger cannot be read, or its outcomes do not add up.
        ReportError: A file could not be written; the ledger is untouched.
    """
    if COLLECTED not in folder.binding().selection:  # others may be adding to one that is
        folder.rest()
    with snapshot(folder) as ledger:
        known = ledger.facts()
        ledger.verify()
        code = exit_code(known, accept)
        rate = known.calls / known.elapsed_s if known.elapsed_s > 0 else None
        written = write_all(folder.path, known, ledger.rows(), exit_code=code, rate_per_s=rate)
        if written.problems and code == 0:  # known only now; what is kept must not look like a success either
            written = write_all(folder.path, known, ledger.rows(), exit_code=NOT_SOUND, rate_per_s=rate)
    return written.summary


def _kept_summary(folder: RunFolder) -> dict[str, object]:
    """Return what `summary.json` holds; nothing where it is missing, or is no JSON object."""
    try:
        kept = json.loads((folder.path / SUMMARY_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def last_report(folder: RunFolder, *, accept: frozenset[Outcome]) -> dict[str, object]:
    """Return the summary of a finished run; writes its reports only if they are missing, unsound or old.

    Raises:
        RunBusyError: Another process works on the run.
        LedgerError: The ledger cannot be read, or its outcomes do not add up.
        ReportError: A file could not be written; the ledger is untouched.
    """
    known = facts(folder)
    kept = _kept_summary(folder)
    current = kept.get("state") == known.state and kept.get("outcomes") == known.outcomes
    whole = all((folder.path / name).is_file() for name in (REPORT_NAME, MANIFEST_NAME))
    current = current and "causes" in kept  # else an older version wrote it
    if current and kept.get("complete") and whole:
        places = {"run_dir": str(folder.path), "report": str(folder.path / REPORT_NAME)}  # it may have moved
        return kept | places | {"exit_code": exit_code(known, accept)}
    with folder.lock():
        return report(folder, accept=accept)
