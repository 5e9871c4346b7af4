"""Shows a session while it runs: a live bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TextIO

import structlog
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.compose.monitor import Monitor, View
from worker.model import Outcome
from worker.printable import shown
from worker.units import format_duration

_LINE_EVERY_S: Final = 10.0
_FRAME_EVERY_S: Final = 0.25


def presenter(stream: TextIO) -> Callable[[Monitor], Coroutine[Any, Any, None]]:
    """Return what shows a monitor on `stream` until it is cancelled."""
    return _live if stream.isatty() else _lines


def fields(view: View) -> dict[str, object]:
    """Return how a session stands, by name."""
    return {
        "done": view.rows - view.outcomes[Outcome.PENDING],
        "rows": view.rows,
        "rows_per_s": round(view.rows_per_s, 1),
        "eta": _eta(view),
        "pace": _pace(view),
    } | {str(outcome): count for outcome, count in view.outcomes.items() if count}


async def _lines(monitor: Monitor) -> None:
    """Write a structured line every ten seconds to standard error, where nothing else reads JSON."""
    log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "event"]),
        ],
    )
    while True:
        await asyncio.sleep(_LINE_EVERY_S)
        log.info("progress", **fields(monitor.view()))


async def _live(monitor: Monitor) -> None:
    console = Console(stderr=True)
    with Live(_frame(monitor.view()), console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(_frame(monitor.view()), refresh=True)
                await asyncio.sleep(_FRAME_EVERY_S)
        finally:
            live.update(_frame(monitor.view()), refresh=True)


def _frame(view: View) -> Group:
    done = view.rows - view.outcomes[Outcome.PENDING]
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True)
    head.add_row(
        ProgressBar(total=max(view.rows, 1), completed=done),
        Text(f"{done:,}/{view.rows:,}  {view.rows_per_s:.1f} rows/s{_left(view)}"),
    )
    counts = "  ".join(f"{outcome} {count:,}" for outcome, count in view.outcomes.items() if count)
    return Group(
        Text(shown(f"{view.tenant}  {view.run_id}"), style="bold"),
        head,
        Text(shown(_pace(view))),
        Text(counts),
    )


def _eta(view: View) -> str:
    return "unknown" if view.eta_s is None else format_duration(view.eta_s)


def _left(view: View) -> str:
    return f"  ETA {_eta(view)}" if view.outcomes[Outcome.PENDING] else ""


def _pace(view: View) -> str:
    return "starting" if view.pace is None else view.pace.text
