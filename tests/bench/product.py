"""The product as its users have it: the real command, started anew each time."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from processes import Finished, finish

COMMAND = str(Path(sys.executable).with_name("bulk-unverify"))


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A run that the product made.

    Attributes:
        summary: What `--json` printed.
        process: What the command cost.
    """

    summary: dict[str, Any]
    process: Finished

    @property
    def ledger(self) -> Path:
        return Path(self.summary["run_dir"]) / "ledger.sqlite"

    def calling_s(self) -> float:
        """Return the seconds from the first row taken up to the last outcome known, by the ledger."""
        with sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True) as ledger:
            first, last = ledger.execute("SELECT min(started_at), max(finished_at) FROM outcomes").fetchone()
        return float(last - first)


@dataclasses.dataclass(frozen=True, slots=True)
class Product:
    """The command with a folder of runs of its own."""

    runs: Path
    tenant: str
    key: str = "bench"

    def environment(self) -> dict[str, str]:
        """Return this process's environment without its settings for the product, and with a key."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MONOCLOUD_")}
        return kept | {"MONOCLOUD_MANAGEMENT_API_KEY": self.key}

    def command(self, verb: str, *arguments: object) -> list[str]:
        """Return the command line of `verb` in this folder of runs."""
        return [COMMAND, verb, *map(str, arguments), "--runs", str(self.runs)]

    def run(
        self,
        file: Path,
        *flags: object,
        core: int | None = None,
        watch_memory: bool = False,
        allowed: tuple[int, ...] = (0,),
    ) -> Run:
        """Plan, carry out and report `file`."""
        command = self.command("run", file, "--tenant", self.tenant, "--yes", "--json", *flags)
        done = finish(command, core=core, env=self.environment(), allowed=allowed, watch_memory=watch_memory)
        return Run(done.figures(), done)

    def work(self, queue: str, *flags: object, core: int | None = None) -> Finished:
        """Work on `queue`, whose URL may hold a password, until it is empty."""
        command = [COMMAND, "work", "--tenant", self.tenant, "--until-empty", "--json", *map(str, flags)]
        return finish(command, core=core, env=self.environment() | {"BULK_UNVERIFY_QUEUE": queue})

    def plan(self, file: Path, *, watch_memory: bool = False) -> Finished:
        """Plan `file`."""
        command = self.command("plan", file, "--tenant", self.tenant)
        return finish(command, env=self.environment(), watch_memory=watch_memory)
