"""From a ledger to reports and an exit code; what is kept is shown again only while it tells the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest
from unit.ledger.ledger_staging import plan, result, session, tamper

from worker.compose.reporting import last_report, report
from worker.errors import LedgerError, ReportError, RunBusyError
from worker.ledger import RunFolder
from worker.model import Outcome, RunState
from worker.report import manifest
from worker.report.manifest import verify_manifest

NOBODY: frozenset[Outcome] = frozenset()


async def finished(runs: Path, *outcomes: Outcome) -> RunFolder:
    """Return a finished run whose rows 1, 2, ... have these outcomes; its calls took no time."""
    folder = plan(runs, len(outcomes))
    async with session(folder, wall=lambda: 3000.0) as ledger:
        for row, outcome in zip(await ledger.claim(len(outcomes)), outcomes, strict=True):
            ledger.record(result(row, outcome))
        await ledger.flush()
        await ledger.end_session(RunState.FINISHED)
    return folder


@pytest.fixture
async def good(tmp_path: Path) -> RunFolder:
    return await finished(tmp_path, Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.SUCCEEDED)


@pytest.fixture
async def mixed(tmp_path: Path) -> RunFolder:
    return await finished(tmp_path, Outcome.SUCCEEDED, Outcome.NOT_FOUND, Outcome.SUCCEEDED)


def kept(folder: RunFolder) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder.path / "summary.json").read_bytes())
    return told


def test_every_report_is_written_and_the_summary_is_the_kept_one(good: RunFolder) -> None:
    told = report(good, accept=NOBODY)
    assert told == kept(good)
    assert (told["exit_code"], told["complete"], told["calls"]) == (0, True, 3)
    assert told["report"] == str(good.path / "report.csv")
    names = {path.name for path in good.path.iterdir()}
    assert {"report.csv", "failed.csv", "report.html", "summary.json", "manifest.json"} <= names
    assert len((good.path / "report.csv").read_text().splitlines()) == 4


async def test_the_rate_is_calls_over_the_seconds_that_sessions_ran(tmp_path: Path) -> None:
    folder = plan(tmp_path, 4)
    clock = iter([3000.0, 3002.0])
    async with session(folder, wall=lambda: next(clock)) as ledger:
        for row in await ledger.claim(4):
            ledger.record(result(row, requests=2))
        await ledger.flush()
        await ledger.end_session(RunState.FINISHED)
    assert report(folder, accept=NOBODY)["rate_per_s"] == 4.0


def test_a_run_that_took_no_time_has_no_rate(good: RunFolder) -> None:
    assert report(good, accept=NOBODY)["rate_per_s"] is None


def test_rows_that_failed_make_the_exit_code_unless_they_are_accepted(mixed: RunFolder) -> None:
    assert report(mixed, accept=NOBODY)["exit_code"] == 1
    assert report(mixed, accept=frozenset({Outcome.NOT_FOUND}))["exit_code"] == 0


async def test_a_run_that_is_not_finished_is_reported_with_its_pending_rows(tmp_path: Path) -> None:
    folder = plan(tmp_path, 2)
    async with session(folder) as ledger:
        await ledger.end_session(RunState.HALTED, "the deadline of 1m00s was reached")
    told = report(folder, accept=NOBODY)
    assert (told["exit_code"], told["complete"]) == (3, False)
    assert told["halt_reason"] == "the deadline of 1m00s was reached"


def test_a_ledger_that_does_not_add_up_gets_no_report(good: RunFolder) -> None:
    tamper(good, "DELETE FROM rows WHERE row = 2")
    with pytest.raises(LedgerError, match=r"does not add up: 3 rows planned, 2 present"):
        report(good, accept=NOBODY)
    assert not (good.path / "report.csv").exists()


def lose_a_number(folder: RunFolder) -> None:
    """Make the report unsound in a way that the ledger's own sums do not show."""
    tamper(folder, "UPDATE rows SET row = 9 WHERE row = 3")
    tamper(folder, "UPDATE outcomes SET row = 9 WHERE row = 3")


def test_an_unsound_report_never_looks_like_a_success(good: RunFolder) -> None:
    lose_a_number(good)
    told = report(good, accept=NOBODY)
    assert (told["exit_code"], told["complete"]) == (3, False)
    assert kept(good) == told
    assert last_report(good, accept=NOBODY)["exit_code"] == 3, "nor when it is asked for again"


def test_an_unsound_report_of_a_failed_run_keeps_its_code(mixed: RunFolder) -> None:
    lose_a_number(mixed)
    told = report(mixed, accept=NOBODY)
    assert (told["exit_code"], told["complete"]) == (1, False)


def test_what_is_kept_is_shown_again_and_not_written_again(mixed: RunFolder) -> None:
    told = report(mixed, accept=NOBODY)
    marked = mixed.path / "report.csv"
    marked.write_text("as it was\n")
    with mixed.lock():  # it needs no lock for that
        assert last_report(mixed, accept=NOBODY) == told
    assert marked.read_text() == "as it was\n"


def test_what_is_accepted_now_decides_the_exit_code_of_what_is_kept(mixed: RunFolder) -> None:
    report(mixed, accept=NOBODY)
    assert last_report(mixed, accept=frozenset({Outcome.NOT_FOUND}))["exit_code"] == 0
    assert kept(mixed)["exit_code"] == 1


@pytest.mark.parametrize("place", ["report.csv", "summary.json", "manifest.json"])
def test_a_folder_in_the_place_of_a_report_is_a_report_not_written(mixed: RunFolder, place: str) -> None:
    (mixed.path / place).mkdir()
    with pytest.raises(ReportError, match=f"{place} is a folder.*move it away"):
        report(mixed, accept=NOBODY)


@pytest.mark.parametrize("text", ["[]", "1", "null", '"x"', "[" * 100_000], ids=range(5))
def test_a_summary_that_is_no_object_is_written_anew(mixed: RunFolder, text: str) -> None:
    told = report(mixed, accept=NOBODY)
    (mixed.path / "summary.json").write_text(text)
    assert last_report(mixed, accept=NOBODY) == told == kept(mixed)


@pytest.mark.parametrize(
    "spoil", ["summary gone", "summary broken", "report gone", "manifest gone", "state", "outcomes"]
)
def test_what_is_missing_or_behind_is_written_anew(mixed: RunFolder, spoil: str) -> None:
    told = report(mixed, accept=NOBODY)
    table, summary = mixed.path / "report.csv", mixed.path / "summary.json"
    match spoil:
        case "summary gone":
            summary.unlink()
        case "summary broken":
            summary.write_text("{")
        case "report gone":
            table.unlink()
        case "manifest gone":
            (mixed.path / "manifest.json").unlink()
        case "state":
            summary.write_text(json.dumps(told | {"state": "halted"}))
        case _:
            tamper(mixed, "UPDATE outcomes SET outcome = 'refused' WHERE row = 2")
            table.write_text("of old\n")
    again = last_report(mixed, accept=NOBODY)
    assert again == kept(mixed)
    assert again["state"] == "finished"
    assert verify_manifest(mixed.path) == []
    assert table.read_text().splitlines()[2].split(",")[3] == (
        "refused" if spoil == "outcomes" else "not_found"
    )


def test_a_disk_that_is_full_at_the_manifest_leaves_none_that_is_old(
    mixed: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(mixed, accept=NOBODY)
    tamper(mixed, "UPDATE outcomes SET outcome = 'refused' WHERE row = 2")
    with monkeypatch.context() as full:
        full.setattr(manifest, "write_bytes", _no_room)
        with pytest.raises(ReportError, match="no room"):
            last_report(mixed, accept=NOBODY)
    assert not (mixed.path / "manifest.json").exists()
    last_report(mixed, accept=NOBODY)
    assert verify_manifest(mixed.path) == []


def _no_room(_path: Path, _content: bytes) -> NoReturn:
    raise ReportError("no room")


def test_a_run_that_was_moved_names_its_new_place(mixed: RunFolder) -> None:
    told = report(mixed, accept=NOBODY)
    moved = RunFolder(mixed.path.rename(mixed.path.with_name("elsewhere")))
    places = {"run_dir": str(moved.path), "report": str(moved.path / "report.csv")}
    assert last_report(moved, accept=NOBODY) == told | places


def test_reports_are_not_written_under_another_process(mixed: RunFolder) -> None:
    with mixed.lock(), pytest.raises(RunBusyError, match=r"Run run-1 is being worked on by process \d+"):
        last_report(mixed, accept=NOBODY)
    assert not (mixed.path / "report.csv").exists()
