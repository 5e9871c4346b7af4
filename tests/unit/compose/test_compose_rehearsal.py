"""The stage of `demo`: a real sandbox in a process of its own, told of in full, and gone afterwards."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from worker.compose.rehearsal import Stage, staged_sandbox
from worker.errors import ConfigurationError
from worker.sandbox.command import KEY_VARIABLE
from worker.sandbox.options import MADE_UP_KEY


def test_a_stage_has_a_tenant_its_key_and_a_batch_with_what_must_become_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    folder = tmp_path / "not" / "yet"
    with staged_sandbox(folder, 200) as stage:
        assert stage.domain.startswith("http://127.0.0.1:")
        assert stage.key == MADE_UP_KEY
        assert stage.batch == folder / "batch.csv"
        assert stage.expected == {"succeeded": 195, "not_found": 2, "invalid": 1, "duplicate": 2}
        assert sum(stage.expected.values()) == len(stage.batch.read_text().splitlines()) - 1
        assert stage.trouble == (
            "limit 250/s,kind=token-bucket,burst=50,headers=retry-after-seconds; server-error=3%, reset=1%"
        )
        assert stage.received() == 0
        assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(urllib.error.URLError):
        stage.received()


def test_a_rehearsal_that_breaks_leaves_no_sandbox_behind(tmp_path: Path) -> None:
    stages: list[Stage] = []

    def rehearse() -> None:
        with staged_sandbox(tmp_path, 100) as stage:
            stages.append(stage)
            raise RuntimeError("broke")

    with pytest.raises(RuntimeError, match="broke"):
        rehearse()
    with pytest.raises(urllib.error.URLError):
        stages[0].received()


def test_the_stage_is_asked_directly_whatever_proxy_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use
    with staged_sandbox(tmp_path, 100) as stage:
        assert stage.received() == 0


def test_a_key_of_the_environments_is_the_stages_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "another-key")
    with staged_sandbox(tmp_path, 100) as stage:
        assert stage.key == "another-key"


def test_a_batch_so_small_has_no_zeros_to_expect(tmp_path: Path) -> None:
    with staged_sandbox(tmp_path, 99) as stage:
        assert stage.expected == {"succeeded": 99}


def test_a_sandbox_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "batch.csv").mkdir()
    with pytest.raises(ConfigurationError) as caught, staged_sandbox(tmp_path, 100):
        pytest.fail("there is no stage")
    assert str(caught.value).startswith("The sandbox did not start: bulk-unverify: ")
    assert "Traceback" not in str(caught.value)
    assert "batch.csv" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    taken = tmp_path / "demo"
    taken.write_text("a file\n")
    with pytest.raises(ConfigurationError) as caught, staged_sandbox(taken, 100):
        pytest.fail("there is no stage")
    assert str(caught.value) == f"--folder {taken}: cannot make this folder: File exists."
