"""`retry RUN --only X` sends X alone; `retry RUN` sends nothing while rows are pending."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from fault.conftest import wait_until

pytestmark = pytest.mark.fault


def stopped(desk: Any, how: str) -> str:
    """Leave some exhausted rows and some pending ones behind; return the run's name."""
    desk.batch(100)
    desk.tenant.trouble(server_error=0.5)
    words = [
        "run",
        "batch.csv",
        "--yes",
        "--json",
        "--attempts",
        "1",
        "--max-failures",
        "100%",
        "--rate",
        "20/s",
    ]
    process = desk.popen(*words, *(["--deadline", "5s"] if how == "halted" else []))
    if how == "cancelled":
        wait_until(lambda: desk.tenant.record()["named"] >= 40)
        assert desk.call("cancel", desk.run_folder.name).code == 0
    process.communicate(timeout=60)
    desk.tenant.trouble()
    return str(desk.run_folder.name)


@pytest.mark.parametrize(("how", "code"), [("cancelled", 130), ("halted", 3)])
def test_only_what_is_named_is_sent_and_the_rest_stays_pending(desk: Any, how: str, code: int) -> None:
    """What was stopped on purpose was called as well."""
    name = stopped(desk, how)
    before = desk.call("status", name, "--json").summary["outcomes"]
    assert before["pending"] > 0
    assert before["exhausted"] > 0
    ran = desk.call("retry", name, "--only", "exhausted", "--yes", "--rate", "500/s")
    assert ran.code == code, ran
    assert desk.tenant.record()["named"] == before["exhausted"]
    assert f"To call    {before['exhausted']:,} rows" in ran.err
    assert f"{before['pending']} rows were pending before this retry and stay so" in ran.out + ran.err
    after = desk.call("status", name, "--json").summary["outcomes"]
    assert after == before | {"exhausted": 0, "succeeded": before["succeeded"] + before["exhausted"]}
    refused = desk.call("retry", name, "--yes")
    assert refused.code == 2, refused
    [command] = re.findall(r"pending: `bulk-unverify ([^`]+)` first", refused.err)
    assert desk.call(*shlex.split(command), "--yes", "--rate", "500/s").code == 0
    assert desk.tenant.record()["named"] == before["exhausted"] + before["pending"]


def test_a_retry_that_was_killed_goes_on_with_its_own_rows_alone(desk: Any) -> None:
    name = stopped(desk, "cancelled")
    before = desk.call("status", name, "--json").summary["outcomes"]
    process = desk.popen("retry", name, "--only", "exhausted", "--yes", "--rate", "1/s", "--concurrency", "1")
    wait_until(lambda: desk.tenant.record()["named"] >= 2)
    process.kill()
    process.communicate()
    ran = desk.call("retry", name, "--only", "exhausted", "--yes", "--rate", "500/s")
    assert ran.code == 3, ran
    after = desk.call("status", name, "--json").summary["outcomes"]
    assert (after["pending"], after["exhausted"]) == (before["pending"], 0)
    assert desk.tenant.record()["named"] <= before["exhausted"] + 1
    nothing = desk.call("retry", name, "--only", "exhausted", "--yes")
    assert "nothing is sent" in nothing.err


def test_only_of_what_no_row_has_sends_nothing(desk: Any) -> None:
    name = stopped(desk, "halted")
    assert desk.call("retry", name, "--only", "refused", "--yes").code == 3
    assert desk.tenant.record()["named"] == 0
