"""Each kind of trouble that the sandbox can make, end to end: outcomes, exit code, and what the server saw."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from fault.conftest import wait_until

pytestmark = pytest.mark.fault

ROWS = 30


def test_no_trouble(desk: Any) -> None:
    ran = desk.run(ROWS)
    assert (ran.code, ran.outcomes) == (0, {"succeeded": ROWS})
    record = desk.tenant.record()
    assert record["named"] == ran.summary["calls"] == ROWS
    assert record["most_per_pair"] == 1


@pytest.mark.parametrize(
    ("trouble", "outcome", "code"),
    [
        ({"still_verified": 0.4}, "unconfirmed", "not_changed"),
        ({"identifier_missing": 0.4}, "unconfirmed", "identifier_missing"),
        ({"oversized": 0.4}, "unconfirmed", "body_oversized"),
        ({"no_content": 0.4}, "unconfirmed", "unexpected_status"),
        ({"accepted": 0.4}, "unconfirmed", "unexpected_status"),
        ({"not_found": 0.4}, "not_found", ""),
        ({"conflict": 0.4}, "refused", ""),
        ({"bad_request": 0.4}, "refused", ""),
        ({"forbidden": 0.4}, "refused", ""),
        ({"unprocessable": 0.4, "unprocessable_form": "identity"}, "refused", ""),
        ({"unprocessable": 0.4, "unprocessable_form": "validation"}, "refused", ""),
        ({"unprocessable": 0.4, "unprocessable_form": "other"}, "refused", ""),
    ],
)
def test_a_final_answer_is_called_once_and_kept(
    desk: Any, trouble: dict[str, Any], outcome: str, code: str
) -> None:
    desk.tenant.trouble(**trouble)
    ran = desk.run(ROWS, "--max-failures", "100%")
    assert ran.code == 1, ran.err
    assert set(ran.outcomes) == {"succeeded", outcome}
    assert sum(ran.outcomes.values()) == ROWS
    assert desk.tenant.record()["most_per_pair"] == 1
    with (desk.run_folder / "failed.csv").open(newline="", encoding="utf-8") as lines:
        failed = list(csv.DictReader(lines))
    assert {row["_outcome"] for row in failed} == {outcome}
    assert len(failed) == ran.outcomes[outcome]
    assert all(row["_error_code"] and row["_error_message"] for row in failed)
    assert not code or {row["_error_code"] for row in failed} == {code}


@pytest.mark.parametrize(
    "trouble",
    [
        {"server_error": 0.2},
        {"html_error": 0.2},
        {"empty_error": 0.2},
        {"reset": 0.2},
        {"reset_after": 0.2},
        {"garbage": 0.2},
        {"throttled": 0.2},
        {"truncated": 0.2},
        {"html_ok": 0.2},
        {"empty_ok": 0.2},
        {"foreign": 0.2},
        {"foreign": 0.2, "foreign_statuses": [400, 403, 410, 422], "foreign_form": "text"},
        {"foreign": 0.2, "foreign_statuses": [403], "foreign_form": "json"},
        {"foreign": 0.2, "foreign_form": "empty"},
    ],
)
def test_a_transient_error_is_retried_until_it_succeeds(desk: Any, trouble: dict[str, Any]) -> None:
    desk.tenant.trouble(**trouble)
    ran = desk.run(ROWS, "--attempts", "20")
    assert (ran.code, ran.outcomes) == (0, {"succeeded": ROWS}), ran.err
    assert ran.summary["calls"] == desk.tenant.record()["named"] > ROWS


def test_a_stall_is_retried_until_it_succeeds(desk: Any) -> None:
    desk.tenant.trouble(stall=0.2)
    ran = desk.run(ROWS, "--attempts", "20", "--timeout", "300ms")
    assert (ran.code, ran.outcomes) == (0, {"succeeded": ROWS}), ran.err
    assert ran.summary["calls"] == desk.tenant.record()["named"] > ROWS


def test_what_is_compressed_is_read(desk: Any) -> None:
    desk.tenant.trouble(gzip=0.4)
    ran = desk.run(ROWS)
    assert (ran.code, ran.outcomes) == (0, {"succeeded": ROWS}), ran.err
    assert desk.tenant.record()["most_per_pair"] == 1


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ({"foreign": 0.3}, "http_404"),
        ({"foreign": 0.3, "foreign_statuses": [422], "foreign_form": "empty"}, "http_422"),
        ({"html_ok": 0.3}, "body_html"),
        ({"truncated": 0.3}, "body_truncated"),
    ],
)
def test_what_nobody_shows_is_unconfirmed_once_its_attempts_ran_out_and_retry_offers_it(
    desk: Any, trouble: dict[str, Any], code: str
) -> None:
    desk.tenant.trouble(**trouble)
    ran = desk.run(ROWS, "--attempts", "1", "--max-failures", "100%")
    assert (ran.code, set(ran.outcomes)) == (1, {"succeeded", "unconfirmed"}), ran.err
    with (desk.run_folder / "failed.csv").open(newline="", encoding="utf-8") as lines:
        assert {row["_error_code"] for row in csv.DictReader(lines)} == {code}
    desk.tenant.trouble()
    again = desk.call("retry", desk.run_folder.name, "--yes", "--json")
    assert (again.code, again.outcomes) == (0, {"succeeded": ROWS}), again.err


def test_attempts_run_out(desk: Any) -> None:
    desk.tenant.trouble(server_error=0.15)
    ran = desk.run(ROWS, "--attempts", "1", "--max-failures", "100%")
    assert ran.code == 1
    assert set(ran.outcomes) == {"succeeded", "exhausted"}
    # A row that failed when nobody was answered any more, not even a probe, has another try.
    assert ROWS <= ran.summary["calls"] == desk.tenant.record()["named"] < ROWS * 1.5


def test_a_time_out_after_sending_is_unconfirmed(desk: Any) -> None:
    desk.tenant.trouble(stall_after=0.2)
    ran = desk.run(ROWS, "--attempts", "1", "--timeout", "300ms", "--max-failures", "100%")
    assert ran.code == 1
    assert set(ran.outcomes) == {"succeeded", "unconfirmed"}
    record = desk.tenant.record()
    assert record["acted"] == record["named"] >= ROWS, (
        "each was carried out, those that were not answered too"
    )


@pytest.mark.parametrize(
    "headers", [[], ["retry-after-seconds"], ["retry-after-date"], ["ratelimit-draft"], ["x-ratelimit-epoch"]]
)
def test_a_hidden_limit_is_found_and_no_row_fails(desk: Any, headers: list[str]) -> None:
    desk.tenant.trouble(limits=[{"requests": 40, "burst": 10, "headers": headers}])
    ran = desk.run(80, "--rate", "200/s", "--attempts", "1")
    assert (ran.code, ran.outcomes) == (0, {"succeeded": 80}), ran.err
    record = desk.tenant.record()
    assert record["by_status"]["200"] == 80
    assert record["named"] == ran.summary["calls"]


@pytest.mark.parametrize("trouble", [{"unauthorized": 1.0}, {"payment": 1.0}, {"redirect": 1.0}])
def test_the_first_of_these_halts_the_run(desk: Any, trouble: dict[str, Any]) -> None:
    desk.tenant.trouble(**trouble)
    ran = desk.run(ROWS, "--concurrency", "4", "--rate", "unlimited")
    assert ran.code == 3
    assert ran.outcomes == {"pending": ROWS}
    assert ran.summary["halt_reason"]
    record = desk.tenant.record()
    assert 1 <= record["requests"] <= 4
    assert not any(record["elsewhere"].values()), "the redirect was followed"


@pytest.mark.parametrize("trouble", [{"forbidden": 1.0}, {"not_found": 1.0}, {"still_verified": 1.0}])
def test_twenty_of_a_kind_halt_and_go_back_to_pending(desk: Any, trouble: dict[str, Any]) -> None:
    desk.tenant.trouble(**trouble)
    ran = desk.run(100, "--concurrency", "4")
    assert ran.code == 3
    assert ran.outcomes == {"pending": 100}
    assert 20 <= desk.tenant.record()["named"] <= 24
    desk.tenant.trouble()
    again = desk.run(100)
    assert (again.code, again.outcomes) == (0, {"succeeded": 100})


def test_a_key_that_is_revoked_half_way(desk: Any) -> None:
    desk.tenant.trouble(key_revoked_after=20)
    ran = desk.run(100, "--concurrency", "4")
    assert ran.code == 3
    assert ran.outcomes == {"succeeded": 20, "pending": 80}
    assert "401" in ran.summary["halt_reason"]


def test_too_many_failures_halt(desk: Any) -> None:
    desk.tenant.trouble(not_found=0.5)
    ran = desk.run(200, "--concurrency", "4")
    assert ran.code == 3
    assert "--max-failures" in ran.summary["halt_reason"]
    assert "not_found" not in ran.outcomes
    assert desk.tenant.record()["named"] < 100


@pytest.mark.parametrize("kind", ["503", "reset", "refuse", "stall"])
def test_an_outage_pauses_and_fails_no_row(desk: Any, kind: str) -> None:
    desk.tenant.trouble(outages=[{"kind": kind, "from_request": 10, "for_s": 2.0}])
    ran = desk.run(100, "--attempts", "2", "--concurrency", "30")
    assert (ran.code, ran.outcomes) == (0, {"succeeded": 100}), ran.err


def test_an_outage_that_outlasts_the_patience_halts(desk: Any) -> None:
    desk.tenant.trouble(server_error=1.0)
    ran = desk.run(100, "--outage-patience", "500ms", "--concurrency", "30")
    assert ran.code == 3
    assert ran.outcomes == {"pending": 100}
    desk.tenant.trouble()
    assert desk.run(100).outcomes == {"succeeded": 100}


def test_the_deadline_halts(desk: Any) -> None:
    ran = desk.run(200, "--rate", "20/s", "--deadline", "1s")
    assert ran.code == 3
    assert ran.outcomes["pending"] == 200 - desk.tenant.record()["acted"] > 0
    assert "deadline" in ran.summary["halt_reason"]


def test_nothing_listens(desk: Any) -> None:
    desk.env["MONOCLOUD_MANAGEMENT_DOMAIN"] = "http://127.0.0.1:9"
    ran = desk.run(50, "--outage-patience", "500ms")
    assert ran.code == 3
    assert ran.outcomes == {"pending": 50}
    assert ran.summary["calls"] == 0


def test_the_rate_is_never_exceeded(desk: Any) -> None:
    desk.tenant.trouble(server_error=0.2)
    ran = desk.run(120, "--rate", "50/s", "--attempts", "20")
    assert ran.code == 0
    assert desk.tenant.record()["surely_in_one_second"] <= 51


def test_what_a_server_that_was_held_up_sees_at_once_did_not_come_at_once(desk: Any) -> None:
    running = desk.popen("run", desk.batch(200), "--yes", "--rate", "50/s", "--concurrency", "16")
    _until_requests(desk, 60)
    desk.tenant.hold_up(1.0)  # long enough for sixteen calls to wait for it
    running.communicate(timeout=60)
    assert running.returncode == 0
    times = [each["arrived_s"] for each in desk.tenant.requests()]
    assert min(last - before for before, last in zip(times, times[8:], strict=False)) < 0.08  # half of 50/s
    assert 1 < desk.tenant.record()["surely_in_one_second"] <= 51


def test_a_protected_account_is_never_called_though_it_was_added_after_the_plan(desk: Any) -> None:
    batch = desk.batch(60)
    with Path(batch).open(newline="", encoding="utf-8") as lines:
        last = list(csv.reader(lines))[-1][0]
    protected = desk.folder / "protected.txt"
    protected.write_text("nobody-of-this-file\n")
    flags = ["--yes", "--json", "--rate", "2/s", "--exclude", str(protected)]
    process = desk.popen("run", batch, *flags)
    _until_requests(desk, 5)
    protected.write_text(f"nobody-of-this-file\n{last}\n")
    wait_until(lambda: "protected_list_read_again" in _commands(desk))
    assert desk.call("rate", desk.run_folder.name, "500/s").code == 0
    out, _ = process.communicate(timeout=60)
    outcomes = json.loads(out)["outcomes"]
    assert (outcomes["succeeded"], outcomes["excluded"]) == (59, 1)
    assert desk.tenant.record()["named"] == 59


def test_steered_from_another_shell(desk: Any) -> None:
    process = desk.popen("run", desk.batch(200), "--yes", "--json", "--rate", "5/s", "--concurrency", "1")
    _until_requests(desk, 5)
    name = desk.run_folder.name
    assert desk.call("pause", name).code == 0
    wait_until(lambda: "pause" in _commands(desk))
    paused_at = desk.tenant.record()["named"]
    assert desk.call("rate", name, "500/s").code == 0
    wait_until(lambda: "rate" in _commands(desk))
    assert desk.tenant.record()["named"] <= paused_at + 1
    second = desk.call("run", name, "--yes")
    assert second.code == 2
    assert str(process.pid) in second.err
    assert desk.call("continue", name).code == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["outcomes"]["succeeded"] == 200
    assert desk.call("pause", name).code == 2


def test_cancelled_from_another_shell(desk: Any) -> None:
    process = desk.popen("run", desk.batch(200), "--yes", "--json", "--rate", "5/s")
    _until_requests(desk, 5)
    assert desk.call("cancel", desk.run_folder.name).code == 0
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["state"] == "cancelled"


def test_two_runs_on_one_tenant_are_refused_unless_shared(desk: Any) -> None:
    process = desk.popen("run", desk.batch(200), "--yes", "--json", "--rate", "2/s", "--share-tenant")
    _until_requests(desk, 3)
    other = [desk.batch(10), "--again", "--yes", "--json", "--rate", "20/s"]
    refused = desk.call("run", *other)
    assert refused.code == 2
    assert "--share-tenant" in refused.summary["error"]
    assert desk.call("run", *other, "--share-tenant").code == 0
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def test_a_finished_run_sends_nothing_more(desk: Any) -> None:
    desk.tenant.trouble(not_found=0.3, server_error=0.2)
    first = desk.run(ROWS, "--attempts", "1", "--max-failures", "100%")
    requests = desk.tenant.record()["named"]
    again = desk.run(ROWS)
    assert (again.code, again.summary["run_id"]) == (first.code, first.summary["run_id"])
    assert "--again" in again.err
    assert "retry" in again.err
    assert desk.tenant.record()["named"] == requests
    desk.tenant.trouble()
    retried = desk.call("retry", first.summary["run_id"], "--yes", "--json", "--rate", "1000/s")
    assert retried.outcomes.get("not_found", 0) == first.outcomes["not_found"]
    assert "exhausted" not in retried.outcomes
    assert desk.tenant.record()["named"] == first.outcomes["exhausted"]


def test_a_dry_run_sends_nothing_and_the_run_takes_its_plan(desk: Any) -> None:
    dry = desk.run(ROWS, "--dry-run")
    assert dry.code == 0
    assert desk.tenant.record()["named"] == 0
    name = desk.run_folder.name
    ran = desk.run(ROWS)
    assert ran.summary["run_id"] == name
    assert ran.code == 0


def test_the_failed_file_goes_straight_back_in(desk: Any) -> None:
    desk.tenant.trouble(not_found=0.3)
    first = desk.run(ROWS, "--max-failures", "100%")
    failed = desk.run_folder / "failed.csv"
    desk.tenant.trouble()
    again = desk.call("run", str(failed), "--yes", "--json", "--runs", str(desk.folder / "again"))
    assert (again.code, again.outcomes) == (0, {"succeeded": first.outcomes["not_found"]})


def test_the_key_is_nowhere(desk: Any) -> None:
    desk.tenant.trouble(unprocessable=0.2, server_error=0.1)
    process = desk.popen("run", desk.batch(ROWS), "--yes", "--rate", "100/s", "--max-failures", "100%")
    arguments = ""
    while process.poll() is None and not arguments:
        arguments = Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8")
    out, err = process.communicate(timeout=60)
    secret = desk.env["MONOCLOUD_MANAGEMENT_API_KEY"]
    places = [arguments, out, err]
    places += [path.read_bytes().decode("latin-1") for path in desk.run_folder.rglob("*") if path.is_file()]
    assert desk.tenant.record()["named"] >= ROWS, "the key was not even used"
    assert not [place for place in places if secret in place]


def test_a_wrong_key_is_one_sentence(desk: Any) -> None:
    desk.env["MONOCLOUD_MANAGEMENT_API_KEY"] = "not-the-key-of-this-tenant"
    ran = desk.run(ROWS, "--concurrency", "4")
    assert ran.code == 3
    assert "key" in ran.summary["halt_reason"]
    assert "not-the-key" not in ran.out + ran.err
    assert desk.tenant.record()["named"] <= 4


def _commands(desk: Any) -> str:
    return (desk.run_folder / "run.log").read_text(encoding="utf-8")


def _until_requests(desk: Any, count: int) -> None:
    wait_until(lambda: desk.tenant.record()["named"] >= count)


def test_json_is_alone_on_standard_output_however_long_it_takes(desk: Any) -> None:
    ran = desk.run(120, "--rate", "10/s")
    assert (ran.code, ran.outcomes) == (0, {"succeeded": 120})
    assert ran.out.count("\n") == 1
    assert "rows_per_s" in ran.err
