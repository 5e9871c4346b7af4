"""The outermost layer: a sentence and an exit code, whatever is raised inside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.cli.edge import fail, guarded
from worker.errors import BulkUnverifyError, LedgerError, UsageError

Captured = pytest.CaptureFixture[str]
SIGNALS = (signal.SIGINT, signal.SIGTERM)
HEEDED = (*SIGNALS, signal.SIGHUP)

_SIGNALLED = """
import os, sys
class Signalling:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            exec("os.kill(os.getpid(), {number})")
sys.meta_path.insert(0, Signalling())
sys.argv[1:] = ["plan", "missing.csv", "--tenant", "http://127.0.0.1:9"]
from worker.__main__ import main
main()
"""


@pytest.fixture(autouse=True)
def _signals_are_given_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in HEEDED}
    yield
    assert {number: signal.getsignal(number) for number in HEEDED} == before


def raising(error: BaseException) -> Callable[..., None]:
    def command(*, as_json: bool = False) -> None:
        raise error

    return guarded(command)


def ended(command: Callable[..., object], **flags: object) -> object:
    with pytest.raises(SystemExit) as caught:
        command(**flags)
    return caught.value.code


def test_a_command_keeps_its_name_its_arguments_and_its_result(capsys: Captured) -> None:
    def add(first: int, *, second: int) -> int:
        """Add."""
        return first + second

    wrapped = guarded(add)
    assert (wrapped.__name__, wrapped.__doc__) == ("add", "Add.")
    assert wrapped(2, second=3) == 5
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("no run."), 2), (BulkUnverifyError("wrong."), 2), (LedgerError("full."), 3)],
)
def test_an_expected_failure_is_its_sentence_and_its_code(
    capsys: Captured, error: BulkUnverifyError, code: int
) -> None:
    assert ended(raising(error)) == code
    assert capsys.readouterr() == ("", f"bulk-unverify: {error}\n")


def test_with_json_a_failure_is_also_an_object_on_standard_output(capsys: Captured) -> None:
    assert ended(raising(LedgerError('the disk is "full".')), as_json=True) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": 'the disk is "full".', "exit_code": 3}
    assert out.count("\n") == 1
    assert err == 'bulk-unverify: the disk is "full".\n'


INTERRUPTED = "Interrupted. What is on disk is complete; run the same command to resume."


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interruption_is_130_with_what_to_do(capsys: Captured, as_json: bool) -> None:
    assert ended(raising(KeyboardInterrupt()), as_json=as_json) == 130
    out, err = capsys.readouterr()
    assert err == f"bulk-unverify: {INTERRUPTED}\n"
    assert [json.loads(line) for line in out.splitlines()] == (
        [{"error": INTERRUPTED, "exit_code": 130}] if as_json else []
    )


@pytest.mark.parametrize("number", HEEDED)
def test_a_signal_while_a_command_plans_or_reports_ends_it_in_order(
    capsys: Captured, number: signal.Signals
) -> None:
    def command() -> None:
        os.kill(os.getpid(), number)
        for _ in range(1000):
            """Give the interpreter the moment it needs to deliver it."""
        pytest.fail("it went on")

    assert ended(guarded(command)) == 130
    assert capsys.readouterr().err == f"bulk-unverify: {INTERRUPTED}\n"


def signalled(folder: Path, module: str, number: int, *before: str) -> subprocess.CompletedProcess[str]:
    """Start the program as a module, which gets the signal when it imports `module`."""
    (folder / "staged.py").write_text(_SIGNALLED.format(module=module, number=int(number)))
    return subprocess.run(
        [*before, sys.executable, "-m", "staged"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", ["typer", "worker.cli.batch", "worker.compose.planning", "pydantic"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_program_starts_is_130_without_a_traceback(
    tmp_path: Path, module: str, number: int
) -> None:
    """At each of these imports, and inside of `exec`, where CPython takes a KeyboardInterrupt for its own end."""
    done = signalled(tmp_path, module, number)
    assert done.returncode == 130, done.stderr
    assert done.stderr in ("", f"bulk-unverify: {INTERRUPTED}\n")
    assert done.stdout == ""


def test_control_c_that_is_meant_for_somebody_else_stays_so(tmp_path: Path) -> None:
    """A shell starts what runs in the background of a script with SIGINT ignored."""
    ignoring = ("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")
    done = signalled(tmp_path, "worker.compose.planning", signal.SIGINT, *ignoring)
    assert done.returncode == 2, done.stderr
    assert "missing.csv" in done.stderr


def test_a_defect_is_told_by_kind_and_place_without_what_it_held(capsys: Captured) -> None:
    """A foreign error's text may hold an address or an id, and its traceback the key."""
    assert ended(raising(ValueError("alice@example.com"))) == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bulk-unverify: Internal error (ValueError at test_cli_edge.py:")
    assert err.endswith(
        "). This is a defect of bulk-unverify. What is on disk is complete: look at it with"
        " `bulk-unverify status`, and resume by running again.\n"
    )
    assert "alice" not in err
    assert "Traceback" not in err


def test_a_defect_names_the_folder_of_runs_that_was_given(capsys: Captured) -> None:
    def command(*, runs: Path) -> None:
        raise ValueError

    assert ended(guarded(command), runs=Path("other runs")) == 70
    assert "`bulk-unverify status --runs 'other runs'`" in capsys.readouterr().err


def test_a_defect_is_told_as_json_too(capsys: Captured) -> None:
    assert ended(raising(ValueError("x")), as_json=True) == 70
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["exit_code"] == 70
    assert err == f"bulk-unverify: {told['error']}\n"


@pytest.mark.parametrize("code", [0, 1, 3, 130])
def test_a_commands_own_exit_code_stands(capsys: Captured, code: int) -> None:
    assert ended(raising(SystemExit(code))) == code
    assert capsys.readouterr() == ("", "")


def test_a_failure_by_hand_is_the_same_sentence(capsys: Captured) -> None:
    assert ended(lambda: fail("no.", 2)) == 2
    assert capsys.readouterr() == ("", "bulk-unverify: no.\n")


def test_a_reader_that_went_away_is_141_without_a_word() -> None:
    """As `yes | head -1` ends; the interpreter's own complaint would be a 120."""
    program = (
        "from worker.cli.edge import guarded\n"
        "from worker.cli.show import say_json\n"
        "import sys\n"
        "def command():\n"
        "    sys.stdin.read()\n"
        "    say_json({'text': 'x' * 100})\n"
        "guarded(command)()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == ""
        assert process.wait(10) == 141
