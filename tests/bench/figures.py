"""What a bench says: one figure a line, and the table they are printed in."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.metadata
import os
import platform
import sqlite3
import ssl
from collections.abc import Sequence
from typing import Final

_LIBRARIES: Final = ("aiohttp", "msgspec", "pydantic", "tenacity", "structlog", "typer", "rich")


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        section: The section that measured it.
        what: What was measured, in words.
        target: What it should be, in words.
        measured: What it was, with its unit.
        passed: Whether the target was met; None where the figure is only told.
        notes: What it was made of.
    """

    section: str
    what: str
    target: str
    measured: str
    passed: bool | None
    notes: str = ""

    def line(self) -> str:
        """Return the figure as a line of the table."""
        verdict = {True: "pass", False: "**FAIL**", None: "-"}[self.passed]
        cells = (self.section, self.what, self.target, self.measured, verdict, self.notes)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def at_least(section: str, what: str, value: float, target: float, notes: str = "") -> Figure:
    """Return a ratio that must not fall below `target`."""
    return Figure(section, what, f"at least {target:g}", f"{value:.2f}", value >= target, notes)


def at_most(section: str, what: str, value: float, target: float, notes: str = "") -> Figure:
    """Return a ratio that must not exceed `target`."""
    return Figure(section, what, f"at most {target:g}", f"{value:.2f}", value <= target, notes)


def spread(values: Sequence[float], decimals: int = 2) -> str:
    """Return of how many rounds a median is, and between what."""
    return f"median of {len(values)} rounds, {min(values):,.{decimals}f} to {max(values):,.{decimals}f}"


def render(figures: Sequence[Figure], *, quick: bool, command: str) -> str:
    """Return the whole table with the machine it was measured on, as Markdown."""
    lines = [
        "# What was measured",
        "",
        f"Written by `{command}` on {dt.datetime.now(dt.UTC):%Y-%m-%d} (UTC). {_machine()}",
        "Ratios are of things measured side by side in this run; absolute figures are this machine's.",
    ]
    if quick:
        lines.append("**A quick run: fewer rows and shorter times than the targets are meant for.**")
    lines += [
        "",
        "| section | figure | target | measured | | notes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [figure.line() for figure in figures]
    return "\n".join(lines) + "\n"


def _machine() -> str:
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), "
        f"{platform.system()} {platform.release().split('-')[0]}, "
        f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{ssl.OPENSSL_VERSION.rsplit(' ', 3)[0]}, {libraries}."
    )
