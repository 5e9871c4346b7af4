"""Commands as a person types them, for messages that say what to do: quoted, and right wherever the run lies."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

DEFAULT_RUNS: Final = Path("runs")
DEFAULT_OPERATION: Final = "unverify-email"
BY_WORKERS: Final = ("--via", "queue")
"""What a run is resumed with whose rows a queue's workers call."""


def typed(verb: str, *words: str, runs_dir: Path = DEFAULT_RUNS) -> str:
    """Return the command `verb` with `words`, for the folder of runs `runs_dir`."""
    runs = () if runs_dir == DEFAULT_RUNS else ("--runs", str(runs_dir))
    return shlex.join(("bulk-unverify", verb, *words, *runs))


def typed_for(run_dir: Path, verb: str, *words: str) -> str:
    """Return the command `verb` on the run whose folder is `run_dir`, with `words` after its name."""
    return typed(verb, run_dir.name, *words, runs_dir=run_dir.parent)
