"""A file becomes one run, whoever else plans it at the same time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from worker.compose.planning import PlanRequest, plan_run
from worker.connection import Tenant
from worker.errors import UsageError
from worker.intake import InputOptions
from worker.ledger import PlanDraft, RunFolder


@pytest.fixture
def request_of(tmp_path: Path) -> PlanRequest:
    path = tmp_path / "batch.csv"
    path.write_text("user_id,identifier_id\nu1,i1\nu2,i2\n")
    return PlanRequest(
        input_path=path,
        input_options=InputOptions(),
        tenant=Tenant.parse("acme.example"),
        operation="unverify-email",
        runs_dir=tmp_path / "runs",
        again=False,
        exclude=None,
        reason="",
    )


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> list[PlanRequest]:
    """Return a list of what somebody else plans in the moment after the next draft is written."""
    waiting: list[PlanRequest] = []
    finish = PlanDraft.finish

    def meanwhile(draft: PlanDraft, **more: Any) -> None:
        finish(draft, **more)
        while waiting:
            plan_run(waiting.pop())

    monkeypatch.setattr(PlanDraft, "finish", meanwhile)
    return waiting


def test_the_run_that_somebody_else_made_meanwhile_is_taken(
    request_of: PlanRequest, others: list[PlanRequest]
) -> None:
    others.append(dataclasses.replace(request_of, reason="theirs"))
    folder = plan_run(request_of)
    assert folder.meta()["reason"] == "theirs"
    assert list(request_of.runs_dir.iterdir()) == [folder.path], "the draft is gone"


def test_one_that_reads_the_input_otherwise_is_refused(
    request_of: PlanRequest, others: list[PlanRequest]
) -> None:
    others.append(dataclasses.replace(request_of, input_options=InputOptions(max_rows=5)))
    with pytest.raises(UsageError, match="planned already"):
        plan_run(request_of)
    assert len(list(request_of.runs_dir.iterdir())) == 1


def test_who_asks_for_a_new_run_gets_one(request_of: PlanRequest, others: list[PlanRequest]) -> None:
    others.append(request_of)
    folder = plan_run(dataclasses.replace(request_of, again=True))
    assert len(RunFolder.all(request_of.runs_dir)) == 2
    assert folder.exists
