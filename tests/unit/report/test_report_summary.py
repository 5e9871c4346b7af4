"""The summary's keys, the exit code and the advice, from facts alone."""

import dataclasses
from pathlib import Path

import pytest

from worker.causes import Cause
from worker.model import Outcome, RunState
from worker.report.advice import lines, next_steps
from worker.report.summary import exit_code, reconciliation, summary
from worker.reportable import RunFacts

NOBODY = dict.fromkeys(Outcome, 0)
FACTS = RunFacts(
    "r-1", RunState.FINISHED, "unverify-email", "acme.example", "", "ops@host", "in.csv", "ab",
    ("user_id", "identifier_id"), 0.0, 3, NOBODY | {Outcome.SUCCEEDED: 2, Outcome.NOT_FOUND: 1}, 3,
    0, 1.0, "", (), {},
)  # fmt: skip


def test_summary_has_the_contracts_keys() -> None:
    told = summary(
        FACTS,
        run_dir=Path("runs/r-1"),
        exit_code=1,
        rate_per_s=25.0,
        report=Path("runs/r-1/report.csv"),
        causes=(Cause(1, 404, "http_404", "No such user", 1),),
    )
    keys = {
        "run_id", "run_dir", "state", "rows", "outcomes", "calls", "retries", "rate_per_s",
        "elapsed_s", "report",
        "halt_reason", "outage", "causes", "exit_code",
    }  # fmt: skip
    assert keys <= set(told)
    assert set(told["outcomes"]) == {outcome.value for outcome in Outcome}
    assert told["complete"] is True
    assert told["causes"] == [
        {
            "rows": 1,
            "http_status": 404,
            "error_code": "http_404",
            "error_message": "No such user",
            "alike": 1,
        }
    ]


@pytest.mark.parametrize(
    ("state", "outcomes", "accept", "code"),
    [
        (RunState.FINISHED, {Outcome.SUCCEEDED: 1, Outcome.DUPLICATE: 1, Outcome.EXCLUDED: 1}, (), 0),
        (RunState.FINISHED, {Outcome.SUCCEEDED: 2, Outcome.NOT_FOUND: 1}, (), 1),
        (RunState.FINISHED, {Outcome.SUCCEEDED: 2, Outcome.NOT_FOUND: 1}, (Outcome.NOT_FOUND,), 0),
        (RunState.FINISHED, {Outcome.SUCCEEDED: 2, Outcome.INVALID: 1}, (Outcome.NOT_FOUND,), 1),
        (RunState.FINISHED, {Outcome.SUCCEEDED: 2}, (), 1),
        (RunState.FINISHED, {Outcome.SUCCEEDED: 2, Outcome.PENDING: 1}, (Outcome.PENDING,), 1),
        (RunState.HALTED, {Outcome.SUCCEEDED: 3}, (), 3),
        (RunState.RUNNING, {Outcome.PENDING: 3}, (), 3),
        (RunState.INTERRUPTED, {Outcome.PENDING: 3}, (), 130),
        (RunState.CANCELLED, {Outcome.PENDING: 3}, (), 130),
    ],
)
def test_exit_code(
    state: RunState, outcomes: dict[Outcome, int], accept: tuple[Outcome, ...], code: int
) -> None:
    facts = dataclasses.replace(FACTS, state=state, outcomes=NOBODY | outcomes)
    assert exit_code(facts, frozenset(accept)) == code


def test_rows_of_nothing_are_complete() -> None:
    facts = dataclasses.replace(FACTS, rows=0, outcomes=NOBODY)
    assert exit_code(facts) == 0
    assert reconciliation(0, NOBODY).startswith("Complete")


def test_advice_names_commands_that_can_be_pasted() -> None:
    halted = dataclasses.replace(FACTS, state=RunState.HALTED, halt_reason="401\nkey", run_id="a b")
    assert next_steps(halted, Path("my runs/a b"))[0].command == "bulk-unverify run 'a b' --runs 'my runs'"
    assert "Halted: 401 key" in lines(halted, Path("runs/a b"))
    refused = dataclasses.replace(FACTS, outcomes={Outcome.REFUSED: 2, Outcome.INVALID: 1})
    commands = [step.command for step in next_steps(refused, Path("runs/r-1"))]
    assert commands == ["bulk-unverify retry r-1", "bulk-unverify run runs/r-1/invalid.csv"]


def test_a_failed_file_is_fed_back_as_what_it_was(tmp_path: Path) -> None:
    """The same operation on the same columns, beside the run that it came from."""
    selection = {"user_column": "who am", "identifier_column": "what", "header": "True", "delimiter": ";"}
    verifying = dataclasses.replace(
        FACTS, outcomes={Outcome.INVALID: 1}, operation="verify-email", selection=selection
    )
    [step] = next_steps(verifying, Path("night/r-1"))
    assert step.command == (
        "bulk-unverify run night/r-1/invalid.csv --operation verify-email --user-column 'who am'"
        " --identifier-column what --runs night"
    )


def test_invalid_rows_go_with_the_runs_protected_lists_and_reason() -> None:
    facts = dataclasses.replace(
        FACTS, outcomes={Outcome.INVALID: 1}, lists=("/p/a b.csv", "/p/c.csv"), reason="INC 1", selection={}
    )
    [step] = next_steps(facts, Path("runs/r-1"))
    assert step.command == (
        "bulk-unverify plan runs/r-1/invalid.csv --exclude '/p/a b.csv' && bulk-unverify run runs/r-1/invalid.csv"
        " --exclude /p/c.csv --reason 'INC 1'"
    )


def test_a_failed_file_of_a_batch_without_header_has_one(tmp_path: Path) -> None:
    numbered = {"user_column": "2", "identifier_column": "1", "header": "False"}
    facts = dataclasses.replace(FACTS, outcomes={Outcome.INVALID: 1}, selection=numbered)
    [step] = next_steps(facts, Path("runs/r-1"))
    assert step.command == "bulk-unverify run runs/r-1/invalid.csv"


def test_only_a_halt_is_called_one() -> None:
    interrupted = dataclasses.replace(FACTS, state=RunState.INTERRUPTED, halt_reason="interrupted by SIGINT")
    assert "Stopped: interrupted by SIGINT" in lines(interrupted, Path("runs/r-1"))
