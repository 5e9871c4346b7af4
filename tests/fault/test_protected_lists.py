"""Protected lists that change between the plan and the call, as the tenant saw it (promise 11)."""

from __future__ import annotations

import csv
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from fault.conftest import wait_until

pytestmark = pytest.mark.fault


def _users(batch: str) -> list[str]:
    with Path(batch).open(newline="", encoding="utf-8") as lines:
        return [row["user_id"] for row in csv.DictReader(lines)]


def _called(desk: Any) -> set[str]:
    with urllib.request.urlopen(f"{desk.tenant.url}/_sandbox/pairs") as answer:
        return {json.loads(line)["user_id"] for line in answer}


def test_nobody_on_a_list_that_the_plan_or_a_later_plan_named_is_called(desk: Any) -> None:
    batch = desk.batch(30)
    users = _users(batch)
    first, second = desk.folder / "first.txt", desk.folder / "second.txt"
    first.write_text(f"{users[0]}\n")
    second.write_text(f"{users[1]}\n")
    run_id = desk.call("plan", batch, "--json", "--exclude", str(first)).summary["run_id"]
    assert desk.call("plan", batch, "--exclude", str(second)).code == 0
    first.write_text(f"{users[0]}\n{users[2]}\n")
    second.write_text(f"{users[3]}\n")
    ran = desk.call("run", run_id, "--yes", "--json", "--rate", "1000/s")
    assert (ran.code, ran.outcomes) == (0, {"succeeded": 26, "excluded": 4}), ran.err
    assert _called(desk) == set(users[4:])
    settings = json.loads((desk.run_folder / "run.log").read_text().splitlines()[0])
    assert settings["exclude"] == "first.txt, second.txt"


def test_a_remembered_list_is_watched_by_a_session_that_does_not_name_it(desk: Any) -> None:
    batch = desk.batch(60)
    users = _users(batch)
    path = desk.folder / "protected.txt"
    path.write_text("nobody\n")
    run_id = desk.call("plan", batch, "--json", "--exclude", str(path)).summary["run_id"]
    process = desk.popen("run", run_id, "--yes", "--json", "--rate", "2/s", "--concurrency", "1")
    wait_until(lambda: _called(desk))
    path.write_text(f"{users[-1]}\n")
    wait_until(lambda: "protected_list_read_again" in (desk.run_folder / "run.log").read_text())
    assert desk.call("rate", run_id, "500/s").code == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["outcomes"]["excluded"] == 1
    assert _called(desk) == set(users[:-1])


def test_a_remembered_list_that_is_gone_stops_the_run_until_another_is_named(desk: Any) -> None:
    batch = desk.batch(30)
    users = _users(batch)
    old, new = desk.folder / "old.txt", desk.folder / "new.txt"
    old.write_text(f"{users[0]}\n")
    run_id = desk.call("plan", batch, "--json", "--exclude", str(old)).summary["run_id"]
    old.rename(new)
    stopped = desk.call("run", run_id, "--yes", "--json")
    assert stopped.code == 2
    assert "--exclude FILE" in stopped.summary["error"]
    assert _called(desk) == set()
    ran = desk.call("run", run_id, "--yes", "--json", "--rate", "1000/s", "--exclude", str(new))
    assert (ran.code, ran.outcomes) == (0, {"succeeded": 29, "excluded": 1}), ran.err
    assert _called(desk) == set(users[1:])
