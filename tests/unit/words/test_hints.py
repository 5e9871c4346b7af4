"""A command in a message can be pasted into a shell, wherever the run lies."""

from __future__ import annotations

from pathlib import Path

from worker.hints import typed, typed_for


def test_the_usual_folder_of_runs_is_not_named() -> None:
    assert typed("status") == "bulk-unverify status"
    assert typed_for(Path("runs/r-1"), "retry") == "bulk-unverify retry r-1"


def test_another_one_is_and_all_is_quoted() -> None:
    assert typed("status", runs_dir=Path("/var/lib/b")) == "bulk-unverify status --runs /var/lib/b"
    assert typed_for(Path("my runs/r 1"), "rate", "20/s") == "bulk-unverify rate 'r 1' 20/s --runs 'my runs'"
