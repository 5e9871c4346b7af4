"""A run that the workers of a queue carry out: planned here, recorded here, and the same report as a local one."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from brokers.fleet import ROWS, Fleet
from brokers.servers import RedisServer, free_port

from worker.model import Depth

OF_EACH_RUN = {"_started_at", "_finished_at", "_duration_ms", "_run_id"}


@pytest.fixture
def broker(redis_server: RedisServer) -> RedisServer:
    return redis_server


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, err = process.communicate(timeout=90)
    assert out.startswith("{"), err
    return process.returncode, json.loads(out), err


def report(summary: dict[str, Any], fleet: Fleet) -> list[dict[str, str]]:
    with (fleet.folder / summary["report"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: cell for name, cell in row.items() if name not in OF_EACH_RUN} for row in rows]


def all_done_once(fleet: Fleet, summary: dict[str, Any]) -> None:
    assert summary["complete"]
    assert summary["outcomes"]["succeeded"] == ROWS
    assert fleet.depth() == Depth(0, 0)


def only_run(fleet: Fleet) -> str:
    [folder] = (fleet.folder / "runs").iterdir()
    return folder.name


def leave_to_the_workers(fleet: Fleet, *, messages: int) -> None:
    """Begin to run the file, and interrupt that once so many messages are in the queue."""
    coordinator = fleet.via()
    fleet.wait_for_messages(messages)
    coordinator.send_signal(signal.SIGINT)
    assert ended(coordinator)[0] == 130


def test_it_ends_with_the_report_of_a_local_run(fleet: Fleet) -> None:
    fleet.file(ROWS, "--bad", "5", "--duplicates", "6", "--vanished", "7")
    fleet.work()
    fleet.work()
    code, summary, _ = ended(fleet.via())
    asked = fleet.calls()
    assert set(asked.values()) == {1}
    local_code, local, _ = ended(
        fleet.start("run", "batch.csv", "--again", "--yes", "--json", "--rate", "900/s")
    )
    assert (code, summary["outcomes"], summary["calls"]) == (local_code, local["outcomes"], local["calls"])
    assert report(summary, fleet) == report(local, fleet)
    assert summary["outcomes"] | {"invalid": 5, "duplicate": 6, "not_found": 7} == summary["outcomes"]
    assert fleet.depth() == Depth(0, 0)


def test_a_killed_coordinator_goes_on_where_it_was(fleet: Fleet) -> None:
    fleet.file()
    fleet.work("--rate", "50/s")
    for calls in (50, 170):
        coordinator = fleet.via()
        fleet.wait_for_calls(calls)
        coordinator.send_signal(signal.SIGKILL)
        coordinator.wait()
    code, summary, err = ended(fleet.via())
    assert code == 0, err
    all_done_once(fleet, summary)
    assert summary["sessions"] >= 2
    assert fleet.calls().total() == summary["calls"] == ROWS


def test_an_interrupted_coordinator_says_what_is_with_the_workers(fleet: Fleet) -> None:
    fleet.file()
    worker = fleet.work("--rate", "20/s")
    coordinator = fleet.via()
    fleet.wait_for_calls(20)
    coordinator.send_signal(signal.SIGINT)
    code, summary, err = ended(coordinator)
    assert (code, summary["state"]) == (130, "interrupted")
    assert "rows are with the workers" in err
    assert f"run {only_run(fleet)} --via queue" in fleet.call("status", only_run(fleet))[1]
    worker.terminate()
    fleet.work()
    code, summary, _ = ended(fleet.via())
    assert code == 0
    all_done_once(fleet, summary)
    assert fleet.calls().total() == ROWS


def test_workers_come_and_go(fleet: Fleet) -> None:
    fleet.file()
    coordinator = fleet.via()
    for number in range(3):
        worker = fleet.work("--rate", "100/s", "--concurrency", "8")
        fleet.wait_for_calls(60 * (number + 1))
        if number == 1:
            worker.send_signal(signal.SIGKILL)
        else:
            worker.terminate()
        worker.wait()
    fleet.work()
    code, summary, err = ended(coordinator)
    assert code == 0, err
    all_done_once(fleet, summary)
    again = [row for row in report(summary, fleet) if row["_resent"] == "yes"]
    assert fleet.calls().total() - ROWS <= len(again), "more was called twice than the report says"


def test_a_rolling_restart_makes_no_row_fail_and_calls_none_twice(fleet: Fleet) -> None:
    fleet.file()
    workers = [fleet.work("--rate", "20/s") for _ in range(3)]
    coordinator = fleet.via()
    for calls in (40, 90, 140):
        fleet.wait_for_calls(calls)
        old = workers.pop(0)
        old.terminate()
        assert old.wait(20) == 0
        workers.append(fleet.work("--rate", "20/s"))
    code, summary, err = ended(coordinator)
    assert code == 0, err
    all_done_once(fleet, summary)
    assert set(fleet.calls().values()) == {1}


@pytest.mark.kills_broker
def test_rows_that_the_broker_forgot_are_published_again(fleet: Fleet, redis_server: RedisServer) -> None:
    fleet.file()
    worker = fleet.work("--rate", "60/s")
    coordinator = fleet.via()
    fleet.wait_for_calls(60)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    redis_server.forget()
    fleet.work()
    code, summary, err = ended(coordinator)
    assert code == 0, err
    all_done_once(fleet, summary)
    rows = report(summary, fleet)
    assert {row["_resent"] for row in rows} == {"yes", ""}
    assert fleet.calls().total() - ROWS <= sum(row["_resent"] == "yes" for row in rows)


def test_rows_with_the_workers_are_not_called_from_here(fleet: Fleet) -> None:
    fleet.file()
    leave_to_the_workers(fleet, messages=10)
    run = only_run(fleet)
    code, _, err = fleet.call("run", run, "--yes", "--json")
    assert code == 2
    assert f" rows of run {run} are with the workers of" in err
    assert "--recall" in err
    other = fleet.url.replace("fleet-", "other-")
    code, _, err = fleet.call("run", run, "--via", other, "--yes")
    assert (code, "are with the workers of" in err) == (2, True)
    assert fleet.calls().total() == 0
    code, out, err = fleet.call("run", run, "--recall", "--yes", "--json", "--rate", "900/s")
    assert code == 0, err
    resent = [row["_row"] for row in report(json.loads(out), fleet) if row["_resent"] == "yes"]
    assert len(resent) >= 10


def test_workers_of_another_tenant_refuse_the_rows_and_the_run_halts(fleet: Fleet) -> None:
    fleet.file(20)
    fleet.work("--tenant", f"http://127.0.0.1:{free_port()}")
    code, summary, _ = ended(fleet.via())
    assert (code, summary["state"]) == (3, "halted")
    assert "dead letters" in summary["halt_reason"]
    assert fleet.calls().total() == 0
    letters = json.loads(fleet.call("dead-letters", "--json")[1])["dead_letters"]
    assert {"it is for the tenant" in letter["reason"] for letter in letters} == {True}


@pytest.mark.kills_broker
def test_who_came_onto_the_list_meanwhile_is_not_published_again(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    rows = fleet.file(30)
    protected = fleet.folder / "protected.txt"
    protected.write_text("nobody\n")
    coordinator = fleet.via("--exclude", str(protected))
    fleet.wait_for_messages(5)
    protected.write_text(f"nobody\n{rows[3][0]}\n")
    fleet.wait_for_log("protected_list_read_again")
    redis_server.forget()
    fleet.work()
    code, summary, err = ended(coordinator)
    assert (code, summary["outcomes"]["excluded"], summary["outcomes"]["succeeded"]) == (0, 1, 29), err
    assert rows[3] not in fleet.calls()


def test_rows_are_recalled_to_another_queue(fleet: Fleet) -> None:
    fleet.file(30)
    leave_to_the_workers(fleet, messages=5)
    fleet.url = fleet.env["BULK_UNVERIFY_QUEUE"] = fleet.url.replace("fleet-", "other-")
    fleet.work()
    code, summary, err = ended(fleet.via("--recall"))
    assert (code, summary["outcomes"]["succeeded"]) == (0, 30), err
    assert set(fleet.calls().values()) == {1}


def test_a_reason_of_several_lines_goes_along_on_one(fleet: Fleet) -> None:
    fleet.file(5)
    fleet.work()
    code, summary, err = ended(fleet.via("--reason", "INC-1\nsecond"))
    assert (code, summary["reason"]) == (0, "INC-1\nsecond"), err


def test_what_failed_goes_again(fleet: Fleet) -> None:
    fleet.tenant.trouble(server_error=0.25)
    fleet.file()
    worker = fleet.work("--attempts", "1", "--max-failures", "100%")
    code, summary, _ = ended(fleet.via("--max-failures", "100%"))
    done = sum((each["method"], each["status"]) == ("POST", 200) for each in fleet.tenant.requests())
    exhausted = summary["outcomes"]["exhausted"]
    assert (code, exhausted) == (1, ROWS - done)
    worker.terminate()
    worker.wait()
    fleet.tenant.trouble()
    fleet.work()
    flags = ["--via", "queue", "--yes", "--json", "--lease", "1s"]
    code, summary, _ = ended(fleet.start("retry", summary["run_id"], *flags))
    assert (code, summary["outcomes"]["succeeded"]) == (0, ROWS)
    assert fleet.calls().total() == exhausted


def test_a_wrong_run_is_stopped_by_the_coordinator(fleet: Fleet) -> None:
    fleet.file(ROWS, "--vanished", "150")
    fleet.work("--max-failures", "100%", "--rate", "100/s")
    code, summary, _ = ended(fleet.via("--max-failures", "10%"))
    assert (code, summary["state"]) == (3, "halted")
    assert "--max-failures" in summary["halt_reason"]
    assert summary["outcomes"]["not_found"] == 0, "the evidence goes back to pending"


def test_the_queues_password_is_nowhere(fleet: Fleet) -> None:
    fleet.file(20)
    fleet.env["BULK_UNVERIFY_QUEUE"] = "redis://:hunter22@127.0.0.1:1/0"
    code, _, err = fleet.call("run", "batch.csv", "--via", "queue", "--yes")
    assert code == 3
    assert "cannot be used" in err
    [run] = Path(fleet.folder / "runs").iterdir()
    assert f"resume with: bulk-unverify run {run.name} --via queue\n" in err
    code, _, refused = fleet.call("run", "batch.csv", "--via", "redis://:hunter22@127.0.0.1:1/0", "--yes")
    assert code == 2
    assert "give --via queue" in refused
    files = [path.read_bytes() for path in Path(fleet.folder / "runs").rglob("*") if path.is_file()]
    assert not any(b"hunter22" in content for content in [*files, err.encode(), refused.encode()])


def test_flags_of_the_workers_are_refused(fleet: Fleet) -> None:
    fleet.file(20)
    code, _, err = fleet.call("run", "batch.csv", "--via", "queue", "--yes", "--rate", "9/s")
    assert code == 2
    assert "--rate would change nothing" in err


def test_the_same_queue_in_another_database_is_another_queue(fleet: Fleet) -> None:
    fleet.file(30)
    leave_to_the_workers(fleet, messages=5)
    elsewhere = fleet.url.replace("/0?", "/1?")
    code, _, err = fleet.call("run", only_run(fleet), "--via", elsewhere, "--yes")
    assert (code, "are with the workers of" in err) == (2, True)


def test_the_rate_of_the_workers_is_not_to_be_had_from_the_coordinator(fleet: Fleet) -> None:
    fleet.file(20)
    fleet.via()
    fleet.wait_for_messages(3)
    code, _, err = fleet.call("rate", only_run(fleet), "5/s")
    assert (code, "at their own --rate" in err) == (2, True), err
