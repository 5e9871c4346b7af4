from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import NoReturn

import pytest
from unit.ledger.ledger_staging import plan

from worker.errors import RunBusyError, UsageError
from worker.ledger import FileLock, tenant_lock
from worker.ledger.locks import is_held

TENANT = "acme.example"


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_UNVERIFY_LOCK_DIR", str(tmp_path))


def test_a_second_owner_is_refused_by_run_and_process(tmp_path: Path) -> None:
    folder = plan(tmp_path, 1)
    with folder.lock(), pytest.raises(RunBusyError, match=rf"^Run run-1 .* by process {os.getpid()} of .*@"):
        folder.lock().__enter__()
    with folder.lock():
        assert folder.owned


def test_a_tenant_is_called_by_one_run_unless_both_share(tmp_path: Path) -> None:
    with tenant_lock(TENANT, run_id="first", share=False):
        for share in (False, True):
            with pytest.raises(RunBusyError, match=rf"calling {TENANT} .*\(run first\).*--share-tenant"):
                tenant_lock(TENANT, run_id="second", share=share).__enter__()
        with tenant_lock("other.example", run_id="third", share=False):
            pass
    with (
        tenant_lock(TENANT, run_id="a", share=True),
        tenant_lock(TENANT.upper(), run_id="b", share=True),
        pytest.raises(RunBusyError, match="run b"),
    ):
        tenant_lock(TENANT, run_id="c", share=False).__enter__()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("localhost:8090", "127.0.0.1:8090"),
        ("[::1]:8090", "LOCALHOST:8090"),
        ("[0:0::1]", "127.0.0.1"),
        ("acme.example", "Acme.Example."),
        ("acme.example:443", "acme.example"),
        ("[2001:db8:0::1]", "[2001:DB8::1]"),
    ],
)
def test_one_tenant_under_two_names_is_one_tenant(name: str, other: str) -> None:
    with (
        tenant_lock(name, run_id="first", share=False),
        pytest.raises(RunBusyError, match="run first"),
    ):
        tenant_lock(other, run_id="second", share=False).__enter__()


@pytest.mark.parametrize("other", ["127.0.0.1:8091", "acme.example:8443", "localhost.acme.example", "[::2]"])
def test_what_only_looks_alike_is_another_tenant(other: str) -> None:
    names = ["127.0.0.1:8090", "acme.example", "[2001:db8::1]"]
    with contextlib.ExitStack() as held:
        for name in [*names, other]:
            held.enter_context(tenant_lock(name, run_id="any", share=False))


def test_the_tenants_lock_is_open_to_other_users(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with tenant_lock(TENANT, run_id="first", share=False):
            (path,) = tmp_path.iterdir()
            assert path.stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


def test_asking_who_holds_it_disturbs_nobody(tmp_path: Path) -> None:
    """A probe takes the lock for a moment; the one who wants it tries again."""
    path = tmp_path / "lock"
    path.touch()
    probe = os.open(path, os.O_RDONLY)
    fcntl.flock(probe, fcntl.LOCK_SH)
    lock = FileLock(path, note="", busy="{holder}")
    real, asked = fcntl.flock, []

    def flock(descriptor: int, kind: int) -> None:
        if asked:
            real(probe, fcntl.LOCK_UN)
        asked.append(kind)
        real(descriptor, kind)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        with lock:
            assert len(asked) == 2
            os.close(probe)


def test_a_holder_that_has_not_signed_is_another_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path, note="", busy="{holder}"):
        path.write_bytes(b"")
        with pytest.raises(RunBusyError, match="another process"):
            FileLock(path, note="", busy="{holder}").__enter__()


def test_a_lock_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("missing/lock", "link"):
        with pytest.raises(UsageError, match="Cannot use the lock"):
            FileLock(tmp_path / name, note="", busy="").__enter__()
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("kind", ["circle", "pipe", "closed"])
def test_a_lock_that_cannot_be_looked_at_may_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """So nobody's draft is removed by mistake, and no pipe makes `status` wait for ever."""
    path = tmp_path / "lock"
    match kind:
        case "circle":
            path.symlink_to(path)
        case "pipe":
            os.mkfifo(path)
        case _:
            path.touch()
            monkeypatch.setattr(os, "open", _closed)
    assert is_held(path) == (kind != "pipe")


def _closed(*_: object) -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_without_any_folder_for_the_tenants_lock_it_says_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.delenv("BULK_UNVERIFY_LOCK_DIR", raising=False)
    monkeypatch.setattr("worker.ledger.locks._SYSTEM_LOCKS", Path("/nowhere"))
    monkeypatch.setattr("tempfile.gettempdir", none)
    with pytest.raises(UsageError, match="BULK_UNVERIFY_LOCK_DIR"):
        tenant_lock("acme.example", run_id="r", share=False)


def test_a_full_disk_keeps_nobody_from_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with FileLock(tmp_path / "lock", note="", busy=""):
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "missing")
