"""The runs that are there, for a report of theirs that is fed back in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from worker.intake import Origins
from worker.ledger import PlannedRows, RunFolder, planned_rows


@contextlib.contextmanager
def origins(runs_dir: Path) -> Iterator[Origins]:
    """Yield what finds the runs in `runs_dir` by their names; they are open until the block ends."""
    with contextlib.ExitStack() as held:
        known: dict[str, PlannedRows | None] = {}

        def find(run_id: str) -> PlannedRows | None:
            if run_id not in known:
                folder = RunFolder(runs_dir / run_id)
                there = bool(run_id) and Path(run_id).name == run_id and folder.ledger.is_file()
                known[run_id] = held.enter_context(planned_rows(folder)) if there else None
            return known[run_id]

        yield find
