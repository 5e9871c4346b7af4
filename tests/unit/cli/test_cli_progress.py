"""What a person sees of a session while it runs."""

from __future__ import annotations

import dataclasses

from rich.console import Console

from worker.cli.progress import _frame, fields
from worker.compose.monitor import View
from worker.model import Outcome
from worker.pacing.pacer import PaceStatus


def view(pending: int, eta_s: float | None) -> View:
    outcomes = dict.fromkeys(Outcome, 0) | {Outcome.SUCCEEDED: 3, Outcome.PENDING: pending}
    return View("r-1", "acme.example", 3 + pending, outcomes, 2.0, eta_s, None)


def drawn(view: View) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(_frame(view))
    return capture.get()


def test_the_bar_tells_the_run_the_counts_and_when_it_will_end() -> None:
    shown = drawn(view(4, 65.0))
    for part in ("acme.example", "r-1", "3/7", "2.0 rows/s", "ETA 1m05s", "succeeded 3", "pending 4"):
        assert part in shown
    assert "ETA unknown" in drawn(view(4, None))


def test_a_bar_that_is_full_expects_nothing() -> None:
    assert "ETA" not in drawn(view(0, 0.0))


def test_the_line_of_ten_seconds_names_the_eta_once() -> None:
    assert fields(view(4, 65.0))["eta"] == "1m05s"
    assert fields(view(4, None))["eta"] == "unknown"


def test_the_rate_is_told_as_a_bound_beside_what_holds_it_back() -> None:
    """In an outage or a pause nothing is sent, whatever the rate in force."""
    paused = dataclasses.replace(view(4, None), pace=PaceStatus(80.0, "paused by the operator", 0))
    assert "at most 80/s (paused by the operator), 0 in flight" in drawn(paused)
    assert fields(paused)["pace"] == "at most 80/s (paused by the operator), 0 in flight"
    unlimited = dataclasses.replace(paused, pace=PaceStatus(None, "as asked for", 7))
    assert "unlimited (as asked for), 7 in flight" in drawn(unlimited)
