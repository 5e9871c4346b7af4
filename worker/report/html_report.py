"""The page for people: one self-contained HTML file, without script or anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Final

import jinja2
import markupsafe

from worker.printable import shown
from worker.report import charts
from worker.report.advice import next_steps
from worker.report.summary import every_outcome, reconciliation
from worker.report.tally import Tally
from worker.report.times import stamper, whole_ms
from worker.reportable import RunFacts
from worker.units import format_duration

TOP_CAUSES: Final = 10


def render(facts: RunFacts, tally: Tally, run_dir: Path) -> str:
    """Return the page of a run whose rows `tally` has counted.

    What the rows add up to is told from `tally`, so from the very rows of `report.csv`; where they are
    not the ledger's sums (`facts`), the page says so.
    """
    folder = resources.files("worker.report").joinpath("templates")
    style = folder.joinpath("report.css").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["instant"] = _instant
    environment.filters["duration"] = format_duration
    environment.filters["count"] = "{:,}".format
    page = environment.from_string(folder.joinpath("report.html.j2").read_text("utf-8"))
    return page.render(
        facts=facts,
        tally=tally,
        style=markupsafe.Markup(style),  # noqa: S704 - our own file, no value of a run in it
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        problems=problems(facts, tally),
        sentence=reconciliation(facts.rows, tally.outcomes),
        steps=next_steps(facts, run_dir),
        pieces=charts.stack(tally.outcomes.items()),
        timeline=charts.timeline(tally),
        durations=charts.durations(tally.durations_ms),
        percentiles=charts.percentiles_ms(tally.durations_ms),
        causes={
            "Why called rows did not succeed": tally.causes.commonest(TOP_CAUSES),
            "Why rows were not called": tally.left_out.commonest(TOP_CAUSES),
        },
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def problems(facts: RunFacts, tally: Tally) -> list[str]:
    """Return why what was written is not the whole run, a sentence each; empty for a sound report."""
    found = []
    if tally.rows != facts.rows:
        found.append(f"The report has {tally.rows:,} rows, but the input had {facts.rows:,}.")
    if tally.misplaced:
        found.append(f"{tally.misplaced:,} rows are missing, repeated or out of order.")
    if tally.outcomes != every_outcome(facts.outcomes):
        found.append("The outcomes are not the ledger's sums; the run may have gone on.")
    return found


def _shown(value: object) -> object:
    """Return a value as it is to be read; markup, which is our own, stays as it is."""
    return shown(value) if type(value) is str else value


def _instant(epoch_s: float | None) -> str:
    return "" if epoch_s is None else stamper()(whole_ms(epoch_s))
