"""From a run's ledger to its reports and its exit code."""

from __future__ import annotations

from worker.ledger import RunFolder, report_rows, verify
from worker.model import Outcome
from worker.report import Summary, exit_code, summarise, write_all


def report(folder: RunFolder, *, accept: frozenset[Outcome]) -> Summary:
    """Write every report of the run and return its summary.

    Raises:
        LedgerError: The ledger cannot be read, or its outcomes do not add up.
        ReportError: A file could not be written; the ledger is untouched.
    """
    verify(folder)
    facts = folder.facts()
    summary = summarise(facts, run_dir=folder.path, exit_code=exit_code(facts, accept))
    write_all(folder.path, facts, report_rows(folder), summary)
    return summary
