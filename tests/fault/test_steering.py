"""Commands from another shell that are late, wrong or somebody else's: none may end or turn a run by mistake."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fault.conftest import wait_until

from worker.ledger import Command, post_command

pytestmark = pytest.mark.fault


def test_a_command_for_a_session_that_ended_does_not_turn_the_next_one(desk: Any) -> None:
    planned = desk.call("plan", desk.batch(30), "--json").summary
    inbox = desk.folder / planned["run_dir"] / "inbox"
    for name in ("pause", "cancel"):
        post_command(inbox, Command(name=name, operator="eve@desk"))
    ran = desk.run(30)
    assert ran.code == 0, ran
    assert ran.outcomes == {"succeeded": 30}
    assert "cancel (by eve@desk)" in ran.err
    assert not list(inbox.iterdir())


def test_a_rate_that_is_none_does_not_end_the_run(desk: Any) -> None:
    process = desk.popen("run", desk.batch(60), "--yes", "--json", "--rate", "2/s")
    wait_until(lambda: desk.tenant.record()["named"])
    post_command(desk.run_folder / "inbox", Command(name="rate", rate="fast"))
    wait_until(lambda: "not_steered" in (desk.run_folder / "run.log").read_text())
    post_command(desk.run_folder / "inbox", Command(name="rate", rate="500/s"))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)


def test_a_cool_down_outlives_the_session_that_was_asked_for_it(desk: Any) -> None:
    """Found by a reviewer: started again at once, a run hammered a tenant that had asked for a minute."""
    limit = {"requests": 5, "per_s": 3600, "kind": "fixed-window", "headers": ["retry-after-seconds"]}
    desk.tenant.trouble(limits=[limit])
    process = desk.popen("run", desk.batch(20), "--yes", "--json", "--rate", "1000/s")
    wait_until(lambda: desk.tenant.record()["throttled"])
    process.terminate()
    interrupted = json.loads(process.communicate(timeout=60)[0])
    before = desk.tenant.record()["named"]
    again = desk.run(20, "--deadline", "2s")
    assert again.code == 3, again
    assert desk.tenant.record()["named"] == before
    assert again.summary["calls"] == interrupted["calls"] == before
