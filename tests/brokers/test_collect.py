"""Outcomes of a queue's workers become ledgers and reports, each row once, whoever keeps them."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from brokers.fleet import ROWS, Fleet
from brokers.outside import wait_until
from brokers.servers import RedisServer

from worker.model import Depth
from worker.ports import WorkQueue
from worker.queueing import Heading, ParsedRow, compose


@pytest.fixture
def broker(redis_server: RedisServer) -> RedisServer:
    return redis_server


def collect(fleet: Fleet) -> tuple[int, dict[str, Any]]:
    code, out, err = fleet.call("collect", "--json", "--lease", "1s")
    assert out.startswith("{"), err
    return code, json.loads(out)


def reported(fleet: Fleet, run: dict[str, Any]) -> list[dict[str, str]]:
    with (fleet.folder / run["report"]).open(newline="") as file:
        return list(csv.DictReader(file))


def every_row(fleet: Fleet, rows: list[tuple[str, str]], run: dict[str, Any]) -> None:
    """Ask of a report that it has each pair once, with its outcome and its name."""
    lines = reported(fleet, run)
    assert sorted((line["user_id"], line["identifier_id"]) for line in lines) == sorted(rows)
    assert {line["_outcome"] for line in lines} == {"succeeded"}
    assert sorted(int(line["number"]) for line in lines) == list(range(1, len(rows) + 1))


def publish(fleet: Fleet, *bodies: bytes) -> None:
    async def send(queue: WorkQueue) -> None:
        await queue.publish(list(bodies))

    asyncio.run(fleet.ask(send))


def one(user_id: str, identifier_id: str) -> bytes:
    return json.dumps({"user_id": user_id, "identifier_id": identifier_id}).encode()


def test_a_batch_becomes_a_run_with_its_report(fleet: Fleet) -> None:
    rows = fleet.batch()
    assert fleet.work("--until-empty").wait(60) == 0
    code, told = collect(fleet)
    [run] = told["runs"]
    assert (code, told["collected"], run["complete"], run["rows"]) == (0, ROWS, True, ROWS)
    every_row(fleet, rows, run)
    assert collect(fleet) == (0, {"collected": 0, "runs": [], "exit_code": 0})
    assert fleet.depth("results") == Depth(0, 0)


def test_a_part_of_a_batch_is_not_complete(fleet: Fleet) -> None:
    rows = fleet.batch()
    worker = fleet.work("--rate", "50/s")
    fleet.wait_for_calls(20)
    worker.terminate()
    worker.wait()
    code, told = collect(fleet)
    [run] = told["runs"]
    done = fleet.calls().total()
    assert (code, run["complete"], run["state"], run["outcomes"]["pending"]) == (
        3,
        False,
        "halted",
        ROWS - done,
    )
    assert "have not been collected yet" in run["halt_reason"]
    assert len(reported(fleet, run)) == told["collected"] == done
    assert fleet.work("--until-empty").wait(60) == 0
    code, told = collect(fleet)
    assert (code, told["collected"]) == (0, ROWS - done)
    every_row(fleet, rows, told["runs"][0])


def test_a_killed_collector_loses_and_repeats_nothing(fleet: Fleet) -> None:
    rows = fleet.batch()
    assert fleet.work("--until-empty", "--rate", "2000/s").wait(60) == 0
    collector = fleet.start("collect", "--follow", "--lease", "1s")
    fleet.wait_for_run()
    collector.send_signal(signal.SIGKILL)
    collector.wait()
    code, _ = collect(fleet)  # what the killed one had taken comes after its lease
    assert code == 0
    every_row(fleet, rows, fleet.collect_all(ROWS))


def test_rows_of_no_batch_are_in_one_run(fleet: Fleet) -> None:
    rows = fleet.file(20)
    publish(fleet, *(one(*pair) for pair in rows))
    assert fleet.work("--until-empty").wait(60) == 0
    code, told = collect(fleet)
    [run] = told["runs"]
    assert (code, told["collected"]) == (0, 20)
    lines = reported(fleet, run)
    assert sorted((line["user_id"], line["identifier_id"]) for line in lines) == sorted(rows)


def test_a_result_that_comes_twice_is_one_row(fleet: Fleet) -> None:
    fleet.batch(20)
    assert fleet.work("--until-empty").wait(60) == 0

    async def double(queue: WorkQueue) -> None:
        results = queue.results()
        taken = await results.receive(50, 5.0)
        await results.publish([delivery.body for delivery in taken] + [b"{nonsense"])
        await results.give_back(taken)

    asyncio.run(fleet.ask(double))
    code, out, err = fleet.call("collect", "--json", "--lease", "1s")
    assert (code, json.loads(out)["collected"]) == (0, 20)
    assert "20 outcomes were of rows that have one already" in err
    [letter] = json.loads(fleet.call("dead-letters", "--json")[1])["dead_letters"]
    assert (letter["body"], "tells no outcome" in letter["reason"]) == ("{nonsense", True)


def test_no_forged_result_stops_the_collecting_of_the_others(fleet: Fleet) -> None:
    fleet.batch(20)
    assert fleet.work("--until-empty").wait(60) == 0

    async def forge(queue: WorkQueue) -> None:
        results = queue.results()
        taken = await results.receive(50, 5.0)
        good = json.loads(taken[0].body)
        forged = [{"requests": 2**70}, {"requests": -5}, {"started_at": 1e300}, {"batch": "../../evil"}]
        forged += [{"outcome": "pending"}, {"index": 2**63}, {"batch": "a\0"}]
        await results.publish([json.dumps(good | each).encode() for each in forged])
        await results.give_back(taken)

    asyncio.run(fleet.ask(forge))
    code, told = collect(fleet)
    assert (code, told["collected"], told["runs"][0]["complete"]) == (0, 20, True)
    assert len(json.loads(fleet.call("dead-letters", "--json")[1])["dead_letters"]) == 7


def test_a_run_by_workers_that_keep_ledgers_gets_its_outcomes(fleet: Fleet) -> None:
    fleet.file(30)
    fleet.work("--results", "ledger")
    out, err = fleet.via().communicate(timeout=60)
    assert json.loads(out)["outcomes"]["succeeded"] == 30, err
    assert set(fleet.calls().values()) == {1}


def test_a_worker_whose_ledger_cannot_be_used_ends_with_a_sentence_and_gives_back(fleet: Fleet) -> None:
    [pair, other] = fleet.file(2)
    flags = ["--results", "ledger", "--lease", "1s"]
    worker = fleet.work(*flags)
    publish(fleet, one(*pair))
    wait_until(lambda: bool(fleet.calls()) and fleet.depth() == Depth(0, 0))
    [ledger] = fleet.folder.glob("runs/collected-*/ledger.sqlite")
    ledger.write_bytes(b"no database" * 1000)
    publish(fleet, one(*other))
    assert worker.wait(30) == 3
    for _ in range(6):  # as a supervisor does; five tries would be a dead letter
        code, _, err = fleet.call("work", *flags)
        assert (code, "Traceback" in err) == (3, False)
        assert "cannot be used" in err
        assert fleet.depth() == Depth(waiting=1, taken=0)
    assert fleet.calls()[other] == 1


def test_failed_rows_of_a_collected_run_go_again(fleet: Fleet) -> None:
    fleet.tenant.trouble(server_error=0.25)
    fleet.batch()
    assert fleet.work("--until-empty", "--attempts", "1", "--max-failures", "100%").wait(60) == 1
    code, told = collect(fleet)
    [run] = told["runs"]
    assert code == 1
    fleet.tenant.trouble()
    code, _, err = fleet.call("run", run["run_id"], "--yes")
    assert (code, "nothing to carry out here" in err) == (2, True)
    fleet.work()
    code, out, err = fleet.call("retry", run["run_id"], "--via", "queue", "--yes", "--json")
    assert code == 0, err
    assert json.loads(out)["outcomes"]["succeeded"] == ROWS
    assert fleet.calls().total() == run["outcomes"]["exhausted"]


def test_workers_keep_outcomes_in_ledgers_of_their_own(fleet: Fleet) -> None:
    rows = fleet.batch()
    flags = ["--until-empty", "--results", "ledger"]
    workers = [fleet.work(*flags) for _ in range(2)]
    for worker in workers:
        _, err = worker.communicate(timeout=60)
        assert worker.returncode == 0, err
    assert fleet.depth() == fleet.depth("results") == Depth(0, 0)
    every_row(fleet, rows, fleet.collect_all(0))


def test_a_killed_worker_does_not_call_again_what_its_ledger_knows(fleet: Fleet) -> None:
    rows = fleet.batch(rows_per_message=100)
    flags = ["--until-empty", "--results", "ledger", "--rate", "100/s", "--concurrency", "8"]
    for calls in (60, 140):
        victim = fleet.work(*flags)
        fleet.wait_for_calls(calls)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    _, err = (last := fleet.work(*flags)).communicate(timeout=60)
    assert last.returncode == 0, err
    every_row(fleet, rows, fleet.collect_all(0))
    again = fleet.calls().total() - ROWS
    assert 0 <= again <= 2 * (8 + 100 * 0.2), "more was called again than was in flight or not recorded"


def test_a_folder_that_cannot_be_written_to_ends_the_worker_and_loses_nothing(fleet: Fleet) -> None:
    rows = fleet.batch(20)
    Path(fleet.folder / "occupied").write_text("a file")
    code, _, err = fleet.call("work", "--results", "ledger", "--runs", "occupied", "--until-empty")
    assert (code, "Traceback" in err) == (2, False)
    assert "--runs occupied" in err
    assert fleet.work("--until-empty").wait(60) == 0
    code, told = collect(fleet)
    every_row(fleet, rows, told["runs"][0])


def test_a_batch_id_cannot_lead_out_of_the_folder_of_runs(fleet: Fleet) -> None:
    [pair] = fleet.file(1)
    row = ParsedRow(index=1, user_id=pair[0], identifier_id=pair[1])
    publish(fleet, compose([row], Heading("b", 1)).replace(b'"b"', b'"../../b"'))
    assert fleet.work("--until-empty").wait(60) == 1
    assert collect(fleet) == (0, {"collected": 0, "runs": [], "exit_code": 0})
    assert "batch_id" in fleet.call("dead-letters")[2]


def test_a_batch_that_is_undone_on_the_same_queue_is_called_again(fleet: Fleet) -> None:
    fleet.batch(20)
    assert fleet.work("--until-empty").wait(60) == 0
    fleet.tenant.trouble()
    assert fleet.call("enqueue", "batch.csv")[0] == 0
    assert fleet.work("--until-empty", "--operation", "verify-email").wait(60) == 0
    assert fleet.calls().total() == 20
    code, told = collect(fleet)
    done = {run["operation"]: (run["complete"], run["outcomes"]["succeeded"]) for run in told["runs"]}
    assert (code, done) == (0, {"unverify-email": (True, 20), "verify-email": (True, 20)})


def test_a_run_that_cannot_be_read_hides_no_report(fleet: Fleet) -> None:
    rows = fleet.batch(20)
    assert fleet.work("--until-empty").wait(60) == 0
    broken = fleet.folder / "runs" / "20250101-000000-older-0000"
    broken.mkdir(parents=True)
    (broken / "ledger.sqlite").write_bytes(b"no database" * 1000)
    code, out, err = fleet.call("collect", "--json")
    assert (code, f"Run {broken.name} is passed over" in err) == (0, True), err
    [run] = json.loads(out)["runs"]
    every_row(fleet, rows, run)
    (fleet.folder / run["report"]).with_name("ledger.sqlite").write_bytes(b"no database" * 1000)
    code, _, err = fleet.call("collect", "--json")
    assert (code, f"collected in run {run['run_id']} is not known" in err) == (3, True), err


def test_a_retry_is_refused_until_the_last_row_is_there(fleet: Fleet) -> None:
    fleet.batch(60)
    worker = fleet.work("--rate", "50/s")
    fleet.wait_for_calls(20)
    worker.terminate()
    worker.wait()
    _, told = collect(fleet)
    name = told["runs"][0]["run_id"]
    refused = fleet.call("retry", name, "--yes")
    assert (refused[0], "pending" in refused[2]) == (2, True), refused
    assert fleet.work("--until-empty").wait(60) == 0
    code, told = collect(fleet)
    [run] = told["runs"]
    assert (code, run["state"], run["complete"], run["halt_reason"]) == (0, "finished", True, None)


def test_a_collector_that_is_interrupted_says_so_with_its_exit_code(fleet: Fleet) -> None:
    fleet.batch(20)
    assert fleet.work("--until-empty").wait(60) == 0

    async def double(queue: WorkQueue) -> None:
        results = queue.results()
        taken = await results.receive(50, 5.0)
        await results.publish([delivery.body for delivery in taken])

    asyncio.run(fleet.ask(double))  # what it has taken comes after its lease, and a collector waits for that
    collector = fleet.start("collect", "--json")
    fleet.wait_for_run()
    collector.send_signal(signal.SIGINT)
    out, err = collector.communicate(timeout=60)
    assert (collector.returncode, json.loads(out)["exit_code"]) == (130, 130), err
    assert "before the queue of results was empty" in err
