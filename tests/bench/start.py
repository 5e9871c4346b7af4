"""How long the command takes to say anything at all."""

from __future__ import annotations

import statistics
import sys
from typing import Final

from figures import Figure, at_most
from processes import finish
from product import COMMAND

_ROUNDS: Final = 15


def measure() -> list[Figure]:
    """Return the start of `--help` as a multiple of importing typer, in turns."""
    product, typer = [], []
    for _ in range(_ROUNDS):
        typer.append(finish([sys.executable, "-c", "import typer"]).elapsed_s)
        product.append(finish([COMMAND, "--help"]).elapsed_s)
    ours, theirs = statistics.median(product), statistics.median(typer)
    notes = f"{ours * 1000:.0f} ms against {theirs * 1000:.0f} ms, medians of {_ROUNDS} in turns"
    return [at_most("start", '`--help` / `python -c "import typer"`', ours / theirs, 3, notes)]
