"""A run that turns wrong stops, however long it went well, and says why where people look (promise 6)."""

from __future__ import annotations

import csv
import http.server
import json
import re
import shlex
import threading
from pathlib import Path
from typing import Any

import pytest
from fault.conftest import wait_until

pytestmark = pytest.mark.fault

ROWS = 900
GOOD = 400
FLAGS = ("--yes", "--json", "--rate", "300/s", "--concurrency", "8")


def turn_wrong(desk: Any, trouble: dict[str, Any], *flags: str) -> Any:
    """Run a batch whose tenant makes `trouble` after `GOOD` answers; return what the command left behind."""
    process = desk.popen("run", desk.batch(ROWS), *FLAGS, *flags)
    wait_until(lambda: desk.tenant.record()["named"] >= GOOD)
    desk.tenant.change(**trouble)
    out, err = process.communicate(timeout=90)
    return process.returncode, json.loads(out), err


def report(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize(
    ("trouble", "outcome", "cause"),
    [
        ({"forbidden": 1.0}, "refused", {"http_status": 403, "error_code": "http_403"}),
        ({"still_verified": 1.0}, "unconfirmed", {"http_status": 200, "error_code": "not_changed"}),
    ],
)
def test_a_streak_halts_at_any_time_and_the_cause_stands_wherever_somebody_looks(
    desk: Any, trouble: dict[str, Any], outcome: str, cause: dict[str, Any]
) -> None:
    code, told, err = turn_wrong(desk, trouble)
    assert (code, told["state"]) == (3, "halted"), err
    record = desk.tenant.record()
    good = told["outcomes"]["succeeded"]
    bad = record["requests"] - good
    assert good >= GOOD
    assert 20 <= bad <= 20 + 8, "no more than the streak and the calls in flight"
    assert told["outcomes"]["pending"] == ROWS - good
    [first] = told["causes"]
    assert {name: first[name] for name in cause} == cause
    assert first["rows"] == bad
    sentence = f"{bad} × {cause['http_status']} {cause['error_code']}: {first['error_message'].rstrip('.')}"
    assert "20 answers in a row were " in told["halt_reason"]
    assert f"--accept {outcome}" in told["halt_reason"]
    folder = desk.run_folder
    logged = [json.loads(line) for line in (folder / "run.log").read_text().splitlines()]
    shown = desk.call("status", folder.name)
    for said in (told["halt_reason"], logged[-1]["reason"], shown.out + shown.err):
        assert sentence in said
    assert cause["error_code"] in (folder / "report.html").read_text()
    assert json.loads((folder / "summary.json").read_bytes())["causes"] == told["causes"]
    kept = [row for row in report(folder) if row["_error_code"]]
    assert len(kept) == bad
    assert {(row["_outcome"], row["_http_status"], row["_error_code"]) for row in kept} == {
        ("pending", str(cause["http_status"]), cause["error_code"])
    }
    assert all(row["_error_message"] for row in kept)


def test_the_flag_that_a_halt_names_lets_the_run_be_finished(desk: Any) -> None:
    _, told, _ = turn_wrong(desk, {"forbidden": 1.0})
    [flag] = re.findall(r"--accept \w+", told["halt_reason"])
    again = desk.call("run", told["run_id"], *FLAGS, *shlex.split(flag))
    assert (again.code, again.summary["state"]) == (0, "finished"), again.err
    assert again.outcomes == {
        "succeeded": told["outcomes"]["succeeded"],
        "refused": told["outcomes"]["pending"],
    }


def test_rows_that_a_halt_took_back_are_done_once_the_cause_is_gone(desk: Any) -> None:
    _, told, _ = turn_wrong(desk, {"forbidden": 1.0})
    desk.tenant.change()
    again = desk.call("run", told["run_id"], *FLAGS)
    assert (again.code, again.outcomes) == (0, {"succeeded": ROWS}), again.err
    assert again.summary["causes"] == []


def test_a_share_of_failures_halts_however_long_it_went_well(desk: Any) -> None:
    code, told, err = turn_wrong(desk, {"unprocessable": 0.6}, "--max-failures", "10%")
    assert (code, told["state"]) == (3, "halted"), err
    assert re.search(r"\d+ of (the last 500|\d+) rows failed", told["halt_reason"])
    assert f"× {told['causes'][0]['http_status']} {told['causes'][0]['error_code']}" in told["halt_reason"]
    assert "--max-failures" in told["halt_reason"]


def test_a_redirect_says_to_which_host_it_leads(desk: Any) -> None:
    code, told, err = turn_wrong(desk, {"redirect": 1.0})
    assert code == 3, err
    assert re.search(r"the tenant answered 30\d, which points to [\w.:-]+: ", told["halt_reason"])


def gone(desk: Any, count: int = 60) -> str:
    """Write a batch of users who are all gone."""
    rows = "".join(f"nobody-{number},mail-{number}\n" for number in range(count))
    (desk.folder / "gone.csv").write_text("user_id,identifier_id\n" + rows)
    return "gone.csv"


def test_a_list_of_users_who_are_gone_halts_and_the_flag_lets_it_be_finished(desk: Any) -> None:
    halted = desk.call("run", gone(desk), *FLAGS)
    assert (halted.code, halted.outcomes) == (3, {"pending": 60}), halted.err
    assert "20 answers in a row were 404, and none succeeded" in halted.summary["halt_reason"]
    ran = desk.call("run", halted.summary["run_id"], *FLAGS, "--accept", "not_found")
    assert (ran.code, ran.outcomes) == (0, {"not_found": 60}), ran.err


class Nothing(http.server.BaseHTTPRequestHandler):
    """An API that has nothing at any address."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"title": "Not Found", "status": 404}).encode()
        self.send_response(404)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - as http.server has it

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_404_that_are_accepted_halt_where_the_tenant_has_no_users_at_all(desk: Any) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        desk.env["MONOCLOUD_MANAGEMENT_DOMAIN"] = f"http://127.0.0.1:{server.server_port}"
        ran = desk.call("run", gone(desk, 600), *FLAGS, "--accept", "not_found")
        server.shutdown()
    assert (ran.code, ran.outcomes) == (3, {"pending": 600}), ran.err
    assert "the tenant did not answer 200 but 404" in ran.summary["halt_reason"]
    assert ran.summary["calls"] <= 60
