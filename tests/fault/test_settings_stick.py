"""A resumed session is steered as the last one was, unless told otherwise, and says so."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fault.conftest import wait_until
from unit.ledger.ledger_staging import look

from worker.ledger import RunFolder, facts

pytestmark = pytest.mark.fault

SAID = {
    "rate": "7/s", "concurrency": "3", "attempts": "9", "row-time-limit": "1h30m15s", "timeout": "2s500ms",
    "max-failures": "5%", "accept": "not_found,refused", "outage-patience": "90s",
}  # fmt: skip


def begun(desk: Any, *flags: str) -> RunFolder:
    desk.batch(12)
    process = desk.popen("run", "batch.csv", "--yes", *flags)
    wait_until(lambda: desk.tenant.record()["named"] >= 2)
    process.terminate()
    process.communicate(timeout=60)
    return RunFolder(desk.run_folder)


def settings(folder: RunFolder) -> dict[str, str]:
    return facts(folder).sessions[-1].settings


def test_all_that_was_said_sticks_is_shown_and_can_be_reset(desk: Any) -> None:
    folder = begun(desk, *(word for name in SAID for word in (f"--{name}", SAID[name])))
    first = settings(folder)
    dry = desk.call("run", folder.run_id, "--dry-run")
    for name, value in SAID.items():
        assert f"Setting    {name} {value}, from session 1 (`--{name} " in dry.err.replace(
            "0.05", "5%"
        ).replace("1m30s", "90s")
    resets = [flag for found in re.findall(r"`(--[^`]+)` resets it", dry.err) for flag in found.split()]
    plain = desk.call("run", folder.run_id, "--dry-run", *resets)
    assert plain.code == 0, plain
    assert "Setting    " not in plain.err
    resumed = desk.call("run", folder.run_id, "--yes")
    assert resumed.code == 0, resumed
    assert settings(folder) == first


def test_what_is_said_now_counts_and_sticks_from_then_on(desk: Any) -> None:
    folder = begun(desk, "--rate", "5/s", "--max-failures", "5%")
    dry = desk.call("run", "batch.csv", "--dry-run", "--rate", "500/s")
    assert "Setting    rate 500/s, from --rate (`--rate 25/s` resets it)" in dry.err
    assert desk.call("run", "batch.csv", "--yes", "--rate", "25/s").code == 0
    assert (settings(folder)["rate"], settings(folder)["max_failures"]) == ("25/s", "0.05")


def test_a_rate_that_was_set_while_it_went_on_sticks(desk: Any) -> None:
    desk.batch(60)
    process = desk.popen("run", "batch.csv", "--yes", "--rate", "2/s")
    wait_until(lambda: desk.tenant.record()["named"] >= 1)
    folder = RunFolder(desk.run_folder)
    assert desk.call("rate", folder.run_id, "9/s").code == 0
    wait_until(lambda: look(folder, "SELECT * FROM commands"))
    wait_until(lambda: "rate_command" in settings(folder))
    process.kill()
    process.communicate()
    dry = desk.call("run", folder.run_id, "--dry-run")
    assert "Setting    rate 9/s, from the `rate` command in session 1 (`--rate 25/s` resets it)" in dry.err


def test_a_deadline_counts_afresh_until_it_was_reached(desk: Any) -> None:
    folder = begun(desk, "--rate", "2/s", "--deadline", "3s")
    halted = desk.call("run", folder.run_id, "--yes", "--json")
    assert "the deadline of 3.0s was reached" in halted.summary["halt_reason"]
    done = desk.call("run", folder.run_id, "--yes", "--json", "--rate", "100/s")
    assert done.code == 0, done


def test_outcomes_that_were_accepted_stay_so_when_a_finished_run_is_run_again(desk: Any) -> None:
    gone = "usergone1,6cec8047-6149-4d9b-8d99-91c83c22a9dc"
    (desk.folder / "batch.csv").write_text(f"user_id,identifier_id\n{gone}\n")
    assert desk.call("run", "batch.csv", "--yes", "--accept", "not_found").code == 0
    assert desk.call("run", "batch.csv", "--yes").code == 0
    assert desk.call("run", "batch.csv", "--yes", "--accept", "none").code == 1


def test_a_time_limit_of_the_environment_is_told_as_such(desk: Any) -> None:
    desk.batch(4)
    desk.env["MONOCLOUD_MANAGEMENT_TIMEOUT"] = "7500"
    dry = desk.call("run", "batch.csv", "--dry-run", "--json")
    assert (
        "Setting    timeout 7s500ms, from MONOCLOUD_MANAGEMENT_TIMEOUT (`--timeout 10s` resets it)" in dry.err
    )
    assert json.loads(dry.out)["exit_code"] == 0
