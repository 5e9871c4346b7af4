"""One report of a run, written where somebody asks for it: never over the evidence itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from worker.errors import UsageError
from worker.intake import digest
from worker.ledger import RunFolder, facts, report_rows
from worker.model import Outcome
from worker.report.destination import Destination
from worker.report.writer import write_one


def export(folder: RunFolder, kind: str, destination: Destination, only: frozenset[Outcome] | None) -> int:
    """Write one report of the run in the format `kind` and return how many rows it has.

    Raises:
        UsageError: There is no such format, or the destination cannot be a file or holds what is to be kept.
        LedgerError: The ledger cannot be read.
        ReportError: The report could not be written.
    """
    known, inputs = facts(folder), folder.binding().input_path.splitlines()
    if isinstance(destination, Path):
        _refuse_evidence(folder, destination, known.input_sha256, inputs)
    return write_one(kind, destination, known, report_rows(folder), only)


def _refuse_evidence(folder: RunFolder, destination: Path, input_sha256: str, inputs: Sequence[str]) -> None:
    """Refuse to replace what proves a run: anything in a run's folder, its input, its protected lists."""
    try:
        path = destination.resolve()
        kept = next((parent for parent in path.parents if RunFolder(parent).ledger.is_file()), None)
        exists = path.is_file()
        is_list = exists and any(each.exists() and each.samefile(path) for each in folder.protected_lists())
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, until Python 3.13
        reason = getattr(error, "strerror", None) or "its links go in a circle"
        raise UsageError(f"{destination}: cannot write there: {reason}. Name another file.") from error
    if kept is not None:
        what = f"lies in the folder of run {kept.name}, whose files are its evidence"
    elif is_list:
        what = "is a protected list of the run"
    elif exists and (digest(path) == input_sha256 or _is_one_of(path, inputs)):
        what = "is the run's input"
    else:
        return
    raise UsageError(f"{destination} {what}: a report must not replace it. Name another file.")


def _is_one_of(path: Path, inputs: Sequence[str]) -> bool:
    """Tell whether `path` is one of several input files, or lies in an input folder; one alone its digest tells."""
    named = [Path(each) for each in inputs]
    return path.parent in named or (len(named) > 1 and path in named)
