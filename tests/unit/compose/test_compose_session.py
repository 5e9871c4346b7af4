"""How a session ends that never came to its end: `status` says why, and not that it was killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from unit.ledger.ledger_staging import BINDING, plan

from worker.compose import assembly
from worker.compose.monitor import Monitor
from worker.compose.options import steering
from worker.compose.session import SessionRequest, run_session
from worker.connection import ApiKey, Tenant
from worker.errors import ConfigurationError, LedgerError
from worker.ledger import RunFolder, facts
from worker.model import RunState
from worker.pacing import parse_rate

Present = Callable[[Monitor], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def _locks_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_UNVERIFY_LOCK_DIR", str(tmp_path))


async def _nobody(_: Monitor) -> None:
    """Show nothing."""


def _request(folder: RunFolder, present: Present = _nobody, **settings: object) -> SessionRequest:
    return SessionRequest(
        folder=folder,
        tenant=Tenant.parse(BINDING.tenant),
        key=ApiKey("a-key"),
        steering=steering(rate=parse_rate("1000/s"), **settings),
        retake=frozenset(),
        present=present,
        say=lambda _: None,
    )


def _log(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.log.read_text().splitlines()]


async def test_a_setting_that_turns_out_wrong_is_the_reason_of_a_halt(tmp_path: Path) -> None:
    folder = plan(tmp_path, 3)
    with pytest.raises(ConfigurationError) as caught:
        await run_session(_request(folder, ca_bundle=tmp_path / "nowhere.pem"))
    known = facts(folder)
    assert (known.state, known.halt_reason) == (RunState.HALTED, str(caught.value))
    assert known.calls == 0
    assert _log(folder)[-1]["event"] == "session_broke"


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ValueError("alice@example.com"), RunState.HALTED, "a defect of bulk-unverify (ValueError)"),
        (asyncio.CancelledError(), RunState.INTERRUPTED, "interrupted"),
        (LedgerError("full."), RunState.HALTED, "full."),
    ],
)
async def test_whatever_ends_a_session_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, state: RunState, reason: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(assembly, "AiohttpTransport", broken)
    folder = plan(tmp_path, 3)
    with pytest.raises(type(error)):
        await run_session(_request(folder))
    known = facts(folder)
    assert (known.state, known.halt_reason) == (state, reason)


async def test_a_presenter_that_breaks_is_a_line_of_the_log_and_ends_nothing(tmp_path: Path) -> None:
    async def broken(_: Monitor) -> None:
        raise ValueError("no such colour")

    folder = plan(tmp_path, 0)
    summary = await run_session(_request(folder, broken))
    assert (summary["state"], summary["exit_code"]) == ("finished", 0)
    assert (folder.path / "report.csv").is_file()
    [line] = [line for line in _log(folder) if line["event"] == "not_shown_any_more"]
    assert "no such colour" in line["exception"]
