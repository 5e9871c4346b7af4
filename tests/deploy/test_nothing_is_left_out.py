"""The rule of tests/conftest.py holds: a session with a skipped test fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CONFTEST = Path(__file__).parents[1] / "conftest.py"

_LEFT_OUT = {
    "skip": "@pytest.mark.skip\ndef test_a(): pass",
    "skip inside": "def test_a(): pytest.skip('no')",
    "module skip": "pytest.skip('no', allow_module_level=True)",
    "xfail": "@pytest.mark.xfail\ndef test_a(): assert False",
    "xpass": "@pytest.mark.xfail\ndef test_a(): pass",
}


def _session(folder: Path, body: str, *flags: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(_CONFTEST, folder / "conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_staged.py").write_text(f"import pytest\ndef test_runs(): pass\n{body}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *flags, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )


@pytest.mark.parametrize("body", _LEFT_OUT.values(), ids=_LEFT_OUT.keys())
def test_a_test_that_is_left_out_fails_the_session(tmp_path: Path, body: str) -> None:
    ended = _session(tmp_path, body)
    assert ended.returncode == 1, ended.stdout
    assert "1 test(s) were skipped or expected to fail" in ended.stdout


def test_a_skip_in_a_worker_process_fails_the_session(tmp_path: Path) -> None:
    ended = _session(tmp_path, _LEFT_OUT["skip"], "-n", "2")
    assert ended.returncode == 1, ended.stdout


def test_a_session_in_which_everything_ran_passes(tmp_path: Path) -> None:
    ended = _session(tmp_path, "")
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout.splitlines()[-1]
