"""Which run is meant is never guessed, what exits 2 has no effect, and nothing dangerous ends green."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from unit.ledger.ledger_staging import tamper

from worker.ledger import RunFolder, tenant_lock

pytestmark = pytest.mark.fault

HEADER = "user_id,identifier_id\n"


def runs(desk: Any) -> list[RunFolder]:
    return RunFolder.all(desk.folder / "runs")


def begun(desk: Any, *flags: str) -> RunFolder:
    """Begin a run of the batch that is halted before it is done, and return it."""
    before = set(runs(desk))
    ran = desk.call("run", "batch.csv", "--yes", "--rate", "1/s", "--deadline", "100ms", *flags)
    assert ran.code == 3, ran
    [folder] = set(runs(desk)) - before
    return folder


def requests(desk: Any) -> int:
    count: int = desk.tenant.record()["named"]
    return count


@pytest.mark.parametrize("cause", ["no terminal", "lock", "key", "list"])
def test_an_again_that_exits_2_has_no_effect(desk: Any, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It left a plan that the next plain `run` took: each row was called a second time."""
    assert desk.run(20).code == 0
    words = ["run", "batch.csv", "--again", *([] if cause == "no terminal" else ["--yes"])]
    if cause == "key":
        desk.env["MONOCLOUD_MANAGEMENT_API_KEY"] = "not a key"
    if cause == "list":
        words += ["--exclude", "batch.csv"]
    monkeypatch.setenv("BULK_UNVERIFY_LOCK_DIR", str(desk.folder))
    if cause == "lock":
        with tenant_lock(desk.tenant.url.removeprefix("http://"), run_id="other", share=False):
            refused = desk.call(*words)
    else:
        refused = desk.call(*words)
    assert refused.code == 2, refused
    assert "resume with" not in refused.err, "there is nothing to resume"
    assert len(list((desk.folder / "runs").iterdir())) == 1
    assert desk.run(20).code == 0
    assert requests(desk) == 20


def test_an_again_whose_tenant_cannot_be_found_leaves_nothing(desk: Any) -> None:
    desk.batch(5)
    desk.env["MONOCLOUD_MANAGEMENT_DOMAIN"] = "nowhere.invalid"
    words = ["run", "batch.csv", "--yes", "--again"]
    refused = desk.call(*words)
    assert refused.code == 2, refused
    assert runs(desk) == []


def test_an_again_that_was_killed_while_it_asked_is_never_taken_for_the_run(desk: Any) -> None:
    assert desk.run(20).code == 0
    [first] = runs(desk)
    planned = desk.call("plan", "batch.csv", "--again", "--json").summary["run_id"]
    tamper(RunFolder(desk.folder / "runs" / planned), "INSERT INTO meta VALUES ('unconfirmed', 'yes')")
    again = desk.run(20)
    assert again.summary["run_id"] == first.run_id
    assert requests(desk) == 20
    assert desk.call("run", planned, "--yes").code == 0, "named, it is carried out"


def test_what_was_planned_to_be_looked_at_is_taken(desk: Any) -> None:
    assert desk.run(5).code == 0
    planned = desk.call("run", "batch.csv", "--again", "--dry-run", "--json").summary["run_id"]
    assert desk.run(5).summary["run_id"] == planned


def test_of_two_unfinished_runs_none_is_chosen_and_both_are_named(desk: Any) -> None:
    desk.batch(4)
    first, second = begun(desk), begun(desk, "--again")
    before = requests(desk)
    for words in (["run", "batch.csv", "--yes"], ["plan", "batch.csv"]):
        refused = desk.call(*words)
        assert refused.code == 2, refused
        assert "halted" in refused.err
    assert requests(desk) == before
    named = re.findall(r"`bulk-unverify ([^`]+)`", refused.err)
    assert sorted(named) == sorted(f"run {folder.run_id}" for folder in (first, second))
    for command in named:
        assert desk.call(*shlex.split(command), "--yes", "--rate", "100/s").code == 0


def test_the_unfinished_run_is_resumed_whatever_the_clock_named_the_finished_one(desk: Any) -> None:
    """With the clock set back two hours it took the older, finished one, and said that nothing is sent."""
    assert desk.run(4).code == 0
    [finished] = runs(desk)
    finished.path.rename(finished.path.with_name("20991231-235959-batch-ffff"))
    unfinished = begun(desk, "--again")
    resumed = desk.run(4)
    assert (resumed.code, resumed.summary["run_id"]) == (0, unfinished.run_id)
    last = desk.run(4)
    assert f"Run {unfinished.run_id} of this input is finished" in last.err, "the newest by the ledger"


def test_an_unfinished_run_that_was_read_otherwise_is_not_passed_over(desk: Any) -> None:
    assert desk.run(4).code == 0
    other = begun(desk, "--again", "--max-rows", "10")
    refused = desk.run(4)
    assert refused.code == 2
    assert other.run_id in refused.err


def test_one_tenant_under_two_names_has_one_run(desk: Any) -> None:
    desk.batch(4)
    folder = begun(desk)
    desk.env["MONOCLOUD_MANAGEMENT_DOMAIN"] = desk.tenant.url.replace("127.0.0.1", "LocalHost")
    assert desk.run(4).summary["run_id"] == folder.run_id


@pytest.mark.parametrize(
    ("content", "flags", "said"),
    [
        ("", [], "0 rows, so that 0 are to be called"),
        ("u1,\n,i2\n", [], "2 rows (2 invalid)"),
        ("u1,i1\nu2,i2\n", ["--exclude", "all.txt"], "2 rows (2 excluded)"),
        ("u1,i1\nu2,i2\nu2,i2\n", ["--min-rows", "3"], "3 rows (1 duplicate), so that 2 are to be called"),
    ],
)
def test_a_run_of_too_few_rows_is_no_success_and_leaves_nothing(
    desk: Any, content: str, flags: list[str], said: str
) -> None:
    (desk.folder / "batch.csv").write_text(HEADER + content)
    (desk.folder / "all.txt").write_text("u1\nu2\n")
    refused = desk.call("run", "batch.csv", "--yes", *flags)
    assert refused.code == 2, refused
    assert said in refused.err
    assert runs(desk) == []
    planned = desk.call("plan", "batch.csv", *flags)
    assert planned.code == 0
    assert "`run` refuses this" in planned.err
    assert "Carry out" not in planned.err, "that command would be refused"
    assert desk.call("run", "batch.csv", "--yes", *flags).code == 2
    (desk.folder / "batch.csv").write_text(HEADER + "user,mail\n")
    assert requests(desk) == 0


def test_the_advice_on_too_few_rows_makes_a_nights_empty_list_a_success(desk: Any) -> None:
    (desk.folder / "batch.csv").write_text(HEADER)
    refused = desk.call("run", "batch.csv", "--yes")
    [advice] = re.findall(r"give (--min-rows \d+)", refused.err)
    assert desk.call("run", "batch.csv", "--yes", *advice.split()).code == 0


def test_a_broken_export_does_not_stand_in_the_way_of_the_next_nights(desk: Any) -> None:
    (desk.folder / "batch.csv").write_text(HEADER)
    assert desk.call("run", "batch.csv", "--yes").code == 2
    assert desk.run(4).code == 0


@pytest.mark.parametrize("how", ["itself", "link", "copy"])
def test_a_protected_list_that_is_the_input_is_refused(desk: Any, how: str) -> None:
    desk.batch(4)
    batch, named = desk.folder / "batch.csv", desk.folder / "batch.csv"
    if how == "link":
        (named := desk.folder / "link.csv").symlink_to(batch)
    if how == "copy":
        (named := desk.folder / "copy.csv").write_bytes(batch.read_bytes())
    for words in (["run", "batch.csv", "--yes", "--min-rows", "0"], ["plan", "batch.csv"]):
        refused = desk.call(*words, "--exclude", str(named))
        assert refused.code == 2, refused
        assert "is the input of this run as well as its protected list" in refused.err
        assert runs(desk) == []
    folder = begun(desk)
    refused = desk.call("run", folder.run_id, "--yes", "--exclude", str(named))
    assert refused.code == 2, refused
    assert desk.run(4).code == 0


def test_a_tenant_without_a_dot_plans_nothing(desk: Any, tmp_path: Path) -> None:
    desk.batch(4)
    refused = desk.call("plan", "batch.csv", "--tenant", "acme")
    assert refused.code == 2
    assert "acme.us.monocloud.com" in refused.err
    assert not (tmp_path / "runs").exists()
