"""An input that is planned already: what may be said of it later, and what is refused because it would go twice."""

from __future__ import annotations

import contextlib
import json
import shlex
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from acceptance.command_line import GOOD, call, refused
from unit.ledger.ledger_staging import look, tamper

from worker.ledger import FileLock, RunFolder
from worker.report.manifest import verify_manifest

THREE = "user_id,identifier_id\nu1,i1\nu2,i2\nu3,i3\n"


def planned(folder: Path, *flags: str) -> dict[str, Any]:
    done = call(folder, "plan", "good.csv", "--json", *flags)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def runs(folder: Path) -> list[RunFolder]:
    return RunFolder.all(folder / "runs")


def reason(folder: Path) -> str:
    return runs(folder)[0].meta()["reason"]


@pytest.mark.parametrize(
    ("first", "second", "flag"),
    [
        ([], ["--delimiter", ";"], "--delimiter"),
        ([], ["--encoding", "cp1252"], "--encoding"),
        ([], ["--user-column", "2", "--identifier-column", "1"], "--user-column and --identifier-column"),
        (["--no-header"], [], "--no-header"),
        (["--max-rows", "5"], ["--max-rows", "6"], "--max-rows"),
    ],
)
def test_the_same_input_read_otherwise_is_no_second_run(
    tmp_path: Path, first: list[str], second: list[str], flag: str
) -> None:
    (tmp_path / "good.csv").write_text("u1,i1\nu2,i2\n" if "--no-header" in first else GOOD)
    run_id = planned(tmp_path, *first)["run_id"]
    refused(call(tmp_path, "plan", "good.csv", *second), run_id, f" {flag} otherwise", "--again")
    assert len(runs(tmp_path)) == 1


@pytest.mark.parametrize("flag", ["--yes", "--dry-run"])
def test_nor_is_it_when_it_is_run_unless_asked_for(tmp_path: Path, flag: str) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    run_id = planned(tmp_path)["run_id"]
    refused(call(tmp_path, "run", "good.csv", flag, "--max-rows", "5"), run_id, "--max-rows", "--again")
    assert len(runs(tmp_path)) == 1
    assert planned(tmp_path, "--again", "--max-rows", "5")["run_id"] != run_id
    assert planned(tmp_path)["run_id"] == run_id, "the newest that was read in the same way"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["--encoding", "latin1"], ["--encoding", "ISO-8859-1"]),
        (["--delimiter", "tab"], ["--delimiter", "\\t"]),
        (["--delimiter", "\\t"], ["--delimiter", "\t"]),
    ],
)
def test_what_means_the_same_is_the_same_run(tmp_path: Path, first: list[str], second: list[str]) -> None:
    content = "user_id\tidentifier_id\nu1\ti1\n" if "--delimiter" in first else GOOD
    (tmp_path / "good.csv").write_text(content)
    run_id = planned(tmp_path, *first)["run_id"]
    assert planned(tmp_path, *second)["run_id"] == run_id
    assert call(tmp_path, "run", run_id, "--dry-run", *second).returncode == 0


def test_a_selection_that_an_older_version_kept_as_it_was_typed_is_understood(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("user_id\tidentifier_id\nu1\ti1\n")
    flags = ["--delimiter", "tab", "--encoding", "latin1"]
    run_id = planned(tmp_path, *flags)["run_id"]
    old = json.dumps({"header": "True", "delimiter": "tab", "encoding": "latin1"})
    tamper(runs(tmp_path)[0], f"UPDATE meta SET value = '{old}' WHERE name = 'selection'")
    assert planned(tmp_path, *flags)["run_id"] == run_id
    refused(call(tmp_path, "plan", "good.csv"), run_id, "--delimiter and --encoding")


def test_plans_of_one_input_that_are_begun_at_once_are_one_run(tmp_path: Path) -> None:
    """Found by a reviewer: two shells, one file, and each of its rows called twice."""
    (tmp_path / "good.csv").write_text(GOOD + "".join(f"v{number},i\n" for number in range(100_000)))
    with ThreadPoolExecutor() as shells:
        told = list(shells.map(lambda _: planned(tmp_path), range(4)))
    [folder] = runs(tmp_path)
    assert [each["run_id"] for each in told] == [folder.run_id] * 4
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [folder.run_id], "no draft is left"


def test_a_run_that_was_made_meanwhile_in_another_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD + "".join(f"v{number},i\n" for number in range(5000)))
    flags: list[list[str]] = [["--max-rows", str(rows)] for rows in (6001, 6002, 6003)]
    with ThreadPoolExecutor() as shells:
        done = list(shells.map(lambda more: call(tmp_path, "plan", "good.csv", *more), flags))
    assert sorted(each.returncode for each in done) == [0, 2, 2]
    assert len(runs(tmp_path)) == 1


def test_another_operation_or_tenant_is_a_run_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    planned(tmp_path)
    planned(tmp_path, "--operation", "verify-email")
    planned(tmp_path, "--tenant", "http://127.0.0.1:10")
    assert len(runs(tmp_path)) == 3


def test_a_protected_list_that_is_named_later_counts(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(THREE)
    (tmp_path / "protected.txt").write_text("u1\ni3\n")
    first = planned(tmp_path)
    assert (first["outcomes"]["pending"], first["outcomes"]["excluded"]) == (3, 0)
    done = call(tmp_path, "plan", "good.csv", "--json", "--exclude", "protected.txt", "--dry-run")
    told = json.loads(done.stdout)
    assert told["run_id"] == first["run_id"]
    assert (told["outcomes"]["pending"], told["outcomes"]["excluded"]) == (1, 2)
    assert f"2 protected ids, which are not called ({tmp_path / 'protected.txt'})" in done.stderr
    assert "To call    1 rows" in done.stderr
    assert "users/u2/" in done.stderr
    assert "users/u1/" not in done.stderr
    [folder] = runs(tmp_path)
    assert look(folder, "SELECT id FROM protected ORDER BY id") == [("i3",), ("u1",)]
    assert folder.protected_lists() == (tmp_path / "protected.txt",)
    again = call(tmp_path, "plan", "good.csv", "--exclude", "protected.txt")
    assert "Added to run" not in again.stderr, "what is known already is not new"
    assert "To call    1 rows" in again.stderr


def test_a_list_that_grew_after_the_plan_is_read_again_without_being_named(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(THREE)
    (tmp_path / "protected.txt").write_text("u1\n")
    planned(tmp_path, "--exclude", "protected.txt")
    (tmp_path / "protected.txt").write_text("u2\n")
    outcomes = planned(tmp_path)["outcomes"]
    assert (outcomes["pending"], outcomes["excluded"]) == (1, 2), "u1 was protected once, and stays so"


@pytest.mark.parametrize(
    "command", [["run", "{run}", "--yes"], ["run", "good.csv", "--yes"], ["plan", "good.csv"]]
)
@pytest.mark.parametrize("content", [None, "", "two words\n"])
def test_a_list_that_cannot_be_read_again_stops_before_anything_is_sent(
    tmp_path: Path, command: list[str], content: str | None
) -> None:
    (tmp_path / "good.csv").write_text(THREE)
    path = tmp_path / "protected.txt"
    path.write_text("u1\n")
    run_id = planned(tmp_path, "--exclude", "protected.txt")["run_id"]
    path.unlink()
    if content is not None:
        path.write_text(content)
    words = [word.format(run=run_id) for word in command]
    refused(call(tmp_path, *words), str(path), "--exclude FILE")
    assert look(runs(tmp_path)[0], "SELECT * FROM sessions") == []


def test_a_list_that_is_gone_gives_way_to_one_that_is_named_and_its_ids_stay(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(THREE)
    (tmp_path / "old.txt").write_text("u1\n")
    (tmp_path / "new.txt").write_text("u2\n")
    planned(tmp_path, "--exclude", "old.txt")
    (tmp_path / "old.txt").unlink()
    done = call(tmp_path, "plan", "good.csv", "--exclude", "new.txt")
    assert done.returncode == 0, done.stderr
    assert f"No longer read: {tmp_path / 'old.txt'} does not exist" in done.stderr
    assert "To call    1 rows" in done.stderr
    assert runs(tmp_path)[0].protected_lists() == (tmp_path / "new.txt",)
    assert planned(tmp_path)["outcomes"]["excluded"] == 2


def test_every_list_that_was_ever_named_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(THREE)
    for name in ("first", "second"):
        (tmp_path / f"{name}.txt").write_text("nobody\n")
        planned(tmp_path, "--exclude", f"{name}.txt")
    (tmp_path / "first.txt").write_text("u1\n")
    (tmp_path / "second.txt").write_text("u2\n")
    assert planned(tmp_path)["outcomes"]["excluded"] == 2


def test_a_reason_that_is_given_later_is_kept_beside_the_first(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    planned(tmp_path)
    done = call(tmp_path, "plan", "good.csv", "--reason", "INC-1")
    assert "the reason 'INC-1'" in done.stderr
    assert reason(tmp_path) == "INC-1"
    for given in ("INC-2; urgent", "INC-1", "INC", "INC-2; urgent"):
        planned(tmp_path, "--reason", given)
    assert reason(tmp_path) == "INC-1; INC-2; urgent; INC"


def test_a_run_that_somebody_works_on_takes_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    planned(tmp_path)
    [folder] = runs(tmp_path)
    with FileLock(folder.path / "lock", note="", busy=""):
        refused(call(tmp_path, "plan", "good.csv", "--reason", "INC-1"), "is being worked on by process")
        planned(tmp_path)
    assert reason(tmp_path) == ""


def test_a_run_that_halted_takes_both_and_its_evidence_adds_up(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(THREE)
    (tmp_path / "protected.txt").write_text("u1\n")
    halted = call(tmp_path, "run", "good.csv", "--yes", "--deadline", "100ms", "--rate", "1/s")
    assert halted.returncode == 3, halted.stderr
    [folder] = runs(tmp_path)
    planned(tmp_path, "--reason", "INC-1", "--exclude", "protected.txt")
    assert verify_manifest(folder.path) == []
    assert json.loads((folder.path / "summary.json").read_text())["reason"] == "INC-1"


@pytest.mark.parametrize("flags", [["--reason", "INC-2"], ["--exclude", "protected.txt"]])
def test_a_finished_run_takes_nothing_and_says_what_does(tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "good.csv").write_text("user_id,identifier_id\n")
    (tmp_path / "protected.txt").write_text("u1\n")
    assert call(tmp_path, "run", "good.csv", "--yes", "--min-rows", "0").returncode == 0
    [folder] = runs(tmp_path)
    refused(call(tmp_path, "plan", "good.csv", *flags), flags[0], f"retry {folder.run_id}", "--again")
    assert verify_manifest(folder.path) == []
    assert "is finished" in call(tmp_path, "plan", "good.csv").stderr


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--rate", "100/m", "--reason", "INC 1; $(id)", "--exclude", "it's.txt"],
        [
            "--concurrency",
            "3",
            "--attempts",
            "2",
            "--row-time-limit",
            "1m",
            "--timeout",
            "2s",
            "--share-tenant",
        ],
        ["--max-failures", "5%", "--accept", "not_found", "--outage-patience", "1m", "--deadline", "1h"],
        ["--tenant", "http://127.0.0.1:10", "--runs", "my runs", "--yes"],
    ],
)
def test_a_plan_ends_with_the_command_that_carries_it_out(tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "good.csv").write_text(THREE)
    (tmp_path / "it's.txt").write_text("u1\n")
    done = call(tmp_path, "plan", "good.csv", "--json", "--rate", "25/s", *flags)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert done.stderr.splitlines()[-1] == f"Carry out  {told['run_command']}"
    name, verb, run_id, *rest = shlex.split(told["run_command"])
    assert (name, verb, run_id) == ("bulk-unverify", "run", told["run_id"])
    assert sorted(rest) == sorted(flags), "what is at its default is left out"
    assert call(tmp_path, verb, run_id, *rest, "--dry-run").returncode == 0


@pytest.mark.parametrize(
    "flags", [["--deadline", "soon"], ["--timeout", "1h"], ["--ca-bundle", "nowhere.pem"]]
)
def test_a_plan_refuses_what_the_run_would_refuse_and_leaves_nothing(
    tmp_path: Path, flags: list[str]
) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    refused(call(tmp_path, "plan", "good.csv", *flags))
    assert not (tmp_path / "runs").exists()


def test_a_plan_says_when_the_deadline_is_too_short_for_it(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(THREE)
    flags = ["--rate", "1/m", "--deadline"]
    assert (
        "takes 3m00s or longer, which the deadline" in call(tmp_path, "plan", "good.csv", *flags, "2m").stderr
    )
    assert "takes 3m00s or longer\n" in call(tmp_path, "plan", "good.csv", *flags, "4m").stderr


@pytest.mark.parametrize("spoil", ["garbage", "away", "locked"])
def test_a_run_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path, spoil: str) -> None:
    """Found by a reviewer: it was passed over in silence, and each of its rows called a second time."""
    (tmp_path / "good.csv").write_text(GOOD)
    run_id = planned(tmp_path)["run_id"]
    [folder] = runs(tmp_path)
    with contextlib.ExitStack() as held:
        match spoil:
            case "garbage":
                folder.ledger.write_bytes(b"no database" * 1000)
            case "away":
                folder.ledger.rename(folder.path / "ledger.sqlite.bak")
            case _:
                folder.rest()
                other = held.enter_context(contextlib.closing(sqlite3.connect(folder.ledger)))
                other.execute("BEGIN EXCLUSIVE")
        refused(call(tmp_path, "run", "good.csv", "--yes"), run_id, "--again")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run_id]
    assert planned(tmp_path, "--again")["run_id"] != run_id


def finish(folder: Path) -> str:
    """Carry out a run of nothing, and return its name."""
    (folder / "good.csv").write_text("user_id,identifier_id\n")
    assert call(folder, "run", "good.csv", "--yes", "--min-rows", "0").returncode == 0
    return runs(folder)[-1].run_id


def test_a_file_that_was_changed_since_its_plan_is_not_called_unseen(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    run_id = planned(tmp_path)["run_id"]
    (tmp_path / "good.csv").write_text(THREE)
    refused(call(tmp_path, "run", "good.csv", "--yes"), "other content", run_id, "plan the new", "--again")
    assert len(runs(tmp_path)) == 1
    newer = planned(tmp_path)["run_id"]
    dry = call(tmp_path, "run", "good.csv", "--dry-run")
    assert dry.returncode == 0
    assert newer in dry.stderr, "what was planned anew is what is run"


def test_a_file_that_was_changed_while_its_run_is_open_is_no_second_run(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    halted = call(tmp_path, "run", "good.csv", "--yes", "--deadline", "100ms", "--rate", "1/s")
    assert halted.returncode == 3, halted.stderr
    [folder] = runs(tmp_path)
    (tmp_path / "good.csv").write_text(THREE)
    for command in (["run", "good.csv", "--yes"], ["plan", "good.csv"]):
        done = call(tmp_path, *command)
        refused(done, "other content", f"`bulk-unverify run {folder.run_id}`", "--again")
        assert "plan the new" not in done.stderr, "that is refused, too"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "good.csv").write_text(THREE)
    other = call(tmp_path, "plan", "elsewhere/good.csv")
    assert other.returncode == 0, "another file that only has the same name, as every failed.csv has"
    assert planned(tmp_path)["rows"] == 3


def test_a_file_that_was_changed_after_its_run_was_finished_is_a_run_of_its_own(tmp_path: Path) -> None:
    run_id = finish(tmp_path)
    (tmp_path / "good.csv").write_text(THREE)
    done = call(tmp_path, "run", "good.csv", "--yes", "--deadline", "100ms", "--rate", "1/s", "--json")
    assert json.loads(done.stdout)["run_id"] != run_id
