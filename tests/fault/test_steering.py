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


def test_a_paused_run_says_so_and_how_it_goes_on(desk: Any) -> None:
    """Seen by a newcomer: `running`, no row done for minutes, and advice to resume what is being worked on."""
    process = desk.popen("run", desk.batch(40), "--yes", "--json", "--rate", "4/s")
    wait_until(lambda: desk.tenant.record()["named"])
    run = desk.run_folder.name
    assert f"bulk-unverify pause {run}" in desk.call("status", run).out
    desk.call("pause", run)
    wait_until(lambda: "steered" in (desk.run_folder / "run.log").read_text())
    held = desk.call("status", run).out
    assert "No calls are made: pause (by " in held
    assert f"Let it go on: bulk-unverify continue {run}" in held
    assert "pause (by " in desk.call("status").out
    desk.call("continue", run)
    desk.call("rate", run, "500/s")
    wait_until(lambda: "continue" in (desk.run_folder / "run.log").read_text())
    assert "No calls are made" not in desk.call("status", run).out
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert "pause" not in desk.call("status", run).out


def test_who_resumes_without_the_tenants_name_is_told_it(desk: Any) -> None:
    """The rehearsal names the tenant by a flag, and the advice of the run's end is pasted as it stands."""
    run = desk.call("plan", desk.batch(3), "--json").summary["run_id"]
    del desk.env["MONOCLOUD_MANAGEMENT_DOMAIN"]
    refused = desk.call("run", run, "--yes")
    assert refused.code == 2
    told = refused.err.rpartition("`--tenant ")[2].partition("`")[0]
    assert desk.call("run", run, "--yes", "--tenant", told).code == 0
