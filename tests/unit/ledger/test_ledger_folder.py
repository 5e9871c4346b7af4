from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.ledger.ledger_staging import BINDING, listed, plan, tamper

from worker.errors import LedgerError, RunBusyError, UsageError
from worker.ledger import RunFolder, facts
from worker.ledger.schema import connect


def test_a_run_is_opened_by_name_or_by_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plan(tmp_path, 2)
    assert RunFolder.open(tmp_path, "run-1") == folder
    assert RunFolder.open(Path("elsewhere"), str(folder.path)) == folder
    monkeypatch.chdir(folder.path)
    assert RunFolder.open(tmp_path, ".").run_id == "run-1"


def test_an_unknown_run_is_a_sentence_that_names_the_latest(tmp_path: Path) -> None:
    for number in range(7):
        plan(tmp_path, 1, run_id=f"run-{number}")
    with pytest.raises(UsageError, match=r"no run 'nope' in .*: run-2, run-3, run-4, run-5, run-6\.$"):
        RunFolder.open(tmp_path, "nope")


def test_without_any_run_it_says_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"latest there: none\.$"):
        RunFolder.open(tmp_path / "missing", "x")


def test_only_folders_with_a_ledger_are_runs(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    folder.path.with_name(".hidden").symlink_to(folder.path)
    assert RunFolder.all(tmp_path) == [folder]
    assert RunFolder.all(tmp_path / "missing") == []


def test_a_run_whose_ledger_was_taken_away_is_still_one(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    folder.ledger.unlink()
    assert RunFolder.all(tmp_path) == [folder]
    with pytest.raises(UsageError, match="not a run's folder"):
        RunFolder.open(tmp_path, "run-1").binding()


def test_a_run_that_this_user_may_not_look_into_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For root nothing is closed, so the system's answer is made up."""
    folder = plan(tmp_path, 1, run_id="20250101-120000-batch-ab12")
    (tmp_path / "lost+found").mkdir()

    def closed(_: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "exists", closed)
    monkeypatch.setattr(Path, "is_file", closed)
    assert RunFolder.all(tmp_path) == [folder]
    with pytest.raises(UsageError, match=r"Run 20250101.* cannot be read.*Permission denied"):
        list(RunFolder.bound(tmp_path))


def test_a_run_that_is_reached_through_a_link_is_owned_by_whoever_owns_it(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    link = RunFolder(tmp_path / "latest")
    link.path.symlink_to(folder.path)
    assert not link.owned
    with folder.lock():
        assert link.owned


def test_a_lock_outlives_its_file(tmp_path: Path) -> None:
    """Found by a reviewer: with the file deleted a second owner called the same rows, and broke the ledger."""
    folder = plan(tmp_path, 1)
    with folder.lock():
        (folder.path / "lock").unlink()
        assert folder.owned
        with pytest.raises(RunBusyError, match="another process"):
            folder.lock().__enter__()
        with pytest.raises(RunBusyError):
            folder.lock().__enter__()
    assert not folder.owned
    with folder.lock():
        assert folder.owned


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_folder_of_runs_that_may_not_be_looked_into_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """For root nothing is closed, so the system's answer is made up."""

    def closed(_: Path) -> Iterator[Path]:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(UsageError, match=f"cannot look into it: {os.strerror(number)}"):
        RunFolder.all(tmp_path)


def test_runs_come_newest_first_with_what_selected_their_rows(tmp_path: Path) -> None:
    older = plan(tmp_path, 1, run_id="20250101-a")
    other = dataclasses.replace(BINDING, selection={"rows": "2"}, tenant="other.example")
    newer = plan(tmp_path, 1, run_id="20250102-a", binding=other)
    assert list(RunFolder.bound(tmp_path)) == [(newer, other), (older, BINDING)]


def test_the_protected_lists_of_a_plan_are_remembered_whatever_their_names(tmp_path: Path) -> None:
    lists = [Path("/lists/a.txt"), Path(os.fsdecode(b"/lists/caf\xe9 \n.csv"))]
    read = [listed("u1", path=path) for path in lists]
    assert plan(tmp_path, 1, lists=read).protected_lists() == tuple(lists)


def test_a_ledger_from_before_lists_were_remembered_names_none(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    tamper(folder, "DELETE FROM meta WHERE name = 'protected_lists'")
    assert folder.protected_lists() == ()


def test_a_ledger_that_is_no_database_is_not_left_open(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database at all" * 300)
    with pytest.raises(LedgerError) as caught:
        connect(path, read_only=True)
    open_files = {os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()}
    assert str(path.resolve()) not in open_files, f"while {caught.value} is told, its connection is closed"


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 300], ids=["empty", "garbage"])
def test_a_ledger_that_cannot_be_read_is_no_missing_run_and_says_so_when_opened(
    tmp_path: Path, content: bytes
) -> None:
    good = plan(tmp_path, 1, run_id="run-1")
    broken = plan(tmp_path, 1, run_id="run-2")
    broken.ledger.write_bytes(content)
    with pytest.raises(UsageError, match=r"Run run-2 cannot be read.*--again"):
        list(RunFolder.bound(tmp_path))
    assert RunFolder.all(tmp_path) == [good, broken]
    for read in (
        broken.binding,
        broken.plan_summary,
        broken.meta,
        broken.protected_lists,
        lambda: facts(broken),
    ):
        with pytest.raises(LedgerError, match="run-2"):
            read()


@pytest.mark.parametrize("meta", ["selection", "first_invalid", "users", "rows", "header"])
@pytest.mark.parametrize("change", ["DELETE FROM meta", "UPDATE meta SET value = 'x{'"])
def test_a_fact_that_is_gone_or_nonsense_is_a_sentence(tmp_path: Path, meta: str, change: str) -> None:
    folder = plan(tmp_path, 1)
    tamper(folder, f"{change} WHERE name = '{meta}'")
    with pytest.raises(LedgerError, match="cannot be used"):
        (folder.binding(), folder.plan_summary(), facts(folder))


def test_warnings_that_are_nonsense_are_a_sentence(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    tamper(folder, "UPDATE meta SET value = 'x{' WHERE name = 'warnings'")
    for read in (folder.plan_summary, lambda: facts(folder)):
        with pytest.raises(LedgerError, match="cannot be used"):
            read()


def test_a_newer_ledger_is_refused_with_advice(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    tamper(folder, "PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="newer bulk-unverify"):
        folder.meta()


def test_a_folder_without_a_ledger_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run's folder"):
        RunFolder(tmp_path).meta()
