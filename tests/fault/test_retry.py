"""`retry` says how many rows go again before it asks, and sends nothing when there are none."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

pytestmark = pytest.mark.fault


def test_it_tells_how_many_rows_go_again_before_it_asks(desk: Any) -> None:
    desk.tenant.trouble(conflict=0.3, accepted=0.3)
    first = desk.run(60, "--max-failures", "100%")
    again = first.outcomes["refused"] + first.outcomes["unconfirmed"]
    desk.tenant.trouble()
    asked = desk.call("retry", desk.run_folder.name)
    assert asked.code == 2
    assert desk.tenant.record()["named"] == 0
    assert f"To call    {again} rows; {first.outcomes['succeeded']} are done already" in asked.err
    counts = f"{first.outcomes['unconfirmed']} unconfirmed, {first.outcomes['refused']} refused"
    assert f"Again      {counts}\n" in asked.err
    only = desk.call("retry", desk.run_folder.name, "--only", "refused")
    assert f"To call    {first.outcomes['refused']} rows" in only.err
    sent = desk.call("retry", desk.run_folder.name, "--yes", "--json")
    assert (sent.code, sent.outcomes) == (0, {"succeeded": 60}), sent
    assert desk.tenant.record()["named"] == again


@pytest.mark.parametrize(("flags", "code"), [([], 1), (["--accept", "not_found"], 0)])
def test_with_no_row_to_send_again_it_says_so_and_ends_as_the_run_did(
    desk: Any, flags: list[str], code: int
) -> None:
    desk.tenant.trouble(not_found=0.3)
    assert desk.run(30, "--max-failures", "100%").code == 1
    desk.tenant.trouble()
    ran = desk.call("retry", desk.run_folder.name, "--json", *flags)
    assert (ran.code, ran.summary["exit_code"], ran.summary["state"]) == (code, code, "finished")
    assert "No row of run" in ran.err
    assert desk.tenant.record()["named"] == 0
    named = re.search(r"`bulk-unverify (retry .* --only not_found.*)`", ran.err)
    assert named is not None
    again = desk.call(*shlex.split(named[1]), "--yes", "--json")
    assert (again.code, again.outcomes) == (0, {"succeeded": 30}), again.err
    assert len(list((desk.run_folder / "..").resolve().glob("2*"))) == 1


def test_a_run_that_never_ran_has_nothing_to_send_again(desk: Any) -> None:
    desk.call("plan", desk.batch(30))
    ran = desk.call("retry", desk.run_folder.name, "--yes")
    assert ran.code == 2
    assert f"bulk-unverify run {desk.run_folder.name}" in ran.err
    assert desk.tenant.record()["named"] == 0


def test_a_retry_that_was_halted_goes_on_by_the_command_that_it_names(desk: Any) -> None:
    desk.tenant.trouble(conflict=0.3)
    first = desk.run(60, "--max-failures", "100%")
    desk.tenant.trouble(key_revoked_after=0)
    halted = desk.call("retry", desk.run_folder.name, "--yes", "--json")
    assert (halted.code, halted.outcomes["pending"]) == (3, first.outcomes["refused"]), halted
    desk.tenant.trouble()
    refused = desk.call("retry", desk.run_folder.name, "--yes", "--json")
    assert (refused.code, desk.tenant.record()["named"]) == (2, 0), refused
    named = re.search(r"`bulk-unverify (run [^`]*)`", refused.err)
    assert named is not None, refused
    resumed = desk.call(*shlex.split(named[1]), "--yes", "--json")
    assert (resumed.code, resumed.outcomes) == (0, {"succeeded": 60}), resumed
