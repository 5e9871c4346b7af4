"""The commands and their names. Nothing heavy is imported here: `--help` stays quick."""

from __future__ import annotations

from collections.abc import Callable

import typer

from worker import __version__
from worker.cli.batch import plan, retry, run
from worker.cli.demo import demo
from worker.cli.doctor import doctor
from worker.cli.edge import guarded
from worker.cli.fleet import collect, dead_letters, enqueue, work
from worker.cli.look import report, status
from worker.cli.sandbox import sandbox
from worker.cli.steer import cancel, continue_, pause, rate

app = typer.Typer(
    name="bulk-unverify",
    help="Mark many MonoCloud e-mail identifiers as unverified: paced, resumable, accounted for row by row.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "plan": plan,
    "run": run,
    "retry": retry,
    "status": status,
    "report": report,
    "pause": pause,
    "continue": continue_,
    "cancel": cancel,
    "rate": rate,
    "enqueue": enqueue,
    "work": work,
    "collect": collect,
    "dead-letters": dead_letters,
    "sandbox": sandbox,
    "doctor": doctor,
    "demo": demo,
}
for name, command in _COMMANDS.items():
    app.command(name)(guarded(command))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"bulk-unverify {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Say the version."
    ),
) -> None:
    """Keep the command line's own options; `--version` acts on its own."""
