"""What people get wrong: each ends with exit code 2, one sentence that says what to do, and nothing sent."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance.command_line import GOOD
from acceptance.command_line import call as _call
from acceptance.command_line import refused as _refused

_CLOSED = """
import os
def closed(look):
    def refuse(path=".", *args, **flags):
        if str(path).startswith({closed!r}):
            raise PermissionError(13, "Permission denied")
        return look(path, *args, **flags)
    return refuse
os.stat, os.listdir, os.scandir = closed(os.stat), closed(os.listdir), closed(os.scandir)
from worker.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.csv", None, "missing.csv"),
        ("empty.csv", b"", "empty"),
        ("book.xlsx", b"PK\x03\x04" + bytes(200), "xlsx"),
        ("noise.csv", bytes(range(256)) * 8, "noise.csv"),
        ("columns.csv", b"name,colour\nx,y\n", "name"),
        ("broken.csv.gz", gzip.compress(GOOD.encode() * 2000, mtime=0)[:40], "broken.csv.gz"),
    ],
)
def test_a_bad_file(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    _refused(_call(tmp_path, "run", name, "--yes"), said)
    assert not list(tmp_path.glob("runs/*"))


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    _refused(_call(tmp_path, "run", "folder", "--yes"), "folder")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rate", "fast"], "not a rate"),
        (["--rate", "0/s"], "not a rate"),
        (["--deadline", "soon"], "not a duration"),
        (["--deadline", "9" * 400 + "s"], "not a duration"),
        (["--max-failures", "120%"], "not a share"),
        (["--accept", "pending"], "--accept"),
        (["--concurrency", "0"], "--concurrency"),
        (["--attempts", "0"], "--attempts"),
        (["--operation", "delete-everything"], "delete-everything"),
        (["--exclude", "nowhere.txt"], "nowhere.txt"),
        (["--ca-bundle", "nowhere.pem"], "nowhere.pem"),
        (["--delimiter", "ab"], "--delimiter"),
        (["--encoding", "klingon"], "--encoding"),
        (["--user-column", "who"], "who"),
        (["--max-rows", "0"], "--max-rows"),
        (["--tenant", "acme.us.monocloud.com/api/v1"], "acme.us.monocloud.com"),
        (["--tenant", "http://acme.us.monocloud.com"], "http"),
        (["--tenant", "user:secret@acme.us.monocloud.com"], "no domain"),
        (["--no-such-flag"], "--no-such-flag"),
    ],
)
def test_a_bad_flag(tmp_path: Path, flags: list[str], said: str) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    done = _call(tmp_path, "run", "good.csv", "--yes", *flags)
    _refused(done, said)
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (["run", "good.csv", "--via", "http://host/q"], {}, "--via begins with redis://"),
        (
            ["run", "good.csv", "--via", "queue"],
            {"BULK_UNVERIFY_QUEUE": "redis:///0"},
            "BULK_UNVERIFY_QUEUE names no",
        ),
        (["work", "--queue", "http://host/q"], {}, "--queue begins with redis://"),
    ],
)
def test_a_url_that_is_no_queue_is_said_of_what_gave_it(
    tmp_path: Path, words: list[str], env: dict[str, str], said: str
) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    _refused(_call(tmp_path, *words, **env), f"bulk-unverify: {said}")


@pytest.mark.parametrize("flag", ["--deadline=2h", "--share-tenant", "--reason=INC-1"])
def test_a_standing_worker_takes_no_flag_that_would_change_nothing(tmp_path: Path, flag: str) -> None:
    words = ["work", "--queue", "redis://127.0.0.1:1/0", "--until-empty", flag]
    _refused(_call(tmp_path, *words), "No such option", flag.partition("=")[0])


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"MONOCLOUD_MANAGEMENT_DOMAIN": ""}, "MONOCLOUD_MANAGEMENT_DOMAIN"),
        ({"MONOCLOUD_MANAGEMENT_API_KEY": ""}, "MONOCLOUD_MANAGEMENT_API_KEY_FILE"),
        ({"MONOCLOUD_MANAGEMENT_API_KEY": "two words"}, "white space"),
        ({"MONOCLOUD_MANAGEMENT_TIMEOUT": "soon"}, "MONOCLOUD_MANAGEMENT_TIMEOUT"),
    ],
)
def test_a_bad_environment(tmp_path: Path, env: dict[str, str], said: str) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    done = _call(tmp_path, "run", "good.csv", "--yes", **env)
    _refused(done, said)
    assert "two words" not in done.stderr


def test_json_gets_an_object_with_the_error(tmp_path: Path) -> None:
    done = _call(tmp_path, "run", "missing.csv", "--yes", "--json")
    assert done.returncode == 2
    assert "missing.csv" in json.loads(done.stdout)["error"]


def test_nobody_to_confirm(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    _refused(_call(tmp_path, "run", "good.csv"), "--yes")


def test_a_header_without_rows_is_a_run_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "nothing.csv").write_text("user_id,identifier_id\n")
    done = _call(tmp_path, "run", "nothing.csv", "--yes", "--json", "--min-rows", "0")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["rows"], told["state"], told["calls"]) == (0, "finished", 0)
    assert Path(tmp_path, told["report"]).read_text().count("\n") == 1


def test_an_unknown_run_names_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "nothing.csv").write_text("user_id,identifier_id\n")
    known = json.loads(_call(tmp_path, "plan", "nothing.csv", "--json").stdout)["run_id"]
    _refused(_call(tmp_path, "status", "nope"), "nope", known)
    _refused(_call(tmp_path, "retry", "nope", "--yes"), known)


def test_every_command_has_a_help_page(tmp_path: Path) -> None:
    listing = _call(tmp_path, "--help").stdout
    names = [
        line.split()[0] for line in listing.partition("Commands:")[2].splitlines() if line.startswith("  ")
    ]
    names = [name for name in names if name.replace("-", "").isalpha()]
    assert {"plan", "run", "retry", "status", "report", "pause", "continue", "cancel", "rate"} <= set(names)
    assert {"enqueue", "work", "collect", "dead-letters", "sandbox", "doctor", "demo"} <= set(names)
    for name in names:
        page = _call(tmp_path, name, "--help")
        assert page.returncode == 0
        assert f"Usage: bulk-unverify {name}" in page.stdout


def test_doctor_says_what_is_wrong(tmp_path: Path) -> None:
    done = _call(tmp_path, "doctor")
    assert done.returncode == 2
    assert "BAD  answer" in done.stdout
    assert "ok   key" in done.stdout
    assert "a-key" not in done.stdout + done.stderr


def test_a_comment_above_the_header_is_named_as_one(tmp_path: Path) -> None:
    for line in ("#TYPE System.Management.Automation.PSCustomObject", "# exported for INC-4711"):
        (tmp_path / "in.csv").write_text(f"{line}\n{GOOD}")
        _refused(_call(tmp_path, "plan", "in.csv"), "begins with a comment", "take out the lines above it")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--operation", "verify-email"], "planned for unverify-email"),
        (["--user-column", "2"], "--user-column"),
        (["--no-header"], "--no-header"),
        (["--max-rows", "5"], "--max-rows"),
        (["--tenant", "http://127.0.0.1:10"], "planned for 127.0.0.1:9"),
    ],
)
@pytest.mark.parametrize("dry", [["--dry-run"], ["--yes"]])
def test_a_named_run_is_bound_to_what_was_planned(
    tmp_path: Path, flags: list[str], said: str, dry: list[str]
) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    run_id = json.loads(_call(tmp_path, "plan", "good.csv", "--json").stdout)["run_id"]
    _refused(_call(tmp_path, "run", run_id, *dry, *flags), said)


def test_a_named_run_may_be_told_again_what_was_planned(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    flags = ["--operation", "verify-email", "--user-column", "1", "--identifier-column", "identifier_id"]
    run_id = json.loads(_call(tmp_path, "plan", "good.csv", "--json", *flags).stdout)["run_id"]
    for again in ([], flags):
        done = _call(tmp_path, "run", run_id, "--dry-run", *again)
        assert done.returncode == 0, done.stderr
        assert "/verify" in done.stderr


@pytest.mark.parametrize("command", ["run", "status", "report", "pause", "retry"])
def test_a_name_that_no_file_can_have(tmp_path: Path, command: str) -> None:
    done = _call(tmp_path, command, "x" * 5000)
    _refused(done, "xxx")


@pytest.mark.parametrize("command", ["run", "plan", "status", "retry"])
def test_what_this_user_may_not_look_at(tmp_path: Path, command: str) -> None:
    """Found at night: the file lies in root's home, the run has a user of its own."""
    closed = str(tmp_path / "closed")
    flags = {"status": ["--runs", f"{closed}/runs"], "retry": [f"{closed}/run", "--yes"]}
    words = flags.get(command, [f"{closed}/batch.csv"])
    done = subprocess.run(
        [sys.executable, "-c", _CLOSED.format(closed=closed), command, *words],
        env=os.environ | {"MONOCLOUD_MANAGEMENT_DOMAIN": "http://127.0.0.1:9"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    _refused(done)
    assert "Internal" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m worker run good.csv --json {closed}"],
        env=os.environ
        | {"MONOCLOUD_MANAGEMENT_DOMAIN": "http://127.0.0.1:9", "MONOCLOUD_MANAGEMENT_API_KEY": "a-key"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    if "2>&-" not in closed:
        assert "--yes" in done.stderr
    [ledger] = tmp_path.glob("runs/2*/ledger.sqlite")
    assert ledger.read_bytes().startswith(b"SQLite format 3")


def test_a_name_and_a_reason_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    (tmp_path / name).write_text(GOOD.splitlines()[0])
    done = _call(tmp_path, "run", name, "--reason", name, "--yes", "--json", "--min-rows", "0")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reason"] == "caf\\udce9.csv"
    _refused(_call(tmp_path, "run", name, "--runs", os.fsdecode(b"l\xe4ufe"), "--yes"), "UTF-8")
