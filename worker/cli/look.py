"""`status` and `report`: the commands that only look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import flags
from worker.hints import DEFAULT_RUNS

if TYPE_CHECKING:
    from worker.ledger import RunFolder


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="One run; otherwise all of them.")
    ] = None,
    *,
    runs: flags.Runs = DEFAULT_RUNS,
    as_json: flags.Json = False,
) -> None:
    """Show how one run stands, or all of them."""
    from worker.cli import show
    from worker.ledger import RunFolder, foreseen

    if name is not None:
        folder = RunFolder.open(runs, name)
        if as_json:
            show.say_json(show.plan_object(folder, foreseen(folder)))
        else:
            show.status(folder, show.answer)
        return
    folders = RunFolder.all(runs)
    if not folders:
        show.say(f"There are no runs in {runs}.")
    _show_all(folders, as_json=as_json)


def _show_all(folders: list[RunFolder], *, as_json: bool) -> None:
    """Show every run, and one with a broken ledger with its trouble; exits 3 if there is such a one."""
    from worker.cli import show
    from worker.errors import BulkUnverifyError, LedgerError
    from worker.ledger import facts, foreseen

    told: list[dict[str, object]] = []
    exit_code = 0
    for folder in folders:
        try:
            line = show.status_line(folder, facts(folder))
            told.append(show.plan_object(folder, foreseen(folder)))
        except BulkUnverifyError as error:
            line, exit_code = f"{folder.run_id}  broken       {error}", LedgerError.exit_code
            told.append({"run_id": folder.run_id, "run_dir": str(folder.path), "error": str(error)})
        if not as_json:
            show.answer(line)
    if as_json:
        show.say_json({"runs": told, "exit_code": exit_code})
    raise SystemExit(exit_code)


def report(
    name: Annotated[str, typer.Argument(metavar="RUN", help="The run.")],
    *,
    kind: Annotated[str, typer.Option("--format", help="csv, jsonl or parquet.")] = "csv",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; - or nothing for standard output.")
    ] = None,
    only: Annotated[str | None, typer.Option("--only", help="Outcomes to keep, separated by commas.")] = None,
    runs: flags.Runs = DEFAULT_RUNS,
) -> None:
    """Write one report of a run, whole or only some outcomes."""
    import io
    import sys

    from worker.cli import show
    from worker.cli.streams import OnTerminal
    from worker.compose.exporting import export
    from worker.compose.options import parse_outcomes
    from worker.ledger import RunFolder
    from worker.model import Outcome

    kept = None if only is None else parse_outcomes(only, allowed=frozenset(Outcome), flag="--only")
    folder = RunFolder.open(runs, name)
    out = sys.stdout.buffer if not sys.stdout.isatty() else io.BufferedWriter(OnTerminal(sys.stdout.buffer))
    destination = out if output is None or str(output) == "-" else output
    count = export(folder, kind, destination, kept)
    if destination is output:
        show.say(f"{count:,} rows written to {output}")
