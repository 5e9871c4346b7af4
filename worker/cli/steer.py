"""`pause`, `continue`, `cancel` and `rate`: steer a running run from another shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli import flags
from worker.hints import DEFAULT_RUNS

_Run = Annotated[str, typer.Argument(metavar="RUN", help="The run.")]


def pause(name: _Run, *, runs: flags.Runs = DEFAULT_RUNS) -> None:
    """Let a running run make no calls until it is continued."""
    _post(runs, name, "pause")


def continue_(name: _Run, *, runs: flags.Runs = DEFAULT_RUNS) -> None:
    """Let a paused run go on."""
    _post(runs, name, "continue")


def cancel(name: _Run, *, runs: flags.Runs = DEFAULT_RUNS) -> None:
    """End a running run in good order; what is left stays pending and can be resumed."""
    _post(runs, name, "cancel")


def rate(
    name: _Run,
    value: Annotated[str, typer.Argument(metavar="RATE", help="50/s, 3000/m, auto or unlimited.")],
    *,
    runs: flags.Runs = DEFAULT_RUNS,
) -> None:
    """Change the rate of a running run."""
    from worker.pacing import parse_rate

    parse_rate(value)  # refuse it here, where somebody reads the message
    _refuse_of_workers(runs, name)
    _post(runs, name, "rate", value)


def _refuse_of_workers(runs: Path, name: str) -> None:
    from worker.errors import UsageError
    from worker.hints import typed_for
    from worker.ledger import RunFolder, facts

    folder = RunFolder.open(runs, name)
    if via := facts(folder).called_via:
        raise UsageError(
            f"The rows of run {folder.run_id} are called by the workers of {via}, at their own --rate: start them"
            f" with another one. To publish no more rows meanwhile: `{typed_for(folder.path, 'pause')}`."
        )


def _post(runs: Path, name: str, command: str, value: str = "") -> None:
    from worker.cli import show
    from worker.compose.planning import operator
    from worker.errors import UsageError
    from worker.hints import typed_for
    from worker.ledger import Command, RunFolder, post_command

    folder = RunFolder.open(runs, name)
    if not folder.owned:
        raise UsageError(
            f"Nobody is working on run {folder.run_id} now, so there is nothing to steer. Its state:"
            f" `{typed_for(folder.path, 'status')}`."
        )
    post_command(
        folder.inbox, Command.model_validate({"name": command, "rate": value, "operator": operator()})
    )
    show.say(f"Asked run {folder.run_id}: {command} {value}".rstrip())
