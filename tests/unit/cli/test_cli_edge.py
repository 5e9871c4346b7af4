"""The outermost layer: a sentence and an exit code, whatever is raised inside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from worker.cli.edge import fail, guarded
from worker.errors import BulkUnverifyError, LedgerError, UsageError

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _signals_are_given_back() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


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


def test_a_sigterm_while_a_command_plans_or_reports_ends_it_like_control_c(capsys: Captured) -> None:
    def command() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            """Give the interpreter the moment it needs to deliver it."""
        pytest.fail("it went on")

    assert ended(guarded(command)) == 130
    assert capsys.readouterr().err == f"bulk-unverify: {INTERRUPTED}\n"


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
